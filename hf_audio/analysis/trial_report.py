"""The last stage of a trial in a search: its validation scores and costs. The test split is not used."""

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


def evaluate_trial(trained: Trained, features: FeatureDataset, run_folder: Path, metric: str | None) -> dict[str, Any]:
    """Scores the validation split, and writes a report.json with only these scores: no baselines, plots or card.

    Args:
        trained: as for `evaluate_model`.
        metric: the metric that the best checkpoint was chosen by; None is mAP (multi-label) or accuracy.

    Returns:
        "results" as from `evaluate_model`, "main", the name of the metric, and "cost": `num_parameters` (None for
        classical models) and `milliseconds` to load and score a window.

    Raises:
        InputError: there is no validation split, or the scores are not finite.
    """
    if SPLIT not in features.splits:
        raise InputError(
            f"{features.source} has no validation split to compare trials on: give --validation_fraction 0.15"
        )
    predictor = trained.predictor()
    windows = predictor.window_scores(features, SPLIT)
    few = dataclasses.replace(features, splits={SPLIT: features.splits[SPLIT].take(min(len(windows), MAX_TIMED))})
    begun_s = time.perf_counter()
    num_timed = len(predictor.window_scores(few, SPLIT))  # scores some again, since the first time includes the warm-up
    elapsed_s = time.perf_counter() - begun_s
    if process_state().is_main_process:
        facts = trained.facts()
        main = (metric or "").removeprefix("eval_") or (
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
