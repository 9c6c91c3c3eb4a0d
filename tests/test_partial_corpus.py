"""A corpus with partial labels, from its index to its report: unknown labels are stored, and do not count.

See test_partial_labels.py for the loss and the scores, worked by hand.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
import torch
from datasets import load_dataset
from model_cases import cnn
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.preprocessing import StandardScaler
from test_openmic import make_tree
from test_partial_labels import NAMES, THREE
from training_run import sound, tiny_model

from hf_audio import load_features, share_of_training
from hf_audio.analysis.evaluation import evaluate_model
from hf_audio.augment import Compose, Mixup, Normalization
from hf_audio.baselines import linear_scores, window_statistics
from hf_audio.config import DataConfig, FeatureConfig
from hf_audio.corpora import openmic
from hf_audio.data.building.checked_clips import check_clips
from hf_audio.data.building.description import describe_build
from hf_audio.data.index.labels import SINGLE_LABEL, LabelSpace
from hf_audio.data.index.table import Clip, index_of, rows_of
from hf_audio.data.loading.feature_collator import FeatureCollator
from hf_audio.errors import InputError
from hf_audio.finished_work import differences
from hf_audio.preparation import build_corpus_features
from hf_audio.publishing.dataset_card import write_dataset_card
from hf_audio.training import AudioTrainer, Classification, training_arguments
from hf_audio.training.objective import Places


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """An OpenMIC of 24 clips of 0.8 s: one instrument is present; one or both others may be known to be absent."""
    random, clips, sounds = np.random.default_rng(0), [], {}
    for number in range(24):
        kind, key = number % 3, f"{number:06d}_3840"
        heard = {NAMES[kind]: 0.9}
        heard |= {NAMES[(kind + 1) % 3]: 0.1} if number % 2 else {}
        heard |= {NAMES[(kind + 2) % 3]: 0.0} if number % 4 == 3 else {}
        clips.append((key, "test" if number >= 18 else "train", str(number), heard))
        sounds[key] = sound(kind, 0.8, random) + sound(None, 0.8, random)
    root = make_tree(tmp_path_factory.mktemp("corpus"), clips)
    for path in root.rglob("*.ogg"):
        soundfile.write(path, sounds[path.stem], 16_000)
    return root


@pytest.fixture(scope="module")
def folder(corpus, tmp_path_factory) -> Path:
    data = DataConfig(corpus="openmic", data_dir=str(corpus), num_workers=1, validation_fraction=0.3)
    settings = FeatureConfig(window_s=0.4, num_mel_bins=32)
    return build_corpus_features(data, tmp_path_factory.mktemp("features") / "openmic", settings)


@pytest.fixture
def features(folder):
    return load_features(folder)


def trainer_of(features, folder: Path, model=None, augment=None, **arguments) -> AudioTrainer:
    settings = {"report_to": "none", "use_cpu": True, "logging_steps": 1, "learning_rate": 1e-2, **arguments}
    model = model or tiny_model(features)
    args = training_arguments(folder, **settings)
    return AudioTrainer(
        model, args, Classification(features, augment=augment, label_smoothing=args.label_smoothing_factor)
    )


# Storage and batches


def test_unknown_labels_are_stored_in_the_rows_and_the_index(corpus, folder, features, tmp_path):
    clips = {clip.clip_id: clip for clip in list(rows_of(openmic.index(corpus)))}
    rows = {row["clip_id"]: row for row in features.clips().to_pylist()}
    assert {name: tuple(row["unknown"]) for name, row in rows.items()} == {
        name: clip.unknown for name, clip in clips.items()
    }
    names = features.labels.names
    alone = load_dataset("parquet", data_dir=str(folder / "data"), cache_dir=str(tmp_path))
    as_names = alone["train"].features["unknown"].feature.int2str
    found = {row["clip_id"]: tuple(as_names(row["unknown"])) for rows in alone.values() for row in rows}
    assert found == {name: clip.unknown for name, clip in clips.items()} and len(list(filter(None, found.values()))) > 0
    for split in features.splits:
        inside = [clip for name, clip in clips.items() if rows[name]["split"] == split]
        present, known = features.class_counts(split)
        assert present.tolist() == [sum(name in clip.labels for clip in inside) for name in names]
        assert known.tolist() == [sum(name not in clip.unknown for clip in inside) for name in names]
        assert (present < known).all() and (known < len(inside)).all()
    assert "Labels are partial: in `index.parquet` and in the rows, the" in write_dataset_card(folder).read_text()


def test_targets_in_a_batch_are_nan_where_unknown(features):
    rows = list(features.splits["train"])
    collate = FeatureCollator(features.extractor, features.labels)
    labels = collate(rows)["labels"]
    assert labels.dtype == torch.float32
    for row, target in zip(rows, labels, strict=True):
        kind = int(row["clip_id"].rpartition("/")[2][:6]) % 3
        assert target[kind] == 1 and row["labels"] == [kind]
        assert target.isnan().nonzero().flatten().tolist() == row["unknown"]
        assert ((target == 0) | (target == 1) | target.isnan()).all()


def test_without_known_counts_every_label_counts_as_known(features):
    manifest = json.loads(json.dumps(features.manifest))
    for facts in manifest["splits"].values():
        del facts["known_counts"]
    complete = dataclasses.replace(features, manifest=manifest)
    assert complete.label_columns == ["labels"]
    present, known = complete.class_counts("train")
    facts = manifest["splits"]["train"]
    assert known.tolist() == [facts["num_clips"]] * 3 and present.tolist() == list(facts["label_counts"].values())


def test_known_counts_of_a_training_share_are_those_of_its_clips(features):
    few = share_of_training(features, 0.4, seed=2)
    kept = set(few.splits["train"]["clip_id"])
    unknown = {row["clip_id"]: row["unknown"] for row in few.splits["train"]}
    wanted = [sum(index not in unknown[clip_id] for clip_id in kept) for index in range(3)]
    present, known = few.class_counts("train")
    assert known.tolist() == wanted and (known < features.class_counts("train")[1]).all()
    assert present.sum() == len(kept)


def test_a_build_with_other_unknown_labels_is_another_build():
    clips = [Clip(Path("a.wav"), ("flute",), "a", "a", split="train")]
    partial = [dataclasses.replace(clips[0], unknown=("voice",))]
    complete, described = (describe_build(index_of(some), THREE, {}, 1.0, 1.0) for some in (clips, partial))
    assert differences(complete, described) == differences(described, complete) == ["unknown labels"]


@pytest.mark.parametrize(
    ("labels", "unknown", "sentence"),
    [
        (THREE, ("voise",), "did you mean 'voice'"),
        (THREE, ("flute",), "has class flute both as a label and as unknown"),
        (
            LabelSpace(NAMES, SINGLE_LABEL),
            ("voice",),
            "Clip a has unknown classes, but each clip must have exactly one",
        ),
    ],
)
def test_contradictions_get_one_sentence(labels, unknown, sentence):
    with pytest.raises(InputError, match=sentence):
        check_clips(index_of([Clip(Path("a.wav"), ("flute",), "a", "a", split="train", unknown=unknown)]), labels)


# From OpenMIC to a report


def test_the_linear_baseline_learns_each_class_from_its_known_labels(features):
    inputs, targets, _ = window_statistics(features, "train")
    assert np.isnan(targets).any() and (np.nansum(targets, axis=0) > 0).all()
    scaler = StandardScaler().fit(inputs)
    test, _, test_keys = window_statistics(features, "test")
    found = linear_scores(features, ["test"])["test"]
    for index in range(3):
        known = ~np.isnan(targets[:, index])
        model = LogisticRegression(solver="newton-cholesky", max_iter=50)
        model.fit(scaler.transform(inputs[known]), targets[known, index])
        logits = model.decision_function(scaler.transform(test))
        wanted = [logits[test_keys == key].mean() for key in found.clip_keys]
        np.testing.assert_allclose(found.logits[:, index], wanted, atol=1e-6)


def test_openmic_is_trained_and_scored_on_known_labels(features, tmp_path):
    augment = Compose((Mixup(10.0, "union", 0.5),), Normalization.of(features.extractor))
    trainer = trainer_of(features, tmp_path, augment=augment, max_steps=2, label_smoothing_factor=0.1)
    state = trainer.train_resumable()
    logged = [entry for entry in state.log_history if "loss" in entry]
    assert len(logged) == 2 and all(0 < entry["loss"] < 1 and entry["grad_norm"] > 0 for entry in logged)
    assert all(0 < entry["eval_loss"] < 1 for entry in state.log_history if "eval_loss" in entry)
    report = evaluate_model(trainer, features, tmp_path)
    assert any("Labels are partial" in note and "3 to 4" in note for note in report["notes"])
    rows = [row for row in pq.read_table(tmp_path / "scores" / "clips.parquet").to_pylist() if row["split"] == "test"]
    for name in NAMES:
        known = [row for row in rows if name not in row["unknown"]]
        true, scores = [row["labels"] == [name] for row in known], [row[f"logit: {name}"] for row in known]
        assert 0 < sum(true) < len(known) < len(rows)
        found = report["results"]["model"]["test"]["per_class"][name]
        assert found["support"] == sum(true)
        assert found["average_precision"] == pytest.approx(average_precision_score(true, scores), abs=1e-3)
    prior = report["results"]["prior"]["test"]
    assert prior["roc_auc_macro"] == 0.5 and report["results"]["linear"]["test"]["mean_average_precision"] > 0.9


def test_two_micro_batches_train_as_one_batch(features, tmp_path):
    runs = []
    for size, accumulated in ((8, 1), (4, 2)):
        batches = {"per_device_train_batch_size": size, "gradient_accumulation_steps": accumulated, "max_steps": 2}
        trainer = trainer_of(features, tmp_path / f"{size}", optim="sgd", eval_strategy="no", **batches)
        trainer.train()
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        runs.append((losses, trainer.model.state_dict()))
    (one, weights), (other, others) = runs
    assert len(one) == 2 and one == pytest.approx(other, abs=1e-5)
    for name, value in weights.items():
        torch.testing.assert_close(others[name], value, atol=1e-6, rtol=1e-4)


def test_arcface_gives_unknown_classes_no_margin(features, tmp_path):
    torch.manual_seed(0)
    model = cnn(features.labels, head="arcface")
    trainer = trainer_of(features, tmp_path, model=model)
    batch = trainer.data_collator.on_device(trainer.data_collator(list(features.splits["train"])))
    assert batch["labels"].isnan().any()
    loss = trainer.objective.losses(trainer.model.train(), batch, Places(0, 0, range(len(batch["labels"])))).mean()
    loss.backward()
    assert loss.isfinite() and all(parameter.grad.isfinite().all() for parameter in model.parameters())
    logits = model(batch["input_values"], labels=batch["labels"].nan_to_num(0.0)).logits
    assert logits.isfinite().all() and not torch.equal(logits, model(batch["input_values"]).logits), (
        "known classes have a margin"
    )
