from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from training_run import build_tiny_features, tiny_model
from transformers import (
    ASTFeatureExtractor,
    ASTForAudioClassification,
    AutoConfig,
    AutoFeatureExtractor,
    AutoModelForAudioClassification,
    TrainerCallback,
)

from hf_audio.augment import Compose, Mixup, Normalisation
from hf_audio.data.features_dataset import FeatureCollator, load_features
from hf_audio.data.labels import MULTI_LABEL, SINGLE_LABEL
from hf_audio.errors import InputError
from hf_audio.losses import loss_for
from hf_audio.models import build_model
from hf_audio.training import AudioTrainer, training_arguments
from hf_audio.training.checkpoints import MARKER, delete_incomplete, is_complete, mark_complete, newest_complete

TESTS = Path(__file__).parent
STEPS = 10  # of an epoch: 38 windows in batches of 4


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("features")
    return {task: build_tiny_features(folder / task, task) for task in (SINGLE_LABEL, MULTI_LABEL)}


@pytest.fixture(scope="module")
def features(folders):
    return load_features(folders[SINGLE_LABEL])


def trainer_of(features, folder, model=None, arguments=None, **options):
    settings = {
        "use_cpu": True,
        "report_to": "none",
        "disable_tqdm": True,
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-3,
        "logging_steps": 1,
        **(arguments or {}),
    }
    model = tiny_model(features) if model is None else model
    return AudioTrainer(model, training_arguments(folder, **settings), features=features, **options)


def weights_of(folder):
    return ASTForAudioClassification.from_pretrained(folder).state_dict()


def assert_same_weights(one, two):
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


def batch_of(features, split):
    return FeatureCollator(features.extractor, features.labels)(list(features.splits[split]))


class Spy(TrainerCallback):
    """Keeps what the model was called with and the gradients of each step."""

    def __init__(self, model):
        self.calls, self.gradients = [], []
        model.register_forward_pre_hook(lambda _, args, kwargs: self.calls.append((args, kwargs)), with_kwargs=True)

    def on_pre_optimizer_step(self, args, state, control, model, **kwargs):
        self.gradients.append(torch.cat([parameter.grad.flatten() for parameter in model.parameters()]))


@pytest.mark.parametrize("task", [SINGLE_LABEL, MULTI_LABEL])
def test_it_learns_and_leaves_a_model_anyone_can_load(folders, tmp_path, task):
    features = load_features(folders[task])
    arguments = {"num_train_epochs": 8, "learning_rate": 3e-3, "report_to": "tensorboard"}
    trainer = trainer_of(features, tmp_path, arguments=arguments)
    untrained = trainer.evaluate()
    state = trainer.train_resumable()
    metric = "eval_mean_average_precision" if task == MULTI_LABEL else "eval_accuracy"
    assert trainer.args.metric_for_best_model == metric.removeprefix("eval_")
    assert state.best_metric > max(0.8, untrained[metric])
    assert state.best_metric == max(entry[metric] for entry in state.log_history if metric in entry)
    model = AutoModelForAudioClassification.from_pretrained(tmp_path).eval()
    assert model.config.id2label == features.labels.id2label and model.config.problem_type == task
    extractor = AutoFeatureExtractor.from_pretrained(tmp_path)
    assert type(extractor) is ASTFeatureExtractor and extractor.to_dict() == features.extractor.to_dict()
    assert list((tmp_path / "tensorboard").glob("events.*"))
    assert {path.name for path in tmp_path.iterdir()} == {
        *("checkpoints", "tensorboard", "config.json", "model.safetensors", "preprocessor_config.json")
    }


def test_evaluation_is_by_clip_and_its_loss_over_all_windows(features, tmp_path):
    trainer = trainer_of(features, tmp_path, arguments={"per_device_eval_batch_size": 4})
    metrics = trainer.evaluate()
    batch = batch_of(features, "validation")
    with torch.no_grad():
        logits = trainer.model(batch["input_values"]).logits
    loss = loss_for(features.labels)(logits, batch["labels"])
    assert metrics["eval_loss"] == pytest.approx(loss.item(), rel=1e-5)
    clips = trainer.predict_clips("validation")
    assert len(clips) == 7 and len(logits) == 13
    first = batch["clip_keys"] == clips.clip_keys[0]
    assert first.sum() == 2
    np.testing.assert_allclose(clips.logits[0], logits[first].mean(0), rtol=1e-4, atol=1e-6)
    assert metrics["eval_accuracy"] == pytest.approx((clips.logits.argmax(1) == clips.targets.argmax(1)).mean())
    with pytest.raises(InputError, match=r"Unknown local split 'tets': did you mean 'test'\?"):
        trainer.predict_clips("tets")


def test_each_split_is_scored_by_its_own_windows_with_persistent_workers_too(features, tmp_path):
    arguments = {"dataloader_num_workers": 1, "dataloader_persistent_workers": True, "dataloader_prefetch_factor": 2}
    trainer = trainer_of(features, tmp_path, arguments=arguments)
    assert trainer.evaluate()["eval_loss"] != trainer.evaluate(features.splits["test"])["eval_loss"]
    assert [len(trainer.predict_clips(split)) for split in ("validation", "test", "train")] == [7, 5, 21]


def test_the_model_sees_features_only_and_augmented_ones_in_training_only(features, tmp_path):
    model = tiny_model(features)
    spy, seeds = Spy(model), []

    def augment(inputs, targets, generator):
        seeds.append(generator.initial_seed())
        return inputs + 100, targets

    arguments = {"max_steps": 2, "gradient_accumulation_steps": 2}
    trainer_of(features, tmp_path, model, arguments, augment=augment, callbacks=[spy]).train()
    assert {(args, *kwargs) for args, kwargs in spy.calls} == {((), "input_values")}
    augmented = [kwargs["input_values"].mean().item() > 50 for _, kwargs in spy.calls]
    assert augmented[:4] == [True] * 4 and not any(augmented[4:]) and len(augmented) > 4
    assert len(set(seeds)) == 4  # each micro-batch its own


def test_a_smaller_last_micro_batch_counts_by_its_size(features, tmp_path):
    """7 windows in batches of 2, 2, 2 and 1: one step of their plain mean, which the mean of four means is not."""
    few = dataclasses.replace(features, splits={"train": features.splits["train"].select(range(7))})
    model = tiny_model(features)
    spy = Spy(model)
    arguments = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4, "max_grad_norm": 0.0}
    trainer = trainer_of(few, tmp_path, model, {**arguments, "num_train_epochs": 1}, callbacks=[spy])
    trainer.train()
    batch, model = batch_of(few, "train"), tiny_model(features)
    loss_for(features.labels)(model(batch["input_values"]).logits, batch["labels"]).backward()
    expected = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    assert len(spy.gradients) == 1
    torch.testing.assert_close(spy.gradients[0], expected, rtol=1e-5, atol=1e-5)


def test_bf16_trains_close_to_float32(features, tmp_path):
    losses = []
    for bf16 in (False, True):
        model = tiny_model(features)
        spy = Spy(model)
        arguments = {"bf16": bf16, "max_steps": 3, "eval_strategy": "no", "save_strategy": "no"}
        trainer = trainer_of(features, tmp_path / str(bf16), model, arguments, callbacks=[spy])
        before = trainer.evaluate()["eval_loss"]  # evaluating first must not cast twice, or leave the cast out
        trainer.train()
        losses.append([before, *(entry["loss"] for entry in trainer.state.log_history if "loss" in entry)])
        assert spy.gradients[0].dtype == torch.float32 and model.dtype == torch.float32
    assert losses[0] == pytest.approx(losses[1], rel=0.02) and losses[0] != losses[1]


def test_early_stopping_keeps_the_best_epoch_and_a_finished_run_is_not_trained_again(features, tmp_path):
    def scripted(trainer):
        scores = iter([0.5, 0.9, 0.4, 0.3, 0.2, 0.1])
        trainer.compute_metrics = lambda _: {"accuracy": next(scores)}
        return trainer

    options = {"arguments": {"num_train_epochs": 6}, "early_stopping_patience": 2}
    state = scripted(trainer_of(features, tmp_path, **options)).train_resumable()
    assert state.global_step == 4 * STEPS and state.best_global_step == 2 * STEPS
    best = weights_of(tmp_path / "checkpoints" / f"checkpoint-{2 * STEPS}")
    assert_same_weights(weights_of(tmp_path), best)
    last = weights_of(tmp_path / "checkpoints" / f"checkpoint-{4 * STEPS}")
    layer = "audio_spectrogram_transformer.layers.1.mlp.fc2.weight"
    assert not torch.equal(best[layer], last[layer])  # a deep layer too was trained, saved and loaded

    moved = tmp_path.with_name("moved")
    shutil.move(tmp_path, moved)
    (moved / "model.safetensors").unlink()
    again = trainer_of(features, moved, model=tiny_model(features, seed=5), **options)
    assert again.train_resumable().global_step == 4 * STEPS
    assert_same_weights(weights_of(moved), best)
    assert_same_weights(again.model.state_dict(), best)
    assert [entry["loss"] for entry in again.state.log_history if "loss" in entry]


def interrupted(run, step):
    """Makes a run look as if it had been killed before it reached a step."""
    for path in (run / "checkpoints").glob("checkpoint-*"):
        if int(path.name.split("-")[1]) >= step:
            shutil.rmtree(path)


def test_a_resumed_run_has_the_same_random_numbers(features, tmp_path):
    """In the middle of an epoch, with dropout, mixup and early stopping's count."""
    augment = Compose((Mixup(0.4, Normalisation.of(features.extractor)),))
    steps = {"save_steps": 6, "eval_steps": 6, "save_strategy": "steps", "eval_strategy": "steps"}

    def start(folder):
        arguments = {**steps, "num_train_epochs": 2, "save_total_limit": None, "gradient_accumulation_steps": 2}
        model = tiny_model(features, dropout=0.2)
        return trainer_of(features, folder, model, {**arguments, "logging_steps": 2}, augment=augment)

    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    trainer = start(whole)
    trainer.train_resumable()
    shutil.copytree(whole, resumed)
    interrupted(resumed, 10)
    assert newest_complete(resumed / "checkpoints").name == "checkpoint-6"
    again = start(resumed)
    torch.manual_seed(99)  # a process that did something else before
    again.train_resumable()
    assert again.state.global_step == 10
    assert_same_weights(trainer.model.state_dict(), again.model.state_dict())


def test_a_lora_run_publishes_both_forms_and_resumes(features, tmp_path):
    base, run, resumed = tmp_path / "base", tmp_path / "run", tmp_path / "resumed"
    tiny_model(features, seed=7).save_pretrained(base)
    features.extractor.save_pretrained(base)

    def start(folder):
        model = build_model(str(base), features, lora_rank=2, lora_dropout=0.2)
        arguments = {"num_train_epochs": 3, "learning_rate": 1e-2, "activation_checkpointing": True}
        return trainer_of(features, folder, model, arguments)

    trainer = start(run)
    trainer.train_resumable()
    scores = trainer.predict_clips("test").logits
    config = AutoConfig.from_pretrained(run)
    stock = AutoModelForAudioClassification.from_pretrained(base, config=config, ignore_mismatched_sizes=True)
    batch = batch_of(features, "test")
    with torch.no_grad():
        adapted = PeftModel.from_pretrained(stock, str(run), subfolder="adapter").eval()(**inputs(batch)).logits
        merged = AutoModelForAudioClassification.from_pretrained(run).eval()(**inputs(batch)).logits
    torch.testing.assert_close(adapted, merged, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(scores[0], merged[batch["clip_keys"] == batch["clip_keys"][0]].mean(0), atol=1e-4)

    shutil.copytree(run, resumed)
    interrupted(resumed, 3 * STEPS)
    assert newest_complete(resumed / "checkpoints") is not None
    again = start(resumed)
    again.train_resumable()
    assert again.state.global_step == 3 * STEPS
    trainable = [{n for n, p in t.model.named_parameters() if p.requires_grad} for t in (trainer, again)]
    assert trainable[0] == trainable[1] and not any("embeddings" in name for name in trainable[1])
    assert_same_weights(trainer.model.state_dict(), again.model.state_dict())
    assert any(p.abs().sum() > 0 for n, p in again.model.named_parameters() if "lora_B" in n)  # they had gradients


def inputs(batch):
    return {"input_values": batch["input_values"]}


def test_another_run_in_the_folder_is_named_and_only_overwritten_on_demand(features, tmp_path):
    trainer_of(features, tmp_path, arguments={"max_steps": 2}).train_resumable()
    arguments = {"max_steps": 2, "learning_rate": 0.5}
    with pytest.raises(
        InputError, match=r"run with other settings \(learning_rate was 0\.001 and now is 0\.5\).*--out"
    ):
        trainer_of(features, tmp_path, arguments=arguments).train_resumable()
    state = trainer_of(features, tmp_path, arguments=arguments, overwrite_run=True).train_resumable()
    assert state.global_step == 2
    settings = json.loads((tmp_path / "checkpoints" / "run.json").read_text())
    assert settings["learning_rate"] == 0.5 and settings["model.hidden_size"] == 32
    with pytest.raises(InputError, match="augmentation was None"):
        augment = Compose((Mixup(0.4, Normalisation.of(features.extractor)),))
        trainer_of(features, tmp_path, arguments=arguments, augment=augment).train_resumable()


def test_early_stopping_without_scores_is_refused(features, tmp_path):
    with pytest.raises(InputError, match="Early stopping needs scores, found --eval_strategy no"):
        trainer_of(features, tmp_path, arguments={"eval_strategy": "no"}, early_stopping_patience=2)


def test_a_folder_that_cannot_be_written_is_one_sentence(features, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"Cannot write to .*file/run \(Not a directory\): give another --output_dir"):
        trainer_of(features, tmp_path / "file" / "run")


def test_only_whole_checkpoints_count(tmp_path):
    for step in (5, 10, 20, 100):
        folder = tmp_path / f"checkpoint-{step}"
        (folder / "part").mkdir(parents=True)
        (folder / "weights").write_bytes(b"x" * step)
        (folder / "part" / "state").write_bytes(b"y")
        mark_complete(folder)
    (tmp_path / "checkpoint-100" / MARKER).unlink()  # killed while it was written
    (tmp_path / "checkpoint-20" / "part" / "state").unlink()  # killed while it was deleted
    (tmp_path / "checkpoint-10" / "weights").write_bytes(b"x")  # a disk that was full
    assert [is_complete(tmp_path / f"checkpoint-{step}") for step in (5, 10, 20, 100)] == [True, False, False, False]
    assert newest_complete(tmp_path).name == "checkpoint-5"
    delete_incomplete(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-5"]


def start_run(features_folder, run, *flags):
    arguments = {"num_train_epochs": 8, "per_device_train_batch_size": 4, "logging_steps": 1, "disable_tqdm": True}
    command = [sys.executable, str(TESTS / "training_run.py"), str(features_folder), str(run), *flags]
    return subprocess.Popen(
        [*command, "--arguments", json.dumps(arguments)],
        env={**os.environ, "PYTHONPATH": str(TESTS.parent), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors[-3000:]


@pytest.mark.parametrize(("flags", "kills"), [((), (2, 5)), (("--streaming",), (3,))], ids=["local", "streamed"])
def test_a_run_that_is_killed_ends_as_an_undisturbed_one(folders, tmp_path, flags, kills):
    """SIGKILL as soon as a checkpoint's folder appears, when its files are being written, then the same command."""
    undisturbed = start_run(folders[SINGLE_LABEL], tmp_path / "undisturbed", *flags)
    killed = tmp_path / "killed"
    for epoch in kills:
        process = start_run(folders[SINGLE_LABEL], killed, *flags)
        while not (killed / "checkpoints" / f"checkpoint-{epoch * STEPS}").exists():
            assert process.poll() is None, process.stderr.read()[-3000:]
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert not (killed / "outcome.json").exists()
    finish(start_run(folders[SINGLE_LABEL], killed, *flags))
    finish(undisturbed)
    outcomes = [json.loads((run / "outcome.json").read_text()) for run in (tmp_path / "undisturbed", killed)]
    assert outcomes[0]["steps"] == 8 * STEPS
    assert outcomes[0] == outcomes[1]
    files = [(run / "model.safetensors").read_bytes() for run in (tmp_path / "undisturbed", killed)]
    assert files[0] == files[1]
