"""Trackers of --report_to: each gets the numbers, and figures if it can show them, but no path or token."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training_run import tiny_model, trainer_of

from hf_audio import InputError, parse_recipe
from hf_audio.analysis.tracked_pictures import TrackedPictures
from hf_audio.augment import Compose, Normalization, SpecAugment
from hf_audio.data.index.labels import MULTI_LABEL
from hf_audio.data.loading.features_dataset import load_features

TOKEN = "hf_" + "b" * 34
PICTURES = {"train/augmented", "validation/confusion", "validation/windows"}


def run(tracker: str, features, folder: Path, **arguments):
    """Trains two steps with an evaluation after each, with figures and a token that must not be tracked."""
    model = tiny_model(features)
    model.config.name_or_path = str(folder / "a checkpoint")
    model.name_or_path = ""
    augment = Compose((SpecAugment(4, 4),), Normalization.of(features.extractor))
    steps = {"max_steps": 2, "eval_strategy": "steps", "eval_steps": 1, "save_strategy": "no", "hub_token": TOKEN}
    trainer = trainer_of(
        features, folder / "run", model, {**steps, "report_to": tracker, **arguments}, {"augment": augment}
    )
    trainer.add_callback(TrackedPictures(trainer))
    trainer.train()
    return trainer


def assert_private(written: bytes, folder: Path) -> None:
    for secret in (TOKEN, str(folder), "/home/"):
        assert secret.encode() not in written, f"{secret} would be published"


def test_tensorboard_has_numbers_and_pictures(tiny_folders, tmp_path):
    features = load_features(tiny_folders[MULTI_LABEL])
    run("tensorboard", features, tmp_path)
    (events,) = (tmp_path / "run" / "tensorboard").glob("events.*")
    found = EventAccumulator(str(events), size_guidance={"images": 0}).Reload()
    tags = found.Tags()
    assert set(tags["images"]) == PICTURES and {"train/loss", "eval/loss"} <= set(tags["scalars"])
    assert [event.step for event in found.Images("validation/confusion")] == [1, 2]
    image = found.Images("validation/windows")[0]
    assert image.width > 200 and image.encoded_image_string.startswith(b"\x89PNG")
    told = json.loads(found.Tensors("args/text_summary")[0].tensor_proto.string_val[0])
    assert told["output_dir"] == "checkpoints" and told["max_steps"] == 2 and "hub_token" not in told
    assert_private(events.read_bytes(), tmp_path)


def test_trackio_has_numbers_and_pictures(tiny_features, tmp_path):
    trackio = pytest.importorskip("trackio", reason="the extra trackers is not installed: no trackio")
    project = f"mine-{tmp_path.name}"
    run("trackio", tiny_features, tmp_path, project=project, run_name="first")
    (found,) = trackio.Api().runs(project)
    assert found.name == "first" and found.config["max_steps"] == 2 and found.config["output_dir"] == "checkpoints"
    files = [path for path in trackio.utils.TRACKIO_DIR.rglob("*") if project in str(path) and path.is_file()]
    assert len([path for path in files if path.suffix == ".png"]) == 4
    assert_private(b"".join(path.read_bytes() for path in files), tmp_path)


def test_wandb_has_numbers_and_pictures_without_a_network(tiny_features, tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb", reason="the extra trackers is not installed: no wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    run("wandb", tiny_features, tmp_path)
    wandb.finish()
    wandb.teardown()  # waits until its process has written everything
    files = [path for path in (tmp_path / "run" / "wandb").rglob("*") if path.is_file()]
    assert len([path for path in files if path.suffix == ".png"]) == 4
    (record,) = [path.read_bytes() for path in files if path.suffix == ".wandb"]
    assert b"eval/accuracy" in record and b"validation/confusion" in record
    assert_private(record, tmp_path)
    assert not [path for path in files if path.name == "wandb-metadata.json"]


@pytest.mark.parametrize(
    ("values", "flags", "sentence"),
    [
        ({}, ["--report_to", "none"], "--track_pictures would have no effect here: no tracker in --report_to shows"),
        ({"objective": "masked"}, [], "pretraining has no confusion matrix"),
        ({"classical_model": "svm"}, [], "it only applies to networks"),
    ],
)
def test_figures_that_no_tracker_would_show_are_refused(values, flags, sentence):
    with pytest.raises(InputError, match=sentence):
        parse_recipe({"output_dir": "x", "corpus": "irmas", **values}, argv=["--track_pictures", *flags])


def test_a_recipe_tracks_figures_on_request():
    recipe = parse_recipe({"output_dir": "x", "corpus": "irmas"}, argv=["--track_pictures"])
    assert recipe.run.track_pictures and recipe.training.report_to == ["tensorboard"]
