"""Run a recipe once for each fold, or for each speaker, song ... left out, and report mean and deviation.

    python scripts/cross_validate.py recipes/cnn_folder.py --data_dir DIR       every fold of the split column
    python scripts/cross_validate.py recipes/cnn_folder.py --data_dir DIR --leave_out groups
    python scripts/cross_validate.py recipes/ast_esc50.py --data_dir DIR -- --lora_rank 8     flags of the recipe

Folds that are finished are kept: an interrupted run goes on by the same command. Reports land in OUTPUT_DIR/FOLD, and
what is printed, one Markdown table, in OUTPUT_DIR/folds.md.
"""

from __future__ import annotations

import argparse
import json
import re
import runpy
import statistics
import subprocess
import sys
from pathlib import Path

from hf_audio import InputError, clear_errors
from hf_audio.corpora import find_corpus
from hf_audio.metrics import METRIC_NAMES, main_metrics


def main() -> None:
    options = parse_options()
    values = runpy.run_path(options.recipe, run_name="read")["VALUES"]
    names = left_out(values.get("corpus", "folder"), Path(options.data_dir), options.leave_out)
    folder = Path(options.output_dir or f"{values['output_dir']}_folds")
    reports = {name: run_fold(options, name, folder / re.sub(r"[^\w.-]+", "_", name)) for name in names}
    table = as_table(reports)
    (folder / "folds.md").write_text(table + "\n", encoding="utf-8")
    print(table)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", help="recipes/NAME.py")
    parser.add_argument("--data_dir", required=True, help="the corpus, as the recipe takes it")
    parser.add_argument("--leave_out", choices=("folds", "groups"), default="folds", help="default: %(default)s")
    parser.add_argument("--output_dir", help="default: the recipe's, with _folds behind it")
    parser.add_argument("--config_file", help="of accelerate, e.g. recipes/accelerate/multi_gpu.yaml")
    parser.usage = "%(prog)s RECIPE --data_dir DIR [options] [-- flags of the recipe]"
    end = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    options = parser.parse_args(sys.argv[1:end])
    options.recipe_flags = sys.argv[end + 1 :]
    return options


def left_out(corpus: str, root: Path, what: str) -> list[str]:
    """Names of the corpus's folds, or of its groups.

    Raises:
        InputError: fewer than two, so that there is nothing to leave out.
    """
    clips = find_corpus(corpus).index(root)
    found = {clip.split if what == "folds" else clip.group for clip in clips}
    names = sorted(found - {None, "train", "validation", "test"})
    if len(names) < 2:
        raise InputError(
            f"{root} has {len(names)} {what}, expected two or more: name folds in the CSV's split column, "
            "or give --leave_out groups"
        )
    return names


def run_fold(options: argparse.Namespace, name: str, folder: Path) -> dict:
    """The report of one fold, of an earlier run where it is finished."""
    if not (folder / "report.json").is_file():
        chosen = ["--fold", name] if options.leave_out == "folds" else ["--test_groups", name]
        how = ["--config_file", options.config_file] if options.config_file else ["--num_processes", "1"]
        command = [sys.executable, "-m", "accelerate.commands.launch", "--quiet", *how, options.recipe]
        flags = ["--data_dir", options.data_dir, "--output_dir", str(folder), *chosen, *options.recipe_flags]
        if subprocess.run([*command, *flags], check=False).returncode:
            raise InputError(f"The run of {name} failed, see above; finished ones are kept, the same command goes on")
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))


def as_table(reports: dict[str, dict]) -> str:
    """One row a fold, then mean and standard deviation (over folds, n - 1) of this model and of its references."""
    some = next(iter(reports.values()))
    metrics = main_metrics(some["task"]["problem_type"])
    lines = [
        "| left out | clips | " + " | ".join(METRIC_NAMES[name] for name in metrics) + " |",
        "|---|---:|" + "---:|" * len(metrics),
    ]
    for name, report in reports.items():
        split = report["evaluated_split"]
        scores = report["results"]["model"][split]
        cells = [f"{scores[metric]:.3f}" for metric in metrics]
        lines.append(f"| {name} | {report['data']['splits'][split]['num_clips']} | " + " | ".join(cells) + " |")
    for row, title in some["rows"].items():
        cells = [_mean_and_deviation(reports, row, metric) for metric in metrics]
        lines.append(f"| **mean (sd), {title}** | | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _mean_and_deviation(reports: dict[str, dict], row: str, metric: str) -> str:
    found = [report["results"][row][report["evaluated_split"]][metric] for report in reports.values()]
    return f"{statistics.mean(found):.3f} ({statistics.stdev(found):.3f})"


if __name__ == "__main__":
    with clear_errors():
        main()
