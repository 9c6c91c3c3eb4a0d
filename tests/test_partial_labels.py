"""Partial labels: what is unknown of a clip is NaN in training, and moves neither the loss nor a score."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
import torch
from model_cases import cnn
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.preprocessing import StandardScaler
from test_openmic import make_tree
from training_run import sound, tiny_model

from hf_audio import load_features, share_of_training
from hf_audio.analysis.evaluation import _predictions, evaluate_model
from hf_audio.analysis.plots import confusion_shares, plot_roc_pr
from hf_audio.analysis.references import linear_scores, window_statistics
from hf_audio.augment import Compose, Mixup, Normalisation
from hf_audio.config import DataConfig, FeatureConfig
from hf_audio.corpora import openmic
from hf_audio.data.feature_plan import check_clips, describe_build, differences
from hf_audio.data.features_dataset import FeatureCollator
from hf_audio.data.index import Clip
from hf_audio.data.labels import MULTI_LABEL, SINGLE_LABEL, LabelSpace
from hf_audio.errors import InputError
from hf_audio.losses import class_weights_from_counts, loss_for, smooth_targets
from hf_audio.metrics import average_per_clip, choose_threshold, classification_metrics, validation_metrics
from hf_audio.preparation import build_corpus_features
from hf_audio.publishing.dataset_card import write_dataset_card
from hf_audio.training import AudioTrainer, training_arguments

NAN = float("nan")
NAMES = ("flute", "trumpet", "voice")
THREE = LabelSpace(NAMES, MULTI_LABEL)
# Of flute, 3 are known; of trumpet 2, one of them wrong; of voice 1, which is absent. What the scores say of the
# unknown ones is as wrong as can be.
TARGETS = np.array([[1, 0, NAN], [NAN, 1, 0], [0, NAN, NAN], [1, NAN, NAN]])
SCORES = np.array([[0.6, 0.65, 0.99], [0.99, 0.7, 0.2], [0.8, 0.1, 0.9], [0.3, 0.9, 0.1]])


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """An OpenMIC of 24 clips of 0.8 s, each known to have one instrument, some known to lack one or both others."""
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
    return AudioTrainer(model, training_arguments(folder, **settings), features=features, augment=augment)


# Storage and batches


def test_what_is_unknown_is_stored_beside_the_shards(corpus, folder, features):
    clips = {clip.clip_id: clip for clip in openmic.index(corpus)}
    with open(folder / "index.csv", newline="") as file:
        rows = {row["clip_id"]: row for row in csv.DictReader(file)}
    assert {name: tuple(filter(None, row["unknown"].split(";"))) for name, row in rows.items()} == {
        name: clip.unknown for name, clip in clips.items()
    }
    assert not any("unknown" in facts for facts in features.metadata.values()), "it is no metadata"
    assert "unknown" not in pq.read_schema(folder / "data/test-00000-of-00001.parquet").names
    names = features.labels.names
    found = {clip_id: tuple(names[index] for index in one) for clip_id, one in features.unknown.items()}
    assert found == {name: clip.unknown for name, clip in clips.items() if clip.unknown} and 0 < len(found) < 24
    for split in features.splits:
        inside = [clip for name, clip in clips.items() if rows[name]["split"] == split]
        present, known = features.class_counts(split)
        assert present.tolist() == [sum(name in clip.labels for clip in inside) for name in names]
        assert known.tolist() == [sum(name not in clip.unknown for clip in inside) for name in names]
        assert (present < known).all() and (known < len(inside)).all()
    assert "Labels are partial: its column `unknown`" in write_dataset_card(folder).read_text()


def test_a_batch_has_nan_where_nothing_is_known(features):
    rows = list(features.splits["train"])
    collate = FeatureCollator(features.extractor, features.labels, unknown=features.unknown)
    labels = collate(rows)["labels"]
    assert labels.dtype == torch.float32
    for row, target in zip(rows, labels, strict=True):
        kind = int(row["clip_id"].rpartition("/")[2][:6]) % 3
        assert target[kind] == 1 and row["labels"] == [kind]
        assert target.isnan().nonzero().flatten().tolist() == list(features.unknown.get(row["clip_id"], ()))
        assert ((target == 0) | (target == 1) | target.isnan()).all()
    plain = FeatureCollator(features.extractor, features.labels)(rows)["labels"]
    assert torch.equal(labels.nan_to_num(0.0), plain)


def test_complete_labels_do_not_read_the_index(features, tmp_path):
    manifest = json.loads(json.dumps(features.manifest))
    for facts in manifest["splits"].values():
        del facts["known_counts"]
    complete = dataclasses.replace(features, manifest=manifest, index=tmp_path / "is not there")
    assert complete.unknown == {}
    present, known = complete.class_counts("train")
    facts = manifest["splits"]["train"]
    assert known.tolist() == [facts["num_clips"]] * 3 and present.tolist() == list(facts["label_counts"].values())


def test_a_share_of_training_counts_what_is_known_in_it(features):
    few = share_of_training(features, 0.4, seed=2)
    kept = set(few.splits["train"]["clip_id"])
    wanted = [sum(index not in features.unknown.get(clip_id, ()) for clip_id in kept) for index in range(3)]
    present, known = few.class_counts("train")
    assert known.tolist() == wanted and (known < features.class_counts("train")[1]).all()
    assert present.sum() == len(kept)


def test_a_build_knows_what_was_unknown():
    clips = [Clip(Path("a.wav"), ("flute",), "a", "a", split="train")]
    partial = [dataclasses.replace(clips[0], unknown=("voice",))]
    complete, described = (describe_build(some, THREE, {}, 1.0, 1.0) for some in (clips, partial))
    assert differences(complete, described) == differences(described, complete) == ["unknown labels"]
    before_partial_labels = {key: value for key, value in complete.items() if key != "unknown labels"}
    assert differences(before_partial_labels, complete) == [], "builds from before can be gone on with"


@pytest.mark.parametrize(
    ("labels", "unknown", "sentence"),
    [
        (THREE, ("voise",), "did you mean 'voice'"),
        (THREE, ("flute",), "has class flute and it is unknown whether it has it"),
        (LabelSpace(NAMES, SINGLE_LABEL), ("voice",), "Clip a has unknown classes, but each clip has exactly one"),
        (LabelSpace(("flute", "a;b"), MULTI_LABEL), ("a;b",), "separates names by semicolons"),
    ],
)
def test_contradictions_get_one_sentence(labels, unknown, sentence):
    with pytest.raises(InputError, match=sentence):
        check_clips([Clip(Path("a.wav"), ("flute",), "a", "a", split="train", unknown=unknown)], labels)


# Loss and augmentation


def test_the_loss_by_hand():
    logits, targets = torch.tensor([[2.0, -1.0, 5.0], [0.5, 3.0, -2.0]]), torch.tensor([[1, NAN, 0], [NAN, NAN, 1]])
    terms = [math.log1p(math.exp(-2)), math.log1p(math.exp(5)), 4 * math.log1p(math.exp(2))]
    weights = np.array([1, 1, 4], dtype=np.float32)
    assert loss_for(THREE, weights)(logits, targets).item() == pytest.approx(sum(terms) / 6)


@pytest.mark.parametrize("weights", [None, np.array([0.5, 2.0, 9.0], dtype=np.float32)], ids=["plain", "weighted"])
def test_what_logits_say_of_unknown_classes_moves_nothing(weights):
    random = torch.Generator().manual_seed(0)
    targets = (torch.rand(8, 3, generator=random) > 0.5).float()
    unknown = torch.rand(8, 3, generator=random) > 0.5
    targets[unknown] = NAN
    loss, logits = loss_for(THREE, weights), torch.randn(8, 3, generator=random)
    results = []
    for said in (0.0, 40.0, -math.inf, math.inf):
        given = logits.masked_fill(unknown, said).requires_grad_()
        value = loss(given, targets)
        value.backward()
        assert (given.grad[unknown] == 0).all() and (given.grad[~unknown] != 0).all()
        results.append((value.detach(), given.grad))
    assert all(torch.equal(value, results[0][0]) and torch.equal(grad, results[0][1]) for value, grad in results)


def test_micro_batches_of_uneven_knowledge_average_to_the_batch():
    random = torch.Generator().manual_seed(0)
    logits, targets = torch.randn(12, 3, generator=random), torch.ones(12, 3)
    targets[:6], targets[7:, 1:], targets[:5] = 0, NAN, NAN  # the first part knows almost nothing
    loss = loss_for(THREE)
    parts = [loss(*part) for part in zip(logits.split(4), targets.split(4), strict=True)]
    torch.testing.assert_close(torch.stack(parts).mean(), loss(logits, targets))


def test_smoothing_keeps_the_unknown():
    smooth = smooth_targets(torch.tensor([[1, 0, NAN]]), 0.1, THREE)
    torch.testing.assert_close(smooth, torch.tensor([[0.95, 0.05, NAN]]), equal_nan=True)


@pytest.mark.parametrize(
    ("kind", "share", "wanted"),
    [
        ("interpolate", 0.75, [[0.75, NAN, NAN, 0.25, NAN], [0.25, NAN, NAN, 0.75, NAN]]),
        ("interpolate", 1.0, [[1, 0, NAN, 0, 1], [0, NAN, NAN, 1, NAN]]),
        ("union", 0.75, [[1, NAN, NAN, 1, 1], [1, NAN, NAN, 1, 1]]),
        ("union", 0.98, [[1, 0, NAN, 0, 1], [0, NAN, NAN, 1, NAN]]),  # the partner cannot be heard
    ],
)
def test_mixed_labels_are_known_as_far_as_both_are(kind, share, wanted):
    targets = torch.tensor([[1, 0, NAN, 0, 1], [0, NAN, NAN, 1, NAN]])
    mixup = Mixup(1.0, Normalisation(0.0, 0.5), kind)
    drawn = type(mixup.draw(2, torch.Generator()))(torch.full((2,), share), torch.tensor([1, 0]))
    _, mixed = mixup.apply(torch.randn(2, 7, 4), targets, drawn)
    torch.testing.assert_close(mixed, torch.tensor(wanted), equal_nan=True)


def test_class_weights_compare_known_negatives_with_positives():
    weights = class_weights_from_counts(np.array([10, 5, 4]), np.array([20, 20, 5]), THREE)
    assert weights == pytest.approx([1, 3, 0.25])


# Scores


def test_metrics_by_hand():
    found = classification_metrics(SCORES, TARGETS, THREE, threshold=0.5)
    # known pairs: 2 hits (clip 0 flute, 1 trumpet), 2 false alarms (0 trumpet, 2 flute), 1 miss (3 flute), 1 silence
    assert found["f1_micro"] == pytest.approx(4 / 7) and found["hamming_loss"] == pytest.approx(3 / 6)
    assert found["accuracy"] == pytest.approx(1 / 4), "only clip 1 is right in all that is known"
    assert found["f1_samples"] == pytest.approx((2 / 3 + 1 + 0 + 0) / 4)
    flute, trumpet, voice = (found["per_class"][name] for name in NAMES)
    wanted = {"precision": 1 / 2, "recall": 1 / 2, "f1": 1 / 2, "average_precision": 7 / 12, "roc_auc": 0, "support": 2}
    assert flute == pytest.approx(wanted)
    wanted = {"precision": 1 / 2, "recall": 1, "f1": 2 / 3, "average_precision": 1, "roc_auc": 1, "support": 1}
    assert trumpet == pytest.approx(wanted)
    assert voice == dict.fromkeys(wanted) | {"support": 0}, "known only to be absent"
    assert found["f1_macro"] == pytest.approx(7 / 12) and found["roc_auc_macro"] == pytest.approx(1 / 2)
    assert found["mean_average_precision"] == pytest.approx((7 / 12 + 1) / 2)
    assert found["lrap"] == pytest.approx((1 / 2 + 1) / 2), "of clip 3 only the flute is known: nothing to rank"
    json.dumps(found, allow_nan=False)


def test_scores_of_unknown_classes_change_no_metric():
    random = np.random.default_rng(0)
    targets = (random.random((60, 5)) < 0.4).astype(np.float32)
    targets[random.random(targets.shape) < 0.5] = NAN
    labels, scores = LabelSpace(tuple("abcde"), MULTI_LABEL), random.random(targets.shape)
    others = np.where(np.isnan(targets), random.random(targets.shape), scores)
    assert validation_metrics(scores, targets, labels) == validation_metrics(others, targets, labels)
    assert classification_metrics(scores, targets, labels) == classification_metrics(others, targets, labels)
    known = ~np.isnan(targets)
    assert choose_threshold(scores, targets) == choose_threshold(scores[known][:, None], targets[known][:, None])
    complete = classification_metrics(scores, np.nan_to_num(targets), labels)
    assert complete["per_class"]["a"]["average_precision"] != pytest.approx(
        classification_metrics(scores, targets, labels)["per_class"]["a"]["average_precision"]
    )


@pytest.mark.filterwarnings("error")
def test_nothing_known_at_all():
    found = classification_metrics(SCORES, np.full((4, 3), NAN), THREE)
    for name in ("accuracy", "f1_macro", "f1_samples", "hamming_loss", "mean_average_precision", "lrap"):
        assert found[name] is None, name
    assert choose_threshold(SCORES, np.full((4, 3), NAN)) == 0.5


def test_windows_of_a_clip_share_what_is_unknown():
    clips = average_per_clip(
        np.arange(6.0).reshape(3, 2), np.array([[1, NAN], [NAN, 0], [1, NAN]]), np.array([4, 9, 4])
    )
    np.testing.assert_array_equal(clips.targets, [[1, NAN], [NAN, 0]])
    with pytest.raises(InputError, match="different labels"):
        average_per_clip(np.zeros((2, 2)), np.array([[1, NAN], [1, 0]]), np.array([1, 1]))


def test_pictures_and_tables_use_what_is_known():
    decisions = SCORES >= 0.5
    shares = confusion_shares(TARGETS, decisions)
    # flute is known in clips 0 and 3, decided in one of them; of those two the trumpet is known in clip 0 alone
    np.testing.assert_allclose(shares, [[1 / 2, 1, NAN], [NAN, 1, 0], [NAN, NAN, NAN]])
    scores = classification_metrics(SCORES, TARGETS, THREE)
    _, precision_recall = plot_roc_pr(SCORES, TARGETS, scores, "test").axes
    known = ~np.isnan(TARGETS)
    micro = average_precision_score(TARGETS[known], SCORES[known])
    assert f"micro, average {micro:.3f}" in [text.get_text() for text in precision_recall.get_legend().get_texts()]
    rows = list(csv.DictReader(_predictions(list("abcd"), TARGETS, decisions, SCORES, THREE).splitlines()))
    assert [row["unknown"] for row in rows] == ["voice", "flute", "trumpet;voice", "trumpet;voice"]
    assert [row["labels"] for row in rows] == ["flute", "trumpet", "", "flute"]
    complete = _predictions(list("abcd"), np.nan_to_num(TARGETS), decisions, SCORES, THREE)
    assert complete.splitlines()[0] == "clip_id,labels,decided,flute,trumpet,voice"


# From OpenMIC to a report


def test_the_linear_reference_learns_each_class_where_it_is_known(features):
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


def test_openmic_trains_and_is_judged_by_what_is_known(features, tmp_path):
    augment = Compose((Mixup(10.0, Normalisation.of(features.extractor), "union", 0.5),))
    trainer = trainer_of(features, tmp_path, augment=augment, max_steps=2, label_smoothing_factor=0.1)
    state = trainer.train_resumable()
    logged = [entry for entry in state.log_history if "loss" in entry]
    assert len(logged) == 2 and all(0 < entry["loss"] < 1 and entry["grad_norm"] > 0 for entry in logged)
    assert all(0 < entry["eval_loss"] < 1 for entry in state.log_history if "eval_loss" in entry)
    report = evaluate_model(trainer, features, tmp_path)
    assert any("Labels are partial" in note and "3 to 4 of them" in note for note in report["notes"])
    with open(tmp_path / "predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for name in NAMES:
        known = [row for row in rows if name not in row["unknown"].split(";")]
        true, scores = [row["labels"] == name for row in known], [float(row[name]) for row in known]
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
    batch = trainer.data_collator(list(features.splits["train"]))
    assert batch["labels"].isnan().any()
    loss = trainer.compute_loss(trainer.model.train(), batch)
    loss.backward()
    assert loss.isfinite() and all(parameter.grad.isfinite().all() for parameter in model.parameters())
    logits = model(batch["input_values"], labels=batch["labels"].nan_to_num(0.0)).logits
    assert logits.isfinite().all() and not torch.equal(logits, model(batch["input_values"]).logits), (
        "known ones have it"
    )
