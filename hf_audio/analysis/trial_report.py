"""The last stage of a trial of a search: its validation scores and costs. The test split stays unseen."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

from hf_audio.analysis.evaluation import Trained, judge
from hf_audio.data.loading.features_dataset import FeatureDataset
from hf_audio.errors import InputError
from hf_audio.files import write_json
from hf_audio.ranks import process_state, wait_for_everyone

SPLIT = "validation"
MAX_TIMED = 512  # windows


def evaluate_trial(trained: Trained, features: FeatureDataset, run_folder: Path, asked: str | None) -> dict[str, Any]:
    """Scores validation, and writes a report.json of that alone: no baselines, no plots, no card.

    Args:
        trained: as of `evaluate_model`.
        asked: the metric that the best checkpoint was chosen by; None takes mAP (several labels) or accuracy.

    Returns:
        "results" as of `evaluate_model`, "main" the name of the metric, "cost": `num_parameters` (None of classical
        models) and `milliseconds` to read and score a window.

    Raises:
        InputError: there is no validation split, or the scores are not finite.
    """
    if SPLIT not in features.splits:
        raise InputError(
            f"{features.source} has no validation split, by which trials are compared: give --validation_fraction 0.15"
        )
    predictor = trained.predictor()
    windows = predictor.window_scores(features, SPLIT)
    few = dataclasses.replace(features, splits={SPLIT: features.splits[SPLIT].take(min(len(windows), MAX_TIMED))})
    begun_s = time.perf_counter()
    num_timed = len(predictor.window_scores(few, SPLIT))  # some once more: the first time also warms up
    elapsed_s = time.perf_counter() - begun_s
    if process_state().is_main_process:
        facts = trained.facts()
        main = (asked or "").removeprefix("eval_") or (
            "mean_average_precision" if features.labels.is_multi_label else "accuracy"
        )
        report = {
            "evaluated_split": SPLIT,
            "main": main,
            "results": {"model": judge({SPLIT: windows.clips()}, features.labels)},
            "task": {"problem_type": features.labels.problem_type, "labels": list(features.labels.names)},
            "cost": {
                "num_parameters": facts["model"].get("num_parameters"),
                "milliseconds": 1000 * elapsed_s / num_timed,
            },
            "epochs": facts["training"].get("epochs"),
        }
        write_json(run_folder / "report.json", report)
    else:
        report = {}
    wait_for_everyone()
    return report
