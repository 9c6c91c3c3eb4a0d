"""Run a recipe with and without tricks, over seeds and folds, and report what each trick changes and costs.

    python scripts/ablate.py recipes/cnn_folder.py --tricks recipes/ablations/cnn.yaml --seeds 0 1 2 --data_dir DIR
    python scripts/ablate.py recipes/cnn_folder.py --tricks T.yaml --num_folds 3 --data_dir DIR    three drawn by groups
    python scripts/ablate.py recipes/ast_esc50.py --tricks T.yaml --folds --data_dir ESC50         each of its own folds
    python scripts/ablate.py recipes/cnn_folder.py --tricks T.yaml --only focal mixup --max_steps 300 --data_dir DIR

T.yaml maps names of tricks to flags of the recipe, or to names of other tricks, whose flags are combined:

    baseline: {label_smoothing_factor: 0}       optional: flags of all runs
    focal: {loss: focal}
    mixup: {mixup_alpha: 0.4}
    both: [focal, mixup]
    no smoothing set: {label_smoothing_factor: null}    without this flag of the baseline

All other flags are the recipe's. The baseline and every trick run with each seed on each fold, in processes of their
own. Runs with the same feature settings share features. To resume an interrupted ablation, run the same command again:
finished runs are reused, and a different run in a folder is an error that names the differences. If a trick's run
fails, the table shows the reason, the other tricks continue, and the exit code is 1.

OUTPUT_DIR has TRICK/RUN with each run's report, RUN.log with its output, ablation.md (which is also printed),
ablation.csv (all metrics), ablation.svg and .png (differences with standard errors), and runs.csv (all runs).
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _ablation import BASELINE, OtherWork, Trick, read_machine, read_tricks, write_all

from hf_audio import InputError, clear_errors
from hf_audio.errors import unknown_name
from hf_audio.files import write_json
from hf_audio.metrics import METRIC_NAMES, main_metrics
from hf_audio.repeated_folds import folds_in_turn
from hf_audio.repeated_runs import RepeatedRuns, as_words, folder_names
from hf_audio.terminal import show

OWN = {"output_dir", "features_dir", "seed", "fold", "num_folds", "test_groups", "push_to_hub"}  # set by this script


def main() -> int:
    options = parse_options()
    tricks = chosen_tricks(options)
    runs = RepeatedRuns(options.recipe, options.recipe_flags, options.config_file, logs=True)
    places = places_of(runs, options)
    folder = Path(options.output_dir or f"{runs.settings.training.output_dir}_ablation")
    check_flags(runs, tricks)
    tell_runs(tricks, len(places), folder)
    task = ""
    for trick, below in zip(tricks, folder_names([trick.name for trick in tricks]), strict=True):
        task = run_trick(runs, trick, folder / below, places, folder) or task
    metrics = main_metrics(task)
    show(write_all(folder, tricks, options.metric or metrics[0], metrics))
    failed = [trick.name for trick in tricks if trick.failed]
    if failed:
        show(f"\n{len(failed)} of {len(tricks) - 1} tricks failed: {', '.join(failed)}")
    return 1 if failed else 0


def tell_runs(tricks: Sequence[Trick], num_places: int, folder: Path) -> None:
    """Prints the number of runs, and the tricks that will not run."""
    refused = [trick for trick in tricks if trick.failed]
    for trick in refused:
        show(f"{trick.name} will not run: {trick.failed}")
    num_tricks = len(tricks) - 1 - len(refused)
    named, each = ("trick", "tricks")[num_tricks != 1], ("run", "runs")[num_places != 1]
    num_runs = (num_tricks + 1) * num_places
    show(f"{num_tricks} {named} and the baseline, {num_places} {each} each: {num_runs} runs in {folder}")


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.usage = "%(prog)s RECIPE --tricks FILE.yaml [options] [flags of the recipe]"
    parser.add_argument("--tricks", type=Path, required=True, help="YAML file of tricks, see above.")
    parser.add_argument("--only", nargs="+", help="Only these tricks, and the baseline.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="Random seeds. Default: 0 1 2.")
    parser.add_argument("--num_folds", type=int, help="Draw this many folds by groups, and test on each in turn.")
    parser.add_argument("--folds", nargs="*", help="Test on these folds of the corpus in turn; without names, on all.")
    parser.add_argument("--metric", help="Metric of table and plot. Default: the first of the task.")
    parser.add_argument("--output_dir", help="Folder for the results. Default: the recipe's, with _ablation appended.")
    parser.add_argument("--config_file", help="Config file of accelerate, e.g. recipes/accelerate/multi_gpu.yaml.")
    recipe, rest = sys.argv[1:2], sys.argv[2:]
    if not recipe or recipe[0].startswith("-"):
        parser.parse_args(recipe)  # --help ends here
        raise InputError("The recipe comes first: python scripts/ablate.py recipes/NAME.py --tricks FILE.yaml")
    options, options.recipe_flags = parser.parse_known_args(rest)
    options.recipe, options.recipe_flags = recipe[0], [flag for flag in options.recipe_flags if flag != "--"]
    return options


def chosen_tricks(options: argparse.Namespace) -> list[Trick]:
    """The requested tricks; the baseline is the first.

    Raises:
        InputError: see `read_tricks`; or a name is unknown, or a flag is set by this script.
    """
    tricks = read_tricks(options.tricks)
    names = [trick.name for trick in tricks]
    for name in options.only or ():
        if name not in names:
            raise unknown_name("trick", name, names)
    typed = [flag.lstrip("-").split("=")[0] for flag in options.recipe_flags if flag.startswith("--")]
    for source, flags in (("the command line", typed), *((trick.name, trick.flags) for trick in tricks)):
        taken = sorted(OWN & set(flags))
        if taken:
            raise InputError(
                f"--{taken[0]} of {source} is set by this script for each run: remove it (--seeds, --folds and "
                "--num_folds determine the runs)"
            )
    if options.metric and options.metric not in METRIC_NAMES:
        raise unknown_name("metric", options.metric, METRIC_NAMES)
    if len(set(options.seeds)) != len(options.seeds):
        raise InputError(f"--seeds {' '.join(map(str, options.seeds))} has duplicates: give each seed once")
    return [trick for trick in tricks if not options.only or trick.name in (BASELINE, *options.only)]


def places_of(runs: RepeatedRuns, options: argparse.Namespace) -> dict[tuple[str, str], list[str]]:
    """The runs of each trick, {(seed, fold): flags}.

    Raises:
        InputError: the corpus has no folds, or not the requested ones.
    """
    folds = folds_in_turn(runs.settings, lambda: runs.clips, options.num_folds, options.folds)
    return {(str(seed), fold): [f"--seed={seed}", *flags] for seed in options.seeds for fold, flags in folds.items()}


def check_flags(runs: RepeatedRuns, tricks: Sequence[Trick]) -> None:
    """Marks tricks whose flags the recipe refuses as failed, before the first run.

    Raises:
        InputError: the recipe refuses the flags of the baseline.
    """
    for trick in tricks:
        try:
            runs.decides_features(as_words(trick.flags))
        except InputError as error:
            if trick.name == BASELINE:
                raise
            trick.failed = str(error)


def run_trick(
    runs: RepeatedRuns, trick: Trick, below: Path, places: dict[tuple[str, str], list[str]], folder: Path
) -> str:
    """Runs a trick with all seeds and folds, or until one run fails; returns the task of its reports, or "".

    Raises:
        InputError: the baseline failed, so there is nothing to compare with.
    """
    task = ""
    for place, flags in places.items():
        if trick.failed:
            return task
        name = "-".join([f"seed-{place[0]}", *([f"fold-{place[1]}"] if place[1] else [])])
        what = f"{trick.name}, {name.replace('-', ' ')}"
        show(what)
        flags = [*as_words(trick.flags), *flags]
        if not runs.settings.stored_features:
            flags += [f"--features_dir={folder / 'features' / runs.decides_features(flags)}"]
        try:
            task = keep(trick, place, *reported(runs, what, below / folder_names([name])[0], flags))
        except InputError as error:
            if trick.name == BASELINE:
                raise
            trick.failed = str(error)
    return task


def reported(runs: RepeatedRuns, what: str, folder: Path, flags: Sequence[str]) -> tuple[dict[str, Any], float | None]:
    """The report of a run, and the CPU share of other programs during it."""
    machine = folder.with_name(f"{folder.name}.machine.json")
    is_finished, others = (folder / "report.json").exists(), OtherWork()
    report = runs.report(what, folder, flags)
    if not is_finished:
        write_json(machine, {"others": others.share()})
    return report, read_machine(machine)


def keep(trick: Trick, place: tuple[str, str], report: dict[str, Any], others: float | None) -> str:
    """Stores the scores and speed of a report in the trick; returns the task."""
    split, task = report["evaluated_split"], report["task"]["problem_type"]
    found = report["results"]["model"][split]
    scores = {name: found.get(name) for name in METRIC_NAMES}
    trick.scores[place] = {name: math.nan if score is None else score for name, score in scores.items()}
    speed, train = report["training"].get("windows_per_second"), report["data"]["splits"]["train"]
    if speed:
        trick.speeds[place] = speed * train["num_clips"] / train["num_windows"]
    trick.busy[place] = others
    return task


if __name__ == "__main__":
    with clear_errors():
        sys.exit(main())
