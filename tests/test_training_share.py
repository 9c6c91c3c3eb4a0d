"""A share of the training data: whole groups, every class, reproducible by seed, and stated in the manifest."""

from __future__ import annotations

import numpy as np
import pytest
from training_run import build_tiny_features

from hf_audio import InputError, load_features, share_of_training
from hf_audio.data.index.labels import MULTI_LABEL
from hf_audio.data.splits.groups import draw_share


def test_classes_keep_their_shares():
    random = np.random.default_rng(1)
    classes = random.choice(4, size=1000, p=(0.6, 0.3, 0.08, 0.02))
    counts = np.eye(4, dtype=int)[classes] * random.integers(1, 4, size=(1000, 1))
    kept = draw_share(counts, 0.1, seed=0)
    assert len(kept) == 100 and kept == sorted(set(kept))
    shares = counts[kept].sum(axis=0) / counts.sum(axis=0)
    np.testing.assert_allclose(shares, 0.1, atol=0.03)
    assert kept == draw_share(counts, 0.1, seed=0) != draw_share(counts, 0.1, seed=1)
    assert draw_share(counts, 0.999999) == list(range(1000))


def test_every_class_keeps_a_clip_even_if_the_share_is_smaller():
    counts = np.eye(11, dtype=int)[np.arange(66) % 11]
    kept = draw_share(counts, 0.05)
    assert len(kept) == 11 and (counts[kept].sum(axis=0) == 1).all()


def test_groups_with_several_labels_and_groups_without_any():
    random = np.random.default_rng(2)
    counts = (random.random((400, 5)) < (0.5, 0.3, 0.2, 0.05, 0.01)).astype(int) * 2
    counts[:100] = 0
    kept = draw_share(counts, 0.25, seed=3)
    assert len(kept) == 100 and sum(group < 100 for group in kept) == pytest.approx(25, abs=10)
    shares = counts[kept].sum(axis=0) / counts.sum(axis=0)
    assert (shares > 0).all() and abs(shares[:3] - 0.25).max() < 0.1


def test_a_dataset_with_a_share_of_its_training_groups(tmp_path):
    features = load_features(build_tiny_features(tmp_path / "features", MULTI_LABEL))
    few = share_of_training(features, 0.2, seed=1)
    assert few.splits["validation"] is features.splits["validation"] and few.extractor is features.extractor
    train, facts = few.splits["train"], few.manifest["splits"]["train"]
    assert facts["num_groups"] == len(set(train["group"])) == 4
    assert facts["num_clips"] == len(set(train["clip_id"])) and facts["num_windows"] == len(train) < 10
    everything = {row["clip_id"]: row for row in features.splits["train"]}
    windows = [row["clip_id"] for row in features.splits["train"] if row["group"] in set(train["group"])]
    assert sorted(windows) == sorted(train["clip_id"]), "groups keep all of their windows"
    labels = [everything[clip_id]["labels"] for clip_id in set(train["clip_id"])]
    counts = {name: sum(index in one for one in labels) for index, name in enumerate(features.labels.names)}
    assert facts["label_counts"] == counts and min(counts.values()) >= 1
    assert features.manifest["splits"]["train"]["num_clips"] == 21, "the original dataset does not change"
    assert share_of_training(features, 1.0) is features
    with pytest.raises(InputError, match=r"--train_fraction must be above 0 and at most 1, found 5"):
        share_of_training(features, 5)
    streamed = {**features.splits, "train": features.splits["train"].to_iterable_dataset()}
    features.splits = streamed
    with pytest.raises(InputError, match="cannot be streamed: add --streaming false"):
        share_of_training(features, 0.5)
