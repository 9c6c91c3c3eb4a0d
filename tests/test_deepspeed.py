"""DeepSpeed's configs: accelerate can read them, and if the package is installed, two processes train with them."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from process_tree import run_tree
from safetensors.torch import load_file
from torch.testing import assert_close

from hf_audio import InputError, parse_recipe

ROOT = Path(__file__).parents[1]
STAGES = (2, 3)


def config_of(stage: int) -> Path:
    return ROOT / "recipes" / "accelerate" / f"deepspeed_zero{stage}.yaml"


@pytest.mark.parametrize("stage", STAGES)
def test_accelerate_reads_the_configs(stage):
    config = load_config_from_file(str(config_of(stage)))
    assert config.distributed_type == "DEEPSPEED" and config.deepspeed_config["zero_stage"] == stage
    assert config.deepspeed_config["zero3_init_flag"] is False, "models are built in full before they are sharded"
    assert bool(config.deepspeed_config.get("zero3_save_16bit_model")) == (stage == 3)


def test_without_the_package_it_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "deepspeed", None)
    with pytest.raises(InputError, match="--deepspeed needs the package deepspeed, which is not installed"):
        parse_recipe({"output_dir": "runs/x", "corpus": "irmas"}, argv=["--deepspeed", str(config_of(2))])


@pytest.mark.parametrize("stage", STAGES)
def test_two_processes_train_like_without_deepspeed_and_resume(tiny_features, tmp_path, forks, stage):
    pytest.importorskip("deepspeed", reason="DeepSpeed is not installed: pip install deepspeed")
    config, run = tmp_path / "config.yaml", tmp_path / "run"
    changed = yaml.safe_load(config_of(stage).read_text()) | {"use_cpu": True, "num_processes": 2}
    config.write_text(yaml.safe_dump(changed))
    arguments = {"num_train_epochs": 2, "per_device_train_batch_size": 4, "disable_tqdm": True, "logging_steps": 1}

    def launch() -> dict:
        command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(config)]
        command += [str(ROOT / "tests" / "deepspeed_run.py"), tiny_features.source, str(run)]
        path = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
        environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        run_tree([*command, "--without_centers", "--arguments", json.dumps(arguments)], environment, timeout_s=200)
        return json.loads((run / "outcome.json").read_text())

    plain = tmp_path / "plain"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "ACCELERATE_USE_CPU": "true"}
    given = (tiny_features.source, plain, "--without_centers", "--arguments", json.dumps(arguments))
    forks.ranks(2, ROOT / "tests" / "training_run.py", *given, env=environment)
    launch()
    weights = load_file(run / "model.safetensors")
    assert_close(weights, load_file(plain / "model.safetensors"), rtol=1e-4, atol=1e-5)
    for gone in ("model.safetensors", "checkpoints/checkpoint-10"):  # finished, and resumed
        path = run / gone
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        (run / "outcome.json").unlink()
        assert launch()["steps"] == 10
        assert_close(load_file(run / "model.safetensors"), weights, rtol=1e-4, atol=1e-5)
