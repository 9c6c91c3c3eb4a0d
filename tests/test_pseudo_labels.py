"""Pseudo-labels: which predictions are confident enough; they are training targets (probabilities), never scored."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from corpus_trees import write_sound

from hf_audio import InputError, build_corpus_features, corpus_clips, load_features, parse_recipe
from hf_audio.config import DataConfig, FeatureConfig
from hf_audio.data.index.labels import MULTI_LABEL, SINGLE_LABEL, LabelSpace
from hf_audio.data.index.pseudo_labels import CONFIDENCE, PseudoLabel, pseudo_labels_text, read_pseudo_labels, target_of
from hf_audio.data.index.table import rows_of
from hf_audio.data.loading.feature_collator import FeatureCollator
from hf_audio.label_quality.confident import agreement, confident_labels
from hf_audio.preparation import corpus_as_it_is
from hf_audio.training import Classification

ONE, SEVERAL = LabelSpace(("high", "low"), SINGLE_LABEL), LabelSpace(("high", "low", "mid"), MULTI_LABEL)


@pytest.fixture
def recordings(tmp_path) -> Path:
    """Labeled ones in data/, others in more/."""
    for number, name in enumerate(("high", "low")):
        for take in range(6):
            write_sound(tmp_path / "data" / name / f"{take}.wav", 0.4, take, [900.0 - 600.0 * number], 16_000)
    for take in range(3):
        write_sound(tmp_path / "more" / "a" / f"{take}.wav", 0.4, 20 + take, [900.0], 16_000)
    return tmp_path


def table(recordings: Path, rows: list[PseudoLabel], labels: LabelSpace = ONE) -> Path:
    path = recordings / "pseudo.csv"
    path.write_text(pseudo_labels_text(rows, labels))
    return path


def test_probabilities_are_targets_in_training_only(recordings):
    said = [PseudoLabel("a/0.wav", 0.97, ("high",), (), (0.97, 0.03)), PseudoLabel("a/1.wav", 1, ("low",), (), (0, 1))]
    data = DataConfig(
        data_dir=str(recordings / "data"),
        pseudo_labels=str(table(recordings, said)),
        pseudo_labels_dir=str(recordings / "more"),
        validation_fraction=0.3,
        test_fraction=0.2,
        num_workers=1,
    )
    plain = dataclasses.replace(data, pseudo_labels=None, pseudo_labels_dir=None)
    with_them, without = (list(rows_of(corpus_clips(one).clips)) for one in (data, plain))
    split_of = {clip.clip_id: clip.split for clip in with_them}
    assert {clip.clip_id: clip.split for clip in without}.items() <= split_of.items(), "splits stay as they are"
    assert [split_of[f"pseudo/a/{number}.wav"] for number in (0, 1)] == ["train", "train"] and len(split_of) == 14

    folder = build_corpus_features(data, recordings / "features", FeatureConfig(num_mel_bins=32, window_s=0.4))
    features = load_features(folder)
    note = features.manifest["corpus"]["protocol"]
    assert "2 more recordings with pseudo-labels" in note and "0.97 to 1.00: high 1, low 1." in note
    assert str(recordings) not in note
    assert [one["name"] for one in features.manifest["corpus"]["others"]] == ["Pseudo-labeled recordings"]
    rows = {row["clip_id"]: row for row in features.splits["train"]}
    chosen = [
        rows["pseudo/a/0.wav"],
        rows["pseudo/a/1.wav"],
        next(row for name, row in rows.items() if "/0.wav" in name),
    ]
    targets = FeatureCollator(features.extractor, features.labels)(chosen)["labels"].numpy()
    np.testing.assert_allclose(targets[:2], [[0.97, 0.03], [0, 1]])
    assert [row["labels"] for row in chosen[:2]] == [[0], [1]] and chosen[0][CONFIDENCE] == 0.97
    Classification(features)
    moved = dataclasses.replace(features, splits={**features.splits, "validation": features.splits["train"]})
    with pytest.raises(InputError, match=r"The validation split of .* has pseudo-labeled clips"):
        Classification(moved)


def test_uncertain_labels_of_several_stay_unknown(recordings):
    probabilities = np.array([[0.95, 0.02, 0.5], [0.6, 0.3, 0.1], [0.95, 0.93, 0.01]])
    found = confident_labels(["a/0.wav", "a/1.wav", "a/2.wav"], probabilities, SEVERAL, 0.9)
    assert [(one.path, one.labels, one.unknown, one.confidence) for one in found] == [
        ("a/0.wav", ("high",), ("mid",), 0.95),
        ("a/2.wav", ("high", "low"), (), 0.93),
    ]
    clips = read_pseudo_labels(table(recordings, found, SEVERAL), recordings / "more", SEVERAL).clips
    assert clips["unknown"].to_pylist() == [["mid"], []] and clips.schema.field(CONFIDENCE).type == pa.float64()
    row = {**clips.to_pylist()[0], "labels": [0], "unknown": [2]}
    np.testing.assert_allclose(target_of(row, SEVERAL), [0.95, 0.02, np.nan], rtol=1e-6)
    with pytest.raises(InputError, match="is pseudo-labeled but has no probabilities"):
        target_of({**row, "soft label: high": 3.0}, SEVERAL)


def test_confident_predictions_are_counted_and_compared():
    one = confident_labels(["x", "y"], np.array([[0.91, 0.09], [0.6, 0.4]]), ONE, 0.9)
    assert [(found.path, found.labels) for found in one] == [("x", ("high",))]
    probabilities, given = np.array([[0.95, 0.05], [0.05, 0.95], [0.6, 0.4]]), np.array([[1, 0], [1, 0], [0, 1]]) > 0
    assert agreement(probabilities, given, given | True, ONE, 0.9) == (3, 2, 2, 1)
    several = agreement(
        np.array([[0.95, 0.02, 0.5], [0.5, 0.5, 0.01]]),
        np.array([[True, True, False]] * 2),
        np.array([[True, True, False]] * 2),
        SEVERAL,
        0.9,
    )
    assert several == (2, 1, 2, 1)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"path": "../data/high/0.wav"}, r"line 2: '../data/high/0.wav' must be the path of a recording below"),
        ({"path": "/etc/passwd"}, "must be the path of a recording below"),
        ({"path": "a/9.wav"}, "a/9.wav does not exist"),
        (
            {"probabilities": (0.5, 0.2)},
            "must have exactly one class, found 1 labels and probabilities that add up to 0.7",
        ),
        ({"probabilities": (1.5, -0.5)}, "'1.5' is not a probability"),
        ({"labels": ("high", "low")}, "found 2 labels"),
        ({"labels": ("hihg",)}, "Unknown label 'hihg'"),
        ({"confidence": float("nan")}, "'nan' is not a probability"),
    ],
)
def test_a_bad_table_is_one_sentence(recordings, change, sentence):
    good = PseudoLabel("a/0.wav", 0.97, ("high",), (), (0.97, 0.03))
    with pytest.raises(InputError, match=sentence):
        read_pseudo_labels(table(recordings, [good._replace(**change)]), recordings / "more", ONE)
    with pytest.raises(InputError, match=r"line 3: 'a/0\.wav' appears twice"):
        read_pseudo_labels(table(recordings, [good, good]), recordings / "more", ONE)
    with pytest.raises(InputError, match=r"probabilities of 2 classes .* 3 classes; only one of them has 'mid'"):
        read_pseudo_labels(table(recordings, [good]), recordings / "more", SEVERAL)
    with pytest.raises(InputError, match="has no rows"):
        read_pseudo_labels(table(recordings, []), recordings / "more", ONE)


def test_both_flags_are_needed_and_only_for_training(recordings):
    with pytest.raises(InputError, match="--pseudo_labels TABLE and --pseudo_labels_dir FOLDER belong together"):
        parse_recipe({"output_dir": "x", "corpus": "folder"}, argv=["--pseudo_labels", "a.csv"])
    data = DataConfig(data_dir=str(recordings / "data"), pseudo_labels="a.csv", pseudo_labels_dir="more")
    with pytest.raises(InputError, match="--pseudo_labels are added for training"):
        corpus_as_it_is(data)
