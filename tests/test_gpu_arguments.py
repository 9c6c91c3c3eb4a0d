"""Settings for GPUs, tested without one: arguments, data types on the CPU, sharding over two processes."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from pathlib import Path

import psutil
import pytest
import torch
import yaml
from model_cases import CASES, NAMES, LabelSpace
from process_tree import run_tree
from torch.utils._python_dispatch import TorchDispatchMode
from training_run import tiny_model, trainer_of

from hf_audio import parse_recipe
from hf_audio.data.index.labels import SINGLE_LABEL
from hf_audio.errors import InputError
from hf_audio.training import Classification, training_arguments, training_defaults
from hf_audio.training.arguments import MAX_WORKERS, own_arguments
from hf_audio.training.sharding import _input_embeddings, blocks_of

ROOT = Path(__file__).parents[1]
VALUES = {"output_dir": "runs/x", "corpus": "irmas"}


@pytest.fixture
def gpu(monkeypatch):
    """A machine that claims a GPU without bfloat16 and 65 cores. Calling the fixture adds bfloat16."""
    native = {"bf16": False}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or native["bf16"]
    )
    monkeypatch.setattr("hf_audio.training.arguments.usable_cores", lambda: 65)
    monkeypatch.delenv("ACCELERATE_MIXED_PRECISION", raising=False)
    monkeypatch.delenv("ACCELERATE_USE_CPU", raising=False)
    return lambda: native.update(bf16=True)


def test_bfloat16_is_the_default_if_the_gpu_has_it(gpu):
    assert training_defaults()["bf16"] is False, "bfloat16 is only emulated, as on a T4 or V100"
    gpu()
    assert training_defaults()["bf16"] is True


def test_the_precision_of_accelerates_config_is_a_default_too(gpu, monkeypatch):
    for asked in ("bf16", "fp16"):
        monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", asked)
        found = training_defaults()
        assert found[asked] is True and found["bf16" if asked == "fp16" else "fp16"] is False


@pytest.mark.parametrize("has_bf16", [False, True])
def test_a_cpu_trains_in_bfloat16_if_that_is_faster_for_the_model(monkeypatch, has_bf16):
    monkeypatch.delenv("ACCELERATE_MIXED_PRECISION", raising=False)
    monkeypatch.setattr("hf_audio.training.arguments.cpu_computes_in_bfloat16", lambda: has_bf16)
    for model in ("cnn", "ast-small", "MIT/ast-finetuned-audioset-10-10-0.4593"):
        assert parse_recipe(VALUES, argv=["--use_cpu", "--model", model]).training.bf16 is has_bf16, model
        assert not parse_recipe(VALUES, argv=["--use_cpu", "--model", model, "--bf16", "false"]).training.bf16
    for model in ("ast-mini", "lstm", "mobilenets", "resnet18", "timm/resnet18"):
        assert not parse_recipe(VALUES, argv=["--use_cpu", "--model", model]).training.bf16, model


def test_scores_on_a_cpu_are_float32_even_after_bfloat16_training(tiny_features, tmp_path):
    model, seen = tiny_model(tiny_features), []
    model.classifier.dense.register_forward_hook(lambda _, inputs, output: seen.append(output.dtype))
    arguments = {"bf16": True, "max_steps": 2, "eval_strategy": "no", "save_strategy": "no"}
    trainer = trainer_of(tiny_features, tmp_path, model, arguments)
    trainer.train()
    assert set(seen) == {torch.bfloat16}
    seen.clear()
    trainer.evaluate()
    trainer.predictor().scores(trainer.features, "validation")
    assert set(seen) == {torch.float32}
    seen.clear()
    trainer.args.max_steps = 3
    trainer.train()
    assert torch.bfloat16 in seen, "training must continue in bfloat16"


def test_use_cpu_on_a_machine_with_a_gpu_has_defaults_of_a_cpu(gpu):
    gpu()
    assert training_defaults()["dataloader_num_workers"] == MAX_WORKERS > 8
    found = training_defaults(use_cpu=True)
    assert found["use_cpu"] and not found["bf16"] and found["dataloader_num_workers"] == 0
    assert not found["dataloader_pin_memory"]
    recipe = parse_recipe(VALUES, argv=["--use_cpu"])
    assert not recipe.training.bf16 and recipe.training.dataloader_num_workers == 0


def defaults_of_a_gpu(use_cpu: bool = False, model: str | None = None) -> dict:
    return {**training_defaults(), "dataloader_num_workers": 8}


def test_without_workers_their_other_settings_are_off_too(monkeypatch):
    monkeypatch.setattr("hf_audio.parsing.training_defaults", defaults_of_a_gpu)
    values = {**VALUES, "use_cpu": False}
    with_workers = parse_recipe(values, argv=[]).training
    assert with_workers.dataloader_prefetch_factor == 4 and with_workers.dataloader_persistent_workers
    without = parse_recipe(values, argv=["--dataloader_num_workers", "0"]).training
    assert without.dataloader_prefetch_factor is None and not without.dataloader_persistent_workers
    given = parse_recipe(values, argv=["--dataloader_prefetch_factor", "2"]).training
    assert given.dataloader_prefetch_factor == 2


def test_training_is_the_same_with_and_without_workers(tiny_features, tmp_path):
    losses = []
    for workers in (0, 2):
        arguments = {"dataloader_num_workers": workers, "max_steps": 2, "eval_strategy": "no", "save_strategy": "no"}
        trainer = trainer_of(tiny_features, tmp_path, arguments=arguments)
        trainer.train()
        losses.append([entry["loss"] for entry in trainer.state.log_history if "loss" in entry])
    assert losses[0] == losses[1]


@pytest.mark.parametrize("bf16", [False, True])
def test_the_flag_overrides_accelerates_precision_and_the_report_has_the_one_used(
    tiny_features, tmp_path, monkeypatch, bf16
):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no" if bf16 else "bf16")
    model = tiny_model(tiny_features)
    seen = []
    model.classifier.dense.register_forward_hook(lambda _, inputs, output: seen.append(output.dtype))
    arguments = {"bf16": bf16, "max_steps": 1, "eval_strategy": "no", "save_strategy": "no"}
    trainer = trainer_of(tiny_features, tmp_path, model, arguments)
    trainer.train()
    assert set(seen) == {torch.bfloat16 if bf16 else torch.float32}
    assert trainer.facts()["training"]["precision"] == ("bf16" if bf16 else "fp32")
    assert trainer.accelerator.mixed_precision == ("bf16" if bf16 else "no")


def test_half_precision_on_a_cpu_is_refused(tiny_features, tmp_path):
    with pytest.raises(InputError, match="--fp16 needs a GPU: leave it out"):
        parse_recipe(VALUES, argv=["--fp16", "--use_cpu"])
    with pytest.raises(InputError, match="--fp16 needs a GPU: leave it out"):
        trainer_of(tiny_features, tmp_path, arguments={"fp16": True})


def test_batches_are_copied_while_the_gpu_computes(tiny_features, tmp_path):
    args = training_arguments(tmp_path, use_cpu=True, report_to="none")
    args.__dict__["_setup_devices"], args.dataloader_pin_memory = torch.device("cuda"), True
    own = own_arguments(args, tiny_model(tiny_features), Classification(tiny_features), 0)
    assert own.accelerator_config.non_blocking and own.dataloader_pin_memory
    assert not args.accelerator_config.non_blocking, "the caller's arguments must not change"
    trainer = trainer_of(tiny_features, tmp_path)
    assert not trainer.get_train_dataloader()._non_blocking
    trainer.args.accelerator_config.non_blocking = True
    assert trainer.get_train_dataloader()._non_blocking


class Counting(TorchDispatchMode):
    """Counts operations by name."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.found[function.overloadpacket.__name__] += 1
        return function(*args, **(kwargs or {}))


def test_no_step_waits_to_check_the_loss_for_nan(tiny_features, tmp_path):
    """For each isnan or isinf of a loss on the GPU, the CPU waits until all earlier operations are done."""
    counted = []
    for steps in (2, 6):
        arguments = {"max_steps": steps, "logging_steps": 100, "eval_strategy": "no", "save_strategy": "no"}
        arguments |= {"logging_first_step": False, "optim": "sgd"}
        trainer = trainer_of(tiny_features, tmp_path, arguments=arguments)
        with Counting() as counting:
            trainer.train()
        counted.append(counting.found)
    waits = [found["_local_scalar_dense"] + found["isnan"] + found["isinf"] for found in counted]
    assert waits[0] == waits[1], f"{(waits[1] - waits[0]) / 4} waits per step"


def test_blocks_for_sharding_are_modules_of_the_model(tiny_features):
    """accelerate raises for a name that the model lacks, and FSDP 2 for input embeddings that it shards twice."""
    labels = LabelSpace(NAMES, SINGLE_LABEL)
    for case in CASES:
        model = case.make(labels)
        blocks, embeddings = blocks_of(model), _input_embeddings(model)
        parts = [part for part in model.modules() if type(part).__name__ in blocks]
        assert {type(part).__name__ for part in parts} == set(blocks)
        assert not any(one is embeddings for part in parts for one in part.modules())
    assert blocks_of(tiny_model(tiny_features)) == ["ASTLayer"]


def test_shipped_configs_set_neither_blocks_nor_precision():
    for path in sorted((ROOT / "recipes" / "accelerate").glob("*.yaml")):
        config = yaml.safe_load(path.read_text())
        assert config["mixed_precision"] == "no", path.name
        assert "fsdp_transformer_layer_cls_to_wrap" not in config.get("fsdp_config", {})


def test_lora_with_fsdp_is_refused_before_reading(monkeypatch):
    lora = ["--model", "someone/ast", "--lora_rank", "4"]
    assert parse_recipe(VALUES, argv=lora).model.lora_rank == 4
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert parse_recipe(VALUES, argv=lora[:2]).model.lora_rank == 0
    with pytest.raises(InputError, match=r"LoRA is not supported with FSDP: .* recipes/accelerate/multi_gpu.yaml"):
        parse_recipe(VALUES, argv=lora)


def test_processes_started_by_a_test_end_with_it(tmp_path):
    """Also if a launcher starts it in another session, as torchrun does."""
    launcher = ["sh", "-c", f"setsid sleep 60 & echo $! > {tmp_path}/pid; wait"]
    with pytest.raises(subprocess.TimeoutExpired):
        run_tree(launcher, dict(os.environ), timeout_s=1)
    pid = int((tmp_path / "pid").read_text())
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_sharded_run_trains_and_saves_a_whole_model(tiny_features, tmp_path, forks):
    forks.ranks(2, ROOT / "tests" / "fsdp_run.py", tiny_features.source, tmp_path)
    from transformers import AutoModelForAudioClassification

    scores = torch.load(tmp_path / "scores.pt", weights_only=True)["scores"]
    saved = AutoModelForAudioClassification.from_pretrained(tmp_path)
    trainer = trainer_of(tiny_features, tmp_path / "elsewhere", saved)
    found = trainer.predictor().scores(trainer.features, "test").logits
    torch.testing.assert_close(torch.from_numpy(found), scores, rtol=1e-4, atol=1e-4)
