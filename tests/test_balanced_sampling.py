"""Balanced sampling: how often classes occur in an epoch, with two processes, and in a resumed run."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from datasets import Dataset
from training_run import assert_same_weights, in_shards, tiny_model, trainer_of

from hf_audio.config import LossConfig, OptimizingConfig
from hf_audio.data.index.labels import MULTI_LABEL, SINGLE_LABEL, LabelSpace
from hf_audio.data.loading.features_dataset import load_features
from hf_audio.errors import InputError
from hf_audio.training.balanced_order import class_shares, window_shares
from hf_audio.training.epoch_batches import BatchLayout, EpochBatches

NAMES = ("common", "rare", "seldom")


def of_labels(labels, problem_type=SINGLE_LABEL):
    """An objective on training windows with these labels."""
    features = SimpleNamespace(
        splits={"train": Dataset.from_dict({"labels": labels})},
        labels=LabelSpace(NAMES, problem_type),
        streamed=None,
    )
    return SimpleNamespace(features=features, settings=dict)


def drawn(shares, num_epochs=1, **layout):
    batches, found = EpochBatches(BatchLayout(len(shares), 4, **layout), 3, shares), []
    for epoch in range(num_epochs):
        batches.set_epoch(epoch)
        found.append([window for batch in batches for window in batch])
    return found


LONG_TAILED = [[0]] * 900 + [[2]] * 90 + [[1]] * 10  # 1,000 windows


@pytest.mark.parametrize(
    ("balance", "wanted"),
    [("full", (1 / 3, 1 / 3, 1 / 3)), ("sqrt", (30 / 42.649, 3.162 / 42.649, 9.487 / 42.649))],
)
def test_long_tailed_classes_have_their_shares_in_each_epoch(balance, wanted):
    objective = of_labels(LONG_TAILED)
    shares = window_shares(objective, balance)
    assert list(class_shares(objective.features, shares).values()) == pytest.approx(wanted, abs=1e-3)
    first, second = drawn(shares, 2)
    labels = np.array([label for (label,) in LONG_TAILED])
    for epoch in (first, second):
        assert len(epoch) == 1000
        counts = np.bincount(labels[epoch], minlength=3)
        assert np.abs(counts - 1000 * np.array(wanted)).max() <= 1.5, "independent draws would differ by 15"
        expected = 1000 * shares
        times = np.bincount(epoch, minlength=1000)
        assert (np.abs(times - expected) < 1).all(), "each window's count is its expectation, rounded"
    assert first != second and set(first) != set(second), "windows of a common class change between epochs"


def test_the_rarest_label_of_a_window_counts_and_no_label_is_a_class():
    labels = [[0]] * 6 + [[0, 1]] * 2 + [[]] * 4
    shares = window_shares(of_labels(labels, MULTI_LABEL), "full")
    weights = np.array([1 / 8] * 6 + [1 / 2] * 2 + [1 / 4] * 4)
    np.testing.assert_allclose(shares, weights / weights.sum())


def test_processes_divide_the_same_draw():
    shares = window_shares(of_labels(LONG_TAILED), "full")
    (one,) = drawn(shares, 1)
    (left,), (right,) = (drawn(shares, 1, world_size=2, rank=rank) for rank in (0, 1))
    assert [*left[:4], *right[:4], *left[4:8], *right[4:8]] == one[:16]
    assert sorted(left + right) == sorted(one)


def test_a_resumed_run_has_the_draws_of_an_uninterrupted_one(tiny_features, tmp_path):
    def start(folder):
        arguments = {"max_steps": 16, "save_strategy": "steps", "save_steps": 3, "eval_strategy": "no"}
        arguments |= {"save_total_limit": None, "gradient_accumulation_steps": 2}
        options = {"optimizing": OptimizingConfig(balanced_sampling="full")}
        return trainer_of(tiny_features, folder, tiny_model(tiny_features, dropout=0.1), arguments, **options)

    whole = start(tmp_path / "whole")
    whole.train_resumable()
    shutil.copytree(tmp_path / "whole", tmp_path / "again")
    for step in (9, 12, 15, 16):
        shutil.rmtree(tmp_path / f"again/checkpoints/checkpoint-{step}")
    again = start(tmp_path / "again")
    again.train_resumable()
    assert_same_weights(whole.model.state_dict(), again.model.state_dict())
    settings = whole.facts()["training"]["settings"]
    assert settings["balanced_sampling"] == "full" and settings["share of windows drawn"].keys() == {
        *tiny_features.labels.names
    }
    assert sum(settings["share of windows drawn"].values()) == pytest.approx(1, abs=1e-3)


def test_balancing_is_refused_where_it_cannot_work(tiny_folders, tiny_features, tmp_path):
    balanced = {"optimizing": OptimizingConfig(balanced_sampling="sqrt")}
    weighed = {"loss": LossConfig(class_weights="balanced")}
    with pytest.raises(InputError, match="--balanced_sampling and --class_weights both make rare classes count more"):
        trainer_of(tiny_features, tmp_path / "run", objective=weighed, **balanced)
    shards = in_shards(tiny_folders[SINGLE_LABEL], tmp_path / "shards", (20, 18))
    with pytest.raises(InputError, match="but a stream is read block by block: use --streaming false"):
        trainer_of(load_features(shards, streaming=True), tmp_path / "run", **balanced)
