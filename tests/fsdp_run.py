"""Sharded training (FSDP 2) by two processes on the CPU: trains, starts the finished run again, and compares.

    torchrun --nproc_per_node 2 tests/fsdp_run.py FEATURES FOLDER

accelerate shards on accelerators only; here two processes on the CPU are presented as such.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ |= {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT",
    "FSDP_RESHARD_AFTER_FORWARD": "true",
}

import torch
from accelerate import PartialState
from accelerate.utils import DistributedType
from training_run import tiny_model, trainer_of

from hf_audio.config import OptimizingConfig
from hf_audio.data.loading.features_dataset import load_features
from hf_audio.errors import InputError
from hf_audio.models import build_model
from hf_audio.training import PatchDropout

ARGUMENTS = {
    **{"num_train_epochs": 1, "per_device_train_batch_size": 8, "learning_rate": 3e-3},
    "accelerator_config": {"use_configured_state": True},
}


def main() -> None:
    PartialState(cpu=True)
    PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
    features, run = load_features(sys.argv[1]), Path(sys.argv[2])
    objective = {"patch_dropout": PatchDropout(0.25)}
    rates = {"optimizing": OptimizingConfig(layer_decay=0.5)}
    trainer = trainer_of(features, run, tiny_model(features), ARGUMENTS, objective, **rates)
    assert trainer.accelerator.is_fsdp2
    assert trainer.accelerator.state.fsdp_plugin.transformer_cls_names_to_wrap == ["ASTLayer"]
    trainer.train_resumable()
    assert len({group["initial_lr"] for group in trainer.optimizer.param_groups}) == 4, "head, two layers, embeddings"
    assert type(trainer.model).__name__.startswith("FSDP")
    scores = torch.from_numpy(trainer.predictor().scores(features, "test").logits)
    (run / "model.safetensors").unlink(missing_ok=True)
    again = trainer_of(features, run, tiny_model(features, seed=5), ARGUMENTS, objective, **rates)
    assert again.train_resumable().global_step == 3
    torch.testing.assert_close(torch.from_numpy(again.predictor().scores(features, "test").logits), scores)
    if trainer.is_world_process_zero():
        torch.save({"scores": scores}, run / "scores.pt")
    again.accelerator.state.fsdp_plugin.transformer_cls_names_to_wrap = None  # the next trainer shares this state
    cnn = build_model("cnn-concert", features)  # a CNN has no blocks and no input embeddings
    assert trainer_of(features, run / "cnn", cnn, {**ARGUMENTS, "max_steps": 1}).train_resumable().global_step == 1
    try:
        trainer_of(features, run / "ema", cnn, ARGUMENTS, optimizing=OptimizingConfig(ema_decay=0.9))
        raise AssertionError("an average of weights that no process has whole")
    except InputError as error:
        assert "need all weights in each process" in str(error)
    torch.distributed.barrier()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
    torch.distributed.destroy_process_group()
