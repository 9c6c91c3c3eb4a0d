"""Run a recipe once per fold (or per left-out speaker, song ...), and report mean and standard deviation.

    python scripts/cross_validate.py recipes/cnn_folder.py --data_dir DIR       all folds of the split column
    python scripts/cross_validate.py recipes/cnn_folder.py --data_dir DIR --num_folds 5       five, drawn by groups
    python scripts/cross_validate.py recipes/cnn_folder.py --data_dir DIR --leave_out groups
    python scripts/cross_validate.py recipes/cnn_folder.py --data_dir DIR --inner 3     choose settings: see below
    python scripts/cross_validate.py recipes/ast_esc50.py --data_dir DIR -- --lora_rank 8     flags of the recipe
    python scripts/cross_validate.py recipes/cnn_folder.py --num_folds 5 -- --dataset USER/NAME     from the Hub

If settings are chosen by the scores of test folds, these scores are inflated. With --inner 3, test folds are not used:
the groups for training are divided into three inner folds, and each is tested on in turn.

To resume an interrupted run, run the same command again: finished folds are reused. Reports are in OUTPUT_DIR/FOLD. The
settings, clips and files that a report depends on are in OUTPUT_DIR/FOLD.json, so that a fold of another corpus is not
mistaken for it. The printed Markdown table is also in OUTPUT_DIR/folds.md. Without --data_dir, the corpus is obtained
once, as the recipe does.
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
    parser.add_argument("--data_dir", help="Folder of the corpus, as for the recipe.")
    parser.add_argument(
        "--leave_out",
        choices=("folds", "groups"),
        default="folds",
        help="What to leave out in turn; default: %(default)s.",
    )
    parser.add_argument("--num_folds", type=int, help="Draw this many folds by groups, if the corpus has none.")
    parser.add_argument(
        "--inner",
        type=int,
        help="For choosing settings: leave out each fold, and test on this many folds of the other groups.",
    )
    parser.add_argument("--output_dir", help="Folder for the results. Default: the recipe's, with _folds appended.")
    parser.add_argument("--config_file", help="Config file of accelerate, e.g. recipes/accelerate/multi_gpu.yaml.")
    parser.usage = "%(prog)s RECIPE [--data_dir DIR] [options] [-- flags of the recipe]"
    return parse_with_recipe_flags(parser)


def left_out(runs: RepeatedRuns, options: argparse.Namespace) -> dict[str, list[str]]:
    """The test sets in turn: {name: flags of the recipe}.

    Raises:
        InputError: there are fewer than two, or flags conflict.
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
            f"{source} has {len(names)} {options.leave_out}, expected two or more: name folds in the table's split "
            "column, draw some with --num_folds 5, or give --leave_out groups"
        )
    return {name: [f"{flag}={name}"] for name in names}  # one word, since a name may look like a flag


def with_inner_folds(chosen: dict[str, list[str]], num_inner: int | None) -> dict[str, list[str]]:
    """The inner folds of each fold, if requested. Raises InputError if there are fewer than two."""
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
    """Refuses flags that this script sets itself, and features, which are already split."""
    if settings.stored_features:
        raise InputError(
            "--dataset contains features, which are already split: cross-validate from recordings, with --data_dir or "
            "a dataset of recordings"
        )
    mine = {"--output_dir", "--data_dir", "--fold", "--num_folds", "--test_groups", "--inner_folds", "--inner_fold"}
    taken = [flag for flag in options.recipe_flags if flag.split("=")[0] in mine]
    if taken:
        raise InputError(f"{taken[0]} comes after --, where flags of the recipe belong: give it before --")
    if options.num_folds is not None and options.leave_out == "groups":
        raise InputError("--num_folds and --leave_out groups both determine the test sets: remove one of them")


def as_table(reports: dict[str, dict]) -> str:
    """One row per fold, then mean and standard deviation (over folds, n - 1) of this model and of its baselines."""
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
