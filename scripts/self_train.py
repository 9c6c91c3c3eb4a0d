"""Label unlabeled recordings with models, and train on the confident labels (pseudo-labels).

    python scripts/self_train.py recipes/cnn_folder.py --data_dir DIR --unlabeled RECORDINGS
    python scripts/self_train.py recipes/cnn_folder.py --data_dir DIR --unlabeled RECORDINGS --rounds 2 --confidence 0.9
    python scripts/self_train.py recipes/ast_esc50.py --data_dir DIR --unlabeled RECORDINGS -- --lora_rank 8

    round 1     trains one model per fold, without that fold of the training groups; the mean of their predictions
                labels every recording
    round 2 ... each model also learns pseudo-labels of the previous round, except one fold of them, and labels that
                fold: no model labels recordings that it was trained on
    at the end  runs the recipe with all pseudo-labels of the last round, and for comparison with the labels only

Validation and test recordings are not trained on, and get no pseudo-labels: copies of them in any format are detected
and excluded, like files that cannot be decoded. Pseudo-labels are probabilities. To resume, run the same command again:
finished runs are reused. OUTPUT_DIR/self_training.md has the results.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import numpy as np
from _unlabeled import Unlabeled, labeled_by, left_out_tables, usable_recordings

from hf_audio import InputError, clear_errors
from hf_audio.config import Recipe
from hf_audio.data.index.labels import LabelSpace
from hf_audio.data.index.pseudo_labels import PseudoLabel, pseudo_labels_text
from hf_audio.files import write_atomically
from hf_audio.label_quality.confident import Agreement, agreement_on_validation, confident_labels
from hf_audio.markdown import table
from hf_audio.metrics import METRIC_NAMES, main_metrics
from hf_audio.preparation import corpus_clips, default_window_s, require_one_corpus
from hf_audio.repeated_runs import RepeatedRuns, parse_with_recipe_flags
from hf_audio.terminal import show

MIN_CONFIDENCE = 0.5


def main() -> None:
    options = parse_options()
    runs = RepeatedRuns(options.recipe, [*options.data_flags, *options.recipe_flags], options.config_file)
    check(runs.settings, options)
    corpus = corpus_clips(runs.settings.data, token=runs.settings.token)
    if runs.settings.features.window_s is None:  # the same for all runs, no matter which recordings are added
        runs.flags += ["--window_s", f"{default_window_s(corpus.clips, runs.settings.token):g}"]
    folder = Path(options.output_dir or f"{runs.settings.training.output_dir}_self_training")
    folder.mkdir(parents=True, exist_ok=True)
    token = runs.settings.token
    unlabeled = usable_recordings(Path(options.unlabeled), corpus.clips, folder, options.num_folds, token)
    tables = left_out_tables(corpus.clips, corpus.labels, folder, options.num_folds)
    told, chosen = [unlabeled.told], []
    for number in range(1, options.rounds + 1):
        chosen, folders = label_round(runs, number, folder, unlabeled, tables, corpus.labels, chosen, options)
        agreed = agreement_on_validation(folders, corpus.labels, options.confidence)
        told.append(told_of_round(number, chosen, unlabeled, corpus.labels, agreed, options.confidence))
        show(told[-1])
    told.append(last_runs(runs, folder, chosen, corpus.labels, options))
    write_atomically(folder / "self_training.md", "\n\n".join(told) + "\n")
    show(told[-1])


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", help="recipes/NAME.py")
    parser.add_argument("--data_dir", help="Folder of the labeled corpus, as for the recipe.")
    parser.add_argument("--unlabeled", required=True, help="Folder with unlabeled recordings, at any depth.")
    parser.add_argument("--rounds", type=int, default=2, help="Rounds; default: %(default)s.")
    parser.add_argument("--num_folds", type=int, default=3, help="Models per round; default: %(default)s.")
    parser.add_argument(
        "--confidence", type=float, default=0.9, help="Minimum probability of a pseudo-label; default: %(default)s."
    )
    parser.add_argument(
        "--output_dir", help="Folder for the results. Default: the recipe's, with _self_training appended."
    )
    parser.add_argument("--config_file", help="Config file of accelerate, e.g. recipes/accelerate/multi_gpu.yaml.")
    parser.usage = "%(prog)s RECIPE --unlabeled DIR [--data_dir DIR] [options] [-- flags of the recipe]"
    return parse_with_recipe_flags(parser)


def check(settings: Recipe, options: argparse.Namespace) -> None:
    """Refuses impossible settings before anything is read."""
    if options.rounds < 1 or options.num_folds < 2:
        raise InputError(
            f"--rounds must be 1 or more and --num_folds 2 or more, found {options.rounds} and {options.num_folds}"
        )
    if not MIN_CONFIDENCE < options.confidence < 1:
        raise InputError(
            f"--confidence must be above {MIN_CONFIDENCE:g} and below 1, found {options.confidence:g}: try 0.9"
        )
    if settings.classical or settings.pretraining or settings.stored_features:
        raise InputError(
            "Self-training is for networks that learn labels from recordings: give the recipe of one, with --data_dir "
            "or a dataset of recordings"
        )
    mine = {"--output_dir", "--data_dir", "--label_overrides", "--pseudo_labels", "--pseudo_labels_dir"}
    taken = [flag for flag in options.recipe_flags if flag.split("=")[0] in mine]
    if taken or settings.data.label_overrides:
        flag = taken[0] if taken else "--label_overrides"
        raise InputError(f"{flag} is set by this script, to exclude folds: change the corpus's own table instead")
    require_one_corpus(settings.data)


def label_round(
    runs: RepeatedRuns,
    number: int,
    folder: Path,
    unlabeled: Unlabeled,
    tables: list[Path],
    labels: LabelSpace,
    before: list[PseudoLabel],
    options: argparse.Namespace,
) -> tuple[list[PseudoLabel], list[Path]]:
    """Trains the models of one round; returns their confident labels, and their folders."""
    below, folders, said = folder / f"round_{number}", [], []
    below.mkdir(exist_ok=True)
    for fold, left_out in enumerate(tables):
        flags = ["--label_overrides", str(left_out)]
        kept = [one for one in before if unlabeled.folds[one.path] != fold]
        if number > 1 and not kept:
            raise InputError(
                f"All {len(before):,} confident labels of round {number - 1} are in fold {fold + 1}, so none remain "
                f"for training: give a lower --confidence than {options.confidence:g}, or --rounds {number - 1}"
            )
        if kept:
            flags += write_table(below / f"without_fold_{fold + 1}.csv", kept, labels, options)
        folders.append(below / f"fold_{fold + 1}")
        runs.report(f"Fold {fold + 1} of round {number}", folders[-1], flags)
        asked = [path for path in unlabeled.folds if number == 1 or unlabeled.folds[path] == fold]
        said.append(labeled_by(folders[-1], unlabeled.root, asked, labels, runs.settings.data.clip_s))
    paths = [path for path in unlabeled.folds if any(path in one for one in said)]
    mean = [np.mean([one[path] for one in said if path in one], axis=0) for path in paths]
    found = confident_labels(paths, np.array(mean).reshape(-1, len(labels)), labels, options.confidence)
    if not found:
        most = np.max(mean, initial=0)
        lower = "give a lower one, or " if most > MIN_CONFIDENCE else ""
        raise InputError(
            f"In round {number} no recording reaches --confidence {options.confidence:g}, the maximum is {most:.2f}: "
            f"{lower}train for more epochs, or on more labeled recordings"
        )
    return found, folders


def write_table(path: Path, rows: list[PseudoLabel], labels: LabelSpace, options: argparse.Namespace) -> list[str]:
    """Writes pseudo-labels, and returns the flags with which a run learns them."""
    write_atomically(path, pseudo_labels_text(rows, labels))
    return ["--pseudo_labels", str(path), "--pseudo_labels_dir", options.unlabeled]


def last_runs(
    runs: RepeatedRuns, folder: Path, chosen: list[PseudoLabel], labels: LabelSpace, options: argparse.Namespace
) -> str:
    """Runs the recipe with and without pseudo-labels; returns a table of the scores."""
    flags = write_table(folder / "pseudo_labels.csv", chosen, labels, options)
    reports = {
        "labels only": runs.report("The run with labels only", folder / "labels_only", []),
        "labels and pseudo-labels": runs.report("The run with pseudo-labels", folder / "with_pseudo_labels", flags),
    }
    metrics = main_metrics(labels.problem_type)
    rows = []
    for name, report in reports.items():
        scores = report["results"]["model"][report["evaluated_split"]]
        rows.append([name, *(f"{scores[metric]:.3f}" for metric in metrics)])
    split = reports["labels only"]["evaluated_split"]
    return f"Scores on {split}, one run each:\n\n{table(['', *(METRIC_NAMES[name] for name in metrics)], rows)}"


def told_of_round(
    number: int,
    chosen: list[PseudoLabel],
    unlabeled: Unlabeled,
    labels: LabelSpace,
    agreed: Agreement | None,
    confidence: float,
) -> str:
    """The number of pseudo-labels per class, their mean confidence, and their accuracy on the validation split."""
    counts = Counter(name for one in chosen for name in one.labels)
    rows = []
    for name in labels.names:
        sure = [one.confidence for one in chosen if name in one.labels]
        rows.append([name, counts[name], f"{np.mean(sure):.3f}" if sure else "–"])
    said = (
        f"Round {number}: {len(chosen):,} of {len(unlabeled.folds):,} recordings have labels with a confidence of at "
        f"least {confidence:g}."
    )
    if agreed is None:
        said += " There is no validation split to check them."
    else:
        share = f"{agreed.num_right / agreed.num_answers:.1%}" if agreed.num_answers else "none"
        said += (
            f" On the validation split, the models of this round are this confident for {agreed.num_confident:,} of "
            f"{agreed.num_clips:,} clips, and {share} of these {agreed.num_answers:,} labels are correct."
        )
    return f"{said}\n\n{table(['class', 'recordings', 'mean confidence'], rows)}"


if __name__ == "__main__":
    with clear_errors():
        main()
