"""The plan of a search: a recipe, its space, and the runs of each trial, all checked before the first."""

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
NUM_RUNGS = 3  # of successive halving over shares of the training clips: a ninth, a third, all
FEATURES, TRIALS = "features", "trials"  # folders


@dataclass(frozen=True)
class PlannedRun:
    """One run of a trial.

    Attributes:
        name: of its folder below the trial's; "" where the trial has one run alone.
        flags: beside those that the trial drew.
        step: how far the trial is when it ends, as it is reported; 0 where that is said while it runs, or never.
    """

    name: str
    flags: tuple[str, ...] = ()
    step: int = 0


@dataclass(frozen=True)
class Plan:
    """A search.

    Attributes:
        runs: the recipe with the flags that all trials share.
        space: what is searched.
        objectives: see objectives.py.
        folder: where all goes.
        folds: flags of each fold by its name; one of "" where there are none.
        fidelity: "epochs" or "train_fraction"; None trains each trial on all.
        reads_while_training: whether a trial is pruned by its scores after each epoch.
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
        """What the recipe says of flags whose fields are searched."""
        model = self.runs.settings.model
        return {name: getattr(model, name, None) for name in OF_JSON}

    def flags_of_run(self, params: Params, run: PlannedRun) -> list[str]:
        """All flags of one run of a trial."""
        features = self.features_of(params, run)
        return [*self._drawn(params, run), *([] if features is None else [f"--features_dir={features}"])]

    def features_of(self, params: Params, run: PlannedRun) -> Path | None:
        """Where a run's features are, shared by all runs that have the same; None where they are stored elsewhere."""
        if self.runs.settings.stored_features:
            return None
        return self.folder / FEATURES / self.runs.decides_features(self._drawn(params, run))

    def _drawn(self, params: Params, run: PlannedRun) -> list[str]:
        return [*as_words(self.space.flags(params, self.json_flags)), *run.flags]

    def runs_of_trial(self) -> list[PlannedRun]:
        """The runs of each trial, in order: one, one on each fold, or one on each share of the training clips."""
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
        """Where a trial's runs go."""
        return self.folder / TRIALS / f"{number:05d}"

    def facts(self) -> dict[str, Any]:
        """What decides the search wherever it goes on: trials of another are not to be mixed in."""
        decides = self.runs.decides([])
        moved = {name for name, value in decides.items() if _is_place(value)} | {"recordings"}
        return {
            **{name: value for name, value in decides.items() if name not in moved},
            "space": [repr(one) for one in self.space.dimensions],
            "objectives": list(self.objectives),
            "folds": sorted(self.folds),
            "fidelity": self.fidelity,
        }


def epochs_of(settings: Recipe) -> int | None:
    """How many times a network is evaluated at most; None where that is not known before."""
    args = settings.training
    if getattr(args.eval_strategy, "value", args.eval_strategy) != "epoch" or args.max_steps > 0:
        return None
    return max(1, round(args.num_train_epochs))


def _is_place(value: Any) -> bool:
    """Whether a fact is where something lies on this machine, as it differs on another."""
    parts = value if isinstance(value, list) else [value]
    return any(isinstance(part, str) and os.path.isabs(part) for part in parts)
