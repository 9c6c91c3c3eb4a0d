"""Resumed runs: after a kill, in another folder, with adapters; and runs that must not be resumed."""

from __future__ import annotations

import json
import re
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from training_run import assert_same_weights, batch_of, in_shards, tiny_model, trainer_of, weights_of
from transformers import AutoConfig, AutoModelForAudioClassification, TrainingArguments

from hf_audio.augment import Compose, Mixup, Normalization
from hf_audio.data.index.labels import SINGLE_LABEL
from hf_audio.data.loading.features_dataset import load_features
from hf_audio.errors import InputError
from hf_audio.models import build_model
from hf_audio.training.checkpoints import MARKER, delete_incomplete, is_complete, mark_complete, newest_complete

TESTS = Path(__file__).parent
# transformers 5.23 renamed it; Python 3.10 has none above 5.20
CHECKPOINTING = next(
    name for name in ("activation_checkpointing", "gradient_checkpointing") if hasattr(TrainingArguments, name)
)
STEPS = 10  # per epoch: 38 windows in batches of 4


def interrupted(run, step):
    """Removes what a run wrote from a step on, as if it had been killed before."""
    for path in (run / "checkpoints").glob("checkpoint-*"):
        if int(path.name.split("-")[1]) >= step:
            shutil.rmtree(path)


def inputs(batch):
    return {"input_values": batch["input_values"]}


def test_early_stopping_keeps_the_best_epoch_and_a_finished_run_is_not_trained_again(tiny_features, tmp_path):
    def scripted(trainer):
        scores = iter([0.5, 0.9, 0.4, 0.3, 0.2, 0.1])
        trainer.compute_metrics = lambda _: {"accuracy": next(scores)}
        return trainer

    options = {"arguments": {"num_train_epochs": 6}, "early_stopping_patience": 2}
    state = scripted(trainer_of(tiny_features, tmp_path, **options)).train_resumable()
    assert state.global_step == 4 * STEPS and state.best_global_step == 2 * STEPS
    best = weights_of(tmp_path / "checkpoints" / f"checkpoint-{2 * STEPS}")
    assert_same_weights(weights_of(tmp_path), best)
    last = weights_of(tmp_path / "checkpoints" / f"checkpoint-{4 * STEPS}")
    layer = "audio_spectrogram_transformer.layers.1.mlp.fc2.weight"
    assert not torch.equal(best[layer], last[layer])  # inner layers were trained, saved and loaded too

    moved = tmp_path.with_name("moved")
    shutil.move(tmp_path, moved)
    (moved / "model.safetensors").unlink()
    again = trainer_of(tiny_features, moved, model=tiny_model(tiny_features, seed=5), **options)
    assert again.train_resumable().global_step == 4 * STEPS
    assert_same_weights(weights_of(moved), best)
    assert_same_weights(again.model.state_dict(), best)
    assert [entry["loss"] for entry in again.state.log_history if "loss" in entry]


@pytest.fixture(scope="module")
def shards(tiny_folders, tmp_path_factory):
    """The tiny features with their 38 training windows in 4 shards."""
    return in_shards(tiny_folders[SINGLE_LABEL], tmp_path_factory.mktemp("shards") / "tiny", (12, 5, 14, 7))


@pytest.mark.parametrize("streaming", [False, True], ids=["local", "streamed"])
def test_a_resumed_run_draws_the_same_random_numbers(shards, tmp_path, streaming):
    """In the middle of an epoch, with dropout, mixup and early stopping; windows already trained on are not read."""
    tiny_features, read = load_features(shards, streaming=streaming), []
    augment = Compose((Mixup(0.4),), Normalization.of(tiny_features.extractor))
    steps = {"save_steps": 6, "eval_steps": 6, "save_strategy": "steps", "eval_strategy": "steps"}

    def start(folder):
        arguments = {**steps, "num_train_epochs": 2, "save_total_limit": None, "gradient_accumulation_steps": 2}
        model = tiny_model(tiny_features, dropout=0.2)
        trainer = trainer_of(tiny_features, folder, model, {**arguments, "logging_steps": 2}, {"augment": augment})
        collate, trainer.data_collator = trainer.data_collator, lambda rows: read.extend(rows) or collate(rows)
        return trainer

    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    trainer = start(whole)
    trainer.train_resumable()
    shutil.copytree(whole, resumed)
    interrupted(resumed, 10)
    assert newest_complete(resumed / "checkpoints").name == "checkpoint-6"
    again = start(resumed)
    torch.manual_seed(99)  # as in a process that used random numbers before
    read.clear()
    again.train_resumable()
    assert again.state.global_step == 10
    assert sum(row["clip_id"].startswith("train-") for row in read) == 4 * (10 - 6) * 2, "windows of 4 steps"
    assert_same_weights(trainer.model.state_dict(), again.model.state_dict())


def test_a_stream_divided_differently_within_an_epoch_is_reported(shards, tmp_path, caplog):
    features, steps = load_features(shards, streaming=True), {"save_strategy": "steps", "eval_strategy": "no"}

    def go_on(last, **division):
        arguments = {**steps, "save_steps": 1, "save_total_limit": None, "max_steps": 6, **division}
        interrupted(tmp_path, last)
        caplog.clear()
        trainer_of(features, tmp_path, arguments=arguments).train_resumable()
        return [record.getMessage() for record in caplog.records if "was started by" in record.getMessage()]

    assert go_on(0, gradient_accumulation_steps=2) == go_on(4, gradient_accumulation_steps=2) == []
    (told,) = go_on(4, per_device_train_batch_size=8)
    assert re.search(r"started by 1 process\S* with 1 worker\S* .* batches of 4\b", told)
    assert go_on(6, per_device_train_batch_size=8) == [], "at the end of an epoch it makes no difference"


def test_a_lora_run_publishes_both_forms_and_resumes(tiny_features, tmp_path):
    base, run, resumed = tmp_path / "base", tmp_path / "run", tmp_path / "resumed"
    tiny_model(tiny_features, seed=7).save_pretrained(base)
    tiny_features.extractor.save_pretrained(base)

    def start(folder):
        model = build_model(str(base), tiny_features, lora_rank=2, lora_dropout=0.2)
        arguments = {"num_train_epochs": 3, "learning_rate": 1e-2, CHECKPOINTING: True}
        return trainer_of(tiny_features, folder, model, arguments)

    trainer = start(run)
    trainer.train_resumable()
    scores = trainer.predictor().scores(tiny_features, "test").logits
    config = AutoConfig.from_pretrained(run)
    stock = AutoModelForAudioClassification.from_pretrained(base, config=config, ignore_mismatched_sizes=True)
    batch = batch_of(tiny_features, "test")
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
    assert any(p.abs().sum() > 0 for n, p in again.model.named_parameters() if "lora_B" in n)  # they were trained


def test_another_run_in_the_folder_is_reported_and_overwritten_only_on_request(tiny_features, tmp_path):
    trainer_of(tiny_features, tmp_path, arguments={"max_steps": 2}).train_resumable()
    arguments = {"max_steps": 2, "learning_rate": 0.5}
    with pytest.raises(
        InputError, match=r"run with other settings, .*learning_rate was 0\.001 and is now 0\.5;.*--out"
    ):
        trainer_of(tiny_features, tmp_path, arguments=arguments).train_resumable()
    state = trainer_of(tiny_features, tmp_path, arguments=arguments, overwrite_run=True).train_resumable()
    assert state.global_step == 2
    settings = json.loads((tmp_path / "checkpoints" / "run.json").read_text())
    assert settings["learning_rate"] == 0.5 and settings["model.hidden_size"] == 32
    with pytest.raises(InputError, match="augmentation was None"):
        augment = Compose((Mixup(0.4),), Normalization.of(tiny_features.extractor))
        trainer_of(tiny_features, tmp_path, arguments=arguments, objective={"augment": augment}).train_resumable()


def test_only_complete_checkpoints_count(tmp_path):
    for step in (5, 10, 20, 100):
        folder = tmp_path / f"checkpoint-{step}"
        (folder / "part").mkdir(parents=True)
        (folder / "weights").write_bytes(b"x" * step)
        (folder / "part" / "state").write_bytes(b"y")
        mark_complete(folder)
    (tmp_path / "checkpoint-100" / MARKER).unlink()  # killed while writing it
    (tmp_path / "checkpoint-20" / "part" / "state").unlink()  # killed while deleting it
    (tmp_path / "checkpoint-10" / "weights").write_bytes(b"x")  # the disk was full
    assert [is_complete(tmp_path / f"checkpoint-{step}") for step in (5, 10, 20, 100)] == [True, False, False, False]
    assert newest_complete(tmp_path).name == "checkpoint-5"
    delete_incomplete(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-5"]


def start_run(forks, features_folder, run, *flags, **arguments):
    arguments |= {"per_device_train_batch_size": 4, "logging_steps": 1, "disable_tqdm": True}
    program = TESTS / "training_run.py"
    return forks.start(program, features_folder, run, *flags, "--arguments", json.dumps(arguments))


IN_THE_MIDDLE = {"save_strategy": "steps", "save_steps": 8, "eval_strategy": "steps", "eval_steps": 8}
OPTIMIZED = ("--optimizing", json.dumps({"ema_decay": 0.8, "layer_decay": 0.8, "lr_schedule": "one_cycle"}))
KILLED = [
    pytest.param(OPTIMIZED, {"num_train_epochs": 8}, (2 * STEPS, 5 * STEPS), id="local"),
    pytest.param(
        ("--streaming",), {"num_train_epochs": 3, "dataloader_num_workers": 2, **IN_THE_MIDDLE}, (16,), id="streamed"
    ),
]


@pytest.mark.parametrize(("flags", "arguments", "kills"), KILLED)
def test_a_killed_run_ends_as_an_uninterrupted_one(shards, tmp_path, forks, flags, arguments, kills):
    """SIGKILL as soon as a checkpoint's folder appears, while its files are written; then the same command again."""
    undisturbed = start_run(forks, shards, tmp_path / "undisturbed", *flags, **arguments)
    killed = tmp_path / "killed"
    for step in kills:
        process = start_run(forks, shards, killed, *flags, **arguments)
        while not (killed / "checkpoints" / f"checkpoint-{step}").exists():
            assert process.poll(0.001) is None, process.errors[-3000:]
        process.kill()
        assert process.wait() == -signal.SIGKILL
        assert not (killed / "outcome.json").exists()
    for process in (start_run(forks, shards, killed, *flags, **arguments), undisturbed):
        assert process.wait() == 0, process.errors[-3000:]
    outcomes = [json.loads((run / "outcome.json").read_text()) for run in (tmp_path / "undisturbed", killed)]
    assert outcomes[0]["steps"] == arguments["num_train_epochs"] * STEPS
    assert outcomes[0] == outcomes[1]
    files = [(run / "model.safetensors").read_bytes() for run in (tmp_path / "undisturbed", killed)]
    assert files[0] == files[1]
