"""Scores of a trial during its training, so that a search can stop bad trials early."""

from __future__ import annotations

import json
from pathlib import Path

from transformers import TrainerCallback

from hf_audio.files import open_for_writing

TRIAL_FILE = "trial.jsonl"


class TrialScores(TrainerCallback):
    """Writes one line per evaluation to trial.jsonl: step, epoch, the metric that chooses the best checkpoint, and all
    scores. A run that is resumed after being killed may write a step again.

    Args:
        run_folder: the folder for the file.
    """

    def __init__(self, run_folder: Path) -> None:
        self.path = run_folder / TRIAL_FILE

    def on_evaluate(self, args, state, control, metrics=None, **kwargs):
        if not state.is_world_process_zero:
            return
        scores = {name.removeprefix("eval_"): value for name, value in (metrics or {}).items()}
        main = (args.metric_for_best_model or "").removeprefix("eval_")
        line = {"step": state.global_step, "epoch": state.epoch, "main": main, "scores": scores}
        with open_for_writing(self.path, "ab") as file:
            file.write(json.dumps(line).encode() + b"\n")
