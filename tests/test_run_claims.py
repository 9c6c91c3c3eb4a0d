"""Claims of a run: its settings are compared, what was trained is reported, and the best weights are kept."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile
from training_run import tiny_model, trainer_of

from hf_audio import parse_recipe, prepare_features
from hf_audio.config import LossConfig
from hf_audio.errors import InputError
from hf_audio.models.freezing import freeze
from hf_audio.training.checkpoints import wait_until_seen

VALUES = {"output_dir": "runs/x", "corpus": "irmas"}
ONE_EPOCH = {"num_train_epochs": 1, "per_device_train_batch_size": 16}


@pytest.fixture(scope="module")
def finished(tiny_features, tmp_path_factory):
    """The folder of a finished run, and the number of weights it trained."""
    folder = tmp_path_factory.mktemp("finished")
    trainer = trainer_of(tiny_features, folder, arguments=ONE_EPOCH)
    trainer.train_resumable()
    return folder, trainer.model.num_parameters()


def frozen(features):
    model = tiny_model(features)
    freeze(model, "backbone")
    return model


def test_a_finished_run_reports_the_same_facts_when_started_again(tiny_features, finished):
    folder, num_weights = finished
    again = trainer_of(tiny_features, folder, arguments=ONE_EPOCH)
    again.train_resumable()
    facts = again.facts()
    assert facts["model"]["num_trainable_parameters"] == facts["model"]["num_parameters"] == num_weights
    written = json.loads((folder / "checkpoints" / "run.json").read_text())
    assert facts["training"]["settings"] == {k: v for k, v in written.items() if not k.startswith("model.")}
    assert {"label_smoothing_factor", "trainable weights", "dataloader_drop_last", "eval_steps"} <= written.keys()
    assert facts["training"]["windows_per_step"] == 16 and facts["training"]["precision"] == "fp32"


def test_a_checkpoint_invisible_to_another_machine_is_one_sentence(finished, tmp_path):
    wait_until_seen(finished[0] / "checkpoints" / "checkpoint-3", timeout_s=0)
    with pytest.raises(InputError, match="resumes from checkpoint-3, but this one cannot see it: use an"):
        wait_until_seen(tmp_path / "checkpoint-3", timeout_s=0)


@pytest.mark.parametrize(
    ("arguments", "objective", "sentence"),
    [
        ({}, {"label_smoothing": 0.3}, r"label_smoothing_factor was 0\.0 and is now 0\.3"),
        (
            {},
            {"loss": LossConfig(loss="focal")},
            "focal_gamma was None and is now 2.0, loss was 'cross_entropy' and is now 'focal'",
        ),
        ({}, {"loss": LossConfig(class_weights="balanced")}, "class_weights was None and is now \\["),
        ({"dataloader_drop_last": True}, {}, "dataloader_drop_last was False and is now True"),
        ({"eval_strategy": "steps", "eval_steps": 2, "save_strategy": "steps", "save_steps": 2}, {}, "eval_steps was"),
        ({"metric_for_best_model": "f1_macro"}, {}, "metric_for_best_model was 'accuracy' and is now 'f1_macro'"),
        ({"per_device_train_batch_size": 8}, {}, "windows_per_step was 16 and is now 8"),
    ],
)
def test_other_settings_are_named(tiny_features, finished, arguments, objective, sentence):
    trainer = trainer_of(tiny_features, finished[0], arguments={**ONE_EPOCH, **arguments}, objective=objective)
    with pytest.raises(InputError, match=f"holds a run with other settings, which differs in: .*{sentence}"):
        trainer.train_resumable()


def test_a_frozen_backbone_is_another_run(tiny_features, finished):
    trainer = trainer_of(tiny_features, finished[0], frozen(tiny_features), ONE_EPOCH)
    with pytest.raises(InputError, match=rf"trainable weights was {finished[1]} and is now 163; use another"):
        trainer.train_resumable()


def test_micro_batches_and_logging_make_no_other_run(tiny_features, finished):
    machine = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 4, "logging_steps": 7}
    assert trainer_of(tiny_features, finished[0], arguments={**ONE_EPOCH, **machine}).train_resumable().global_step == 3


def test_smoothing_without_effect_is_refused(tiny_features, tmp_path):
    with pytest.raises(InputError, match=r"label_smoothing_factor 0\.1 is not used: use Classification"):
        trainer_of(tiny_features, tmp_path, arguments={"label_smoothing_factor": 0.1})


STEPS = {"eval_strategy": "steps", "save_strategy": "steps"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({**STEPS, "eval_steps": 2, "save_steps": 5}, "--save_steps 5 must be a multiple of --eval_steps 2, .* 6"),
        ({**STEPS, "eval_steps": 4, "save_steps": 2}, "must be a multiple .*: use --save_steps 4"),
        ({**STEPS, "eval_steps": 0.5, "save_steps": 5}, "--save_steps 5 must be a multiple of --eval_steps 0.5"),
        ({"eval_strategy": "steps", "eval_steps": 2}, "--eval_strategy steps and --save_strategy epoch would save"),
        ({"eval_strategy": "no", "metric_for_best_model": "accuracy"}, "found --eval_strategy no and --save_strategy"),
        ({"metric_for_best_model": "f1"}, "--metric_for_best_model f1 is not computed: use one of loss, acc"),
    ],
)
def test_keeping_the_best_weights_needs_scores(tiny_features, tmp_path, arguments, sentence):
    with pytest.raises(InputError, match=sentence):
        trainer_of(tiny_features, tmp_path, arguments=arguments)


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        ("--eval_strategy steps --save_strategy steps --eval_steps 2 --save_steps 5", "must be a multiple of"),
        ("--eval_strategy steps --eval_steps 2", "--eval_strategy steps and --save_strategy epoch would save weights"),
        (
            "--ignore_data_skip true",
            "--ignore_data_skip is not supported: a resumed run continues with the windows",
        ),
        ("--dataloader_num_workers 0 --dataloader_prefetch_factor 2", "give --dataloader_num_workers too"),
        ("--dataloader_num_workers 0 --dataloader_persistent_workers true", "give --dataloader_num_workers too"),
    ],
)
def test_bad_flags_are_refused_before_anything_is_built(argv, sentence):
    with pytest.raises(InputError, match=sentence):
        parse_recipe(VALUES, argv=argv.split())


def test_the_best_weights_are_kept_with_save_strategy_best(tiny_features, tmp_path):
    arguments = {"num_train_epochs": 3, "save_strategy": "best", "per_device_train_batch_size": 16}
    trainer = trainer_of(tiny_features, tmp_path, arguments=arguments)
    state = trainer.train_resumable()
    assert state.best_global_step and (tmp_path / "checkpoints" / f"checkpoint-{state.best_global_step}").is_dir()
    assert trainer.facts()["training"]["best_step"] == state.best_global_step


def test_a_metric_undefined_on_the_validation_split_is_one_sentence(tiny_features, tmp_path):
    trainer = trainer_of(tiny_features, tmp_path, arguments={**ONE_EPOCH, "metric_for_best_model": "roc_auc_macro"})
    trainer.compute_metrics = lambda _: {"loss": 1.0, "accuracy": 0.5}
    with pytest.raises(InputError, match="roc_auc_macro is undefined on this validation split: use one of loss, acc"):
        trainer.train_resumable()


def test_class_weights_are_computed_on_request_only(tiny_features, tmp_path, monkeypatch):
    from hf_audio import prepare_model, train_model
    from hf_audio.training import classification

    def fail(*arguments):
        raise InputError("No training clip has bell")

    monkeypatch.setattr(classification, "class_weights_from_counts", fail)
    values = {"output_dir": str(tmp_path), "model": "cnn-concert", "max_steps": 1, "report_to": "none"}
    recipe = parse_recipe(values, argv=["--dataset", tiny_features.source, "--loss", "focal"])
    model = prepare_model(recipe, tiny_features)
    trainer = train_model(recipe, model, tiny_features)
    assert trainer.state.global_step == 1
    settings = trainer.facts()["training"]["settings"]
    assert (settings["loss"], settings["focal_gamma"]) == ("focal", 2.0) and "positive_gamma" not in settings
    recipe.loss.class_weights = "balanced"
    with pytest.raises(InputError, match="No training clip has bell"):
        train_model(recipe, model, tiny_features)


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ("--loss asymmetric", "exactly one class here"),
        ("--batch_mix_probability 0.5", "exactly one class here"),
        ("--loss family --families corpus", "Own recordings has no class families"),
        ("--class_weights effective", "Class 'hum' has no training clip, so it cannot be learned"),
        ("--several_labels --center_weight 0.1", "are for single-label tasks"),
    ],
)
def test_an_invalid_loss_is_refused_before_features_are_built(tmp_path, flags, sentence):
    for label in ("hiss", "hum"):
        (tmp_path / "sounds" / label).mkdir(parents=True)
        for number in range(3):
            noise = np.random.default_rng(number).uniform(-0.5, 0.5, 8000)
            soundfile.write(tmp_path / "sounds" / label / f"{number}.wav", noise, 16_000)
    rows = [f"{label}/{number}.wav,{label}," for label in ("hiss", "hum") for number in range(3)]
    splits = ["train", "validation", "test", "test" if "weights" in flags else "train", "validation", "test"]
    table = ["path,label,split", *(row + split for row, split in zip(rows, splits, strict=True))]
    (tmp_path / "sounds" / "labels.csv").write_text("\n".join(table) + "\n")
    argv = ["--data_dir", str(tmp_path / "sounds"), *flags.split()]
    recipe = parse_recipe({"output_dir": str(tmp_path / "run")}, argv=argv)
    with pytest.raises(InputError, match=sentence):
        prepare_features(recipe)
    assert not (tmp_path / "run").exists()
