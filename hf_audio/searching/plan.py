"""The plan of a search: a recipe, its space, and the runs of each trial."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hf_audio.config import Recipe
from hf_audio.repeated_runs import RepeatedRuns, as_words
from hf_audio.searching.samplers import REDUCTION
from hf_audio.searching.space import Params, Space
from hf_audio.searching.space_file import OF_JSON

OWN = {"output_dir", "features_dir", "push_to_hub", "trial", "searched_trials", "overwrite_run", "demo"}
FIDELITIES = ("epochs", "train_fraction")
NUM_RUNGS = 3  # of successive halving over fractions of the training clips: 1/9, 1/3, all
FEATURES, TRIALS = "features", "trials"  # folders


@dataclass(frozen=True)
class PlannedRun:
    """One run of a trial.

    Attributes:
        name: name of its folder in the trial's folder; "" if the trial has only one run.
        flags: flags besides those of the trial's settings.
        step: progress of the trial to report after this run; 0 if it is reported during the run, or never.
    """

    name: str
    flags: tuple[str, ...] = ()
    step: int = 0


@dataclass(frozen=True)
class Plan:
    """A search.

    Attributes:
        runs: the recipe with the flags that all trials share.
        space: the search space.
        objectives: see objectives.py.
        folder: folder of all results.
        folds: flags per fold by name; without folds, one with the name "".
        fidelity: "epochs" or "train_fraction"; None trains each trial fully.
        reads_while_training: whether a trial can be pruned by its score after each epoch.
    """

    runs: RepeatedRuns
    space: Space
    objectives: tuple[str, ...]
    folder: Path
    folds: Mapping[str, list[str]] = field(default_factory=lambda: {"": []})
    fidelity: str | None = None
    reads_while_training: bool = False

    @property
    def json_flags(self) -> dict[str, Any]:
        """The recipe's values of the flags whose fields are searched."""
        model = self.runs.settings.model
        return {name: getattr(model, name, None) for name in OF_JSON}

    def flags_of_run(self, params: Params, run: PlannedRun) -> list[str]:
        """All flags of one run of a trial."""
        features = self.features_of(params, run)
        return [*self._drawn(params, run), *([] if features is None else [f"--features_dir={features}"])]

    def features_of(self, params: Params, run: PlannedRun) -> Path | None:
        """Folder of a run's features, shared by all runs with the same ones; None if they are stored elsewhere."""
        if self.runs.settings.stored_features:
            return None
        return self.folder / FEATURES / self.runs.decides_features(self._drawn(params, run))

    def _drawn(self, params: Params, run: PlannedRun) -> list[str]:
        return [*as_words(self.space.flags(params, self.json_flags)), *run.flags]

    def runs_of_trial(self) -> list[PlannedRun]:
        """The runs of each trial, in order: one, one per fold, or one per fraction of the training clips."""
        if self.fidelity == "train_fraction":
            steps = [REDUCTION**rung for rung in range(NUM_RUNGS)]
            return [
                PlannedRun(f"fraction-{step}-of-{steps[-1]}", (f"--train_fraction={step / steps[-1]:.6g}",), step)
                for step in steps
            ]
        if list(self.folds) == [""]:
            return [PlannedRun("")]
        return [
            PlannedRun(f"fold-{name}", tuple(flags), index)
            for index, (name, flags) in enumerate(self.folds.items(), start=1)
        ]

    def folder_of(self, number: int) -> Path:
        """Folder of a trial's runs."""
        return self.folder / TRIALS / f"{number:05d}"

    def facts(self) -> dict[str, Any]:
        """The facts that identify the search on all machines, so that trials of different searches are not mixed."""
        decides = self.runs.decides([])
        moved = {name for name, value in decides.items() if _is_place(value)} | {"recordings"}
        return {
            **{name: value for name, value in decides.items() if name not in moved},
            "space": [str(one) for one in self.space.dimensions],
            "objectives": list(self.objectives),
            "folds": sorted(self.folds),
            "fidelity": self.fidelity,
        }


def epochs_of(settings: Recipe) -> int | None:
    """Maximum number of evaluations of a network; None if it is unknown in advance."""
    args = settings.training
    if getattr(args.eval_strategy, "value", args.eval_strategy) != "epoch" or args.max_steps > 0:
        return None
    return max(1, round(args.num_train_epochs))


def _is_place(value: Any) -> bool:
    """Whether a fact is a path on this machine, which is different on others."""
    parts = value if isinstance(value, list) else [value]
    return any(isinstance(part, str) and os.path.isabs(part) for part in parts)
