"""Pretrains a tiny encoder with each objective and writes its losses to FOLDER/outcome.json: run by several processes.

accelerate launch --num_processes N tests/pretraining_run.py FEATURES FOLDER
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from training_run import tiny_model

from hf_audio import AudioTrainer, Pretraining, load_features, pretraining_model
from hf_audio.training import training_arguments

OBJECTIVES = ("masked", "shuffled")
GLOBAL_BATCH = 8


def pretrainer(features, run_folder: Path, objective: str, world_size: int = 1, seed: int = 0, **arguments):
    """A trainer for a two-layer encoder on the CPU, with one evaluation per epoch."""
    settings = {
        "use_cpu": True,
        "report_to": "none",
        "disable_tqdm": True,
        "learning_rate": 3e-3,
        "logging_steps": 1,
        "per_device_train_batch_size": GLOBAL_BATCH // world_size,
        "per_device_eval_batch_size": 4,
        **arguments,
    }
    model = pretraining_model(tiny_model(features, seed), objective, decoder_width=16, decoder_layers=1, seed=seed)
    return AudioTrainer(model, training_arguments(run_folder, **settings), Pretraining(features))


def losses_of(trainer) -> dict[str, list[float]]:
    names = ("loss", "grad_norm", "eval_loss", "eval_roc_auc")
    return {name: [entry[name] for entry in trainer.state.log_history if name in entry] for name in names}


if __name__ == "__main__":
    from accelerate import PartialState

    state = PartialState(cpu=True)
    features, outcome = load_features(sys.argv[1]), {"world_size": state.num_processes}
    for objective in OBJECTIVES:
        folder = Path(sys.argv[2]) / objective
        trainer = pretrainer(features, folder, objective, state.num_processes, max_steps=3)
        before = trainer.evaluate()["eval_loss"]
        trainer.train_resumable()
        outcome[objective] = {"before": [before], **losses_of(trainer)}
    if state.is_main_process:
        (Path(sys.argv[2]) / "outcome.json").write_text(json.dumps(outcome))
    trainer.accelerator.end_training()
