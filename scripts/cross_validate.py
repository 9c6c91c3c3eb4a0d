"""Run a recipe once for each fold, or for each speaker, song ... left out, and report mean and standard deviation.

    python scripts/cross_validate.py recipes/cnn_folder.py --data_dir DIR       every fold of the split column
    python scripts/cross_validate.py recipes/cnn_folder.py --data_dir DIR --num_folds 5       five drawn by groups
    python scripts/cross_validate.py recipes/cnn_folder.py --data_dir DIR --leave_out groups
    python scripts/cross_validate.py recipes/cnn_folder.py --data_dir DIR --inner 3     choose settings: see below
    python scripts/cross_validate.py recipes/ast_esc50.py --data_dir DIR -- --lora_rank 8     flags of the recipe
    python scripts/cross_validate.py recipes/cnn_folder.py --num_folds 5 -- --dataset USER/NAME     recordings there

Settings that are chosen by the scores of test folds make these scores too good. With --inner 3 no test fold is looked
at: the groups that would be trained on are divided into three inner folds, and each is tested on in turn.

Folds that are finished are kept: an interrupted run goes on by the same command. Reports land in OUTPUT_DIR/FOLD, what
each came from (settings, clips, files) in OUTPUT_DIR/FOLD.json: a fold of another corpus is never taken for it. What is
printed, one Markdown table, is in OUTPUT_DIR/folds.md too. Without --data_dir the corpus is obtained as the recipe
obtains it, once.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from hf_audio import InputError, clear_errors
from hf_audio.config import Recipe
from hf_audio.data.index.columns import names_in
from hf_audio.data.splits.assigning import fold_names
from hf_audio.files import write_atomically
from hf_audio.markdown import Markdown, escaped, table
from hf_audio.metrics import METRIC_NAMES, main_metrics
from hf_audio.repeated_runs import RepeatedRuns, folder_names, parse_with_recipe_flags
from hf_audio.terminal import show


def main() -> None:
    options = parse_options()
    runs = RepeatedRuns(options.recipe, [*options.data_flags, *options.recipe_flags], options.config_file)
    chosen = with_inner_folds(left_out(runs, options), options.inner)
    folder = Path(options.output_dir or f"{runs.settings.training.output_dir}_folds")
    reports = {
        name: runs.report(f"The run of {name}", folder / below, flags)
        for (name, flags), below in zip(chosen.items(), folder_names(list(chosen)), strict=True)
    }
    written = as_table(reports)
    write_atomically(folder / "folds.md", written + "\n")
    show(written)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", help="recipes/NAME.py")
    parser.add_argument("--data_dir", help="the corpus, as the recipe takes it")
    parser.add_argument("--leave_out", choices=("folds", "groups"), default="folds", help="default: %(default)s")
    parser.add_argument("--num_folds", type=int, help="draw so many folds by groups, where the corpus has none")
    parser.add_argument("--inner", type=int, help="leave each fold out and test on so many folds of the others' groups")
    parser.add_argument("--output_dir", help="default: the recipe's, with _folds behind it")
    parser.add_argument("--config_file", help="of accelerate, e.g. recipes/accelerate/multi_gpu.yaml")
    parser.usage = "%(prog)s RECIPE [--data_dir DIR] [options] [-- flags of the recipe]"
    return parse_with_recipe_flags(parser)


def left_out(runs: RepeatedRuns, options: argparse.Namespace) -> dict[str, list[str]]:
    """What is tested on in turn: {name: flags of the recipe}.

    Raises:
        InputError: fewer than two, so that there is nothing to leave out, or flags that say something else.
    """
    settings = runs.settings
    check_flags(settings, options)
    if options.num_folds is not None:
        if options.num_folds < 2:
            raise InputError(f"--num_folds must be 2 or more, found {options.num_folds}: try 5")
        drawn, folds = ["--num_folds", str(options.num_folds)], range(1, options.num_folds + 1)
        return {f"fold {fold} of {options.num_folds}": [*drawn, "--fold", str(fold)] for fold in folds}
    if options.leave_out == "folds":
        names, flag = fold_names(runs.clips), "--fold"
    else:
        names, flag = names_in(runs.clips["group"]), "--test_groups"
    if len(names) < 2:
        source = settings.data.dataset or settings.data.data_dir or settings.data.corpus
        raise InputError(
            f"{source} has {len(names)} {options.leave_out}, expected two or "
            "more: name folds in the table's split column, draw some with --num_folds 5, or give --leave_out groups"
        )
    return {name: [f"{flag}={name}"] for name in names}  # one word: a name may look like a flag itself


def with_inner_folds(chosen: dict[str, list[str]], num_inner: int | None) -> dict[str, list[str]]:
    """The inner folds of each fold, where they are asked for. Raises InputError."""
    if num_inner is None:
        return chosen
    if num_inner < 2:
        raise InputError(f"--inner must be 2 or more, found {num_inner}: try 3")
    return {
        f"{name}, inner {inner} of {num_inner}": [*flags, f"--inner_folds={num_inner}", f"--inner_fold={inner}"]
        for name, flags in chosen.items()
        for inner in range(1, num_inner + 1)
    }


def check_flags(settings: Recipe, options: argparse.Namespace) -> None:
    """Refuses flags of the recipe that this script gives itself, and a dataset whose split is made already."""
    if settings.stored_features:
        raise InputError(
            "--dataset holds features, whose split is made already: cross-validate from recordings, with --data_dir or "
            "a dataset of them"
        )
    mine = {"--output_dir", "--data_dir", "--fold", "--num_folds", "--test_groups", "--inner_folds", "--inner_fold"}
    taken = [flag for flag in options.recipe_flags if flag.split("=")[0] in mine]
    if taken:
        raise InputError(f"{taken[0]} stands behind --, where the recipe's own flags are: give it in front of it")
    if options.num_folds is not None and options.leave_out == "groups":
        raise InputError("--num_folds and --leave_out groups both say what to test on; leave one of them out")


def as_table(reports: dict[str, dict]) -> str:
    """One row a fold, then mean and standard deviation (over folds, n - 1) of this model and of its baselines."""
    some = next(iter(reports.values()))
    metrics = main_metrics(some["task"]["problem_type"])
    rows = []
    for name, report in reports.items():
        split = report["evaluated_split"]
        scores = report["results"]["model"][split]
        num_clips = report["data"]["splits"][split]["num_clips"]
        rows.append([name, num_clips, *(f"{scores[metric]:.3f}" for metric in metrics)])
    for row, title in some["rows"].items():
        found = [_mean_and_deviation(reports, row, metric) for metric in metrics]
        rows.append([Markdown(f"**mean (sd), {escaped(title)}**"), "", *found])
    return table(["left out", "clips", *(METRIC_NAMES[name] for name in metrics)], rows)


def _mean_and_deviation(reports: dict[str, dict], row: str, metric: str) -> str:
    found = [report["results"][row][report["evaluated_split"]][metric] for report in reports.values()]
    return f"{statistics.mean(found):.3f} ({statistics.stdev(found):.3f})"


if __name__ == "__main__":
    with clear_errors():
        main()
