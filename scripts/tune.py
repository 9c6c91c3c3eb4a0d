"""Search for a recipe's settings, and train the best ones.

    python scripts/tune.py recipes/rnn_gtzan.py --space spaces/rnn_gtzan.yaml --trials 100 --data_dir GTZAN
    python scripts/tune.py recipes/rnn_gtzan.py --space spaces/gtzan_grid.yaml --sampler grid --jobs 4 --data_dir GTZAN
    python scripts/tune.py recipes/svm_gtzan.py --space spaces/svm.yaml --num_folds 3 --data_dir GTZAN
    python scripts/tune.py recipes/cnn_folder.py --space S.yaml --objectives score parameters --data_dir recordings

The space is a YAML file with flags of the recipe, and the values of each:

    learning_rate: {low: 1e-4, high: 1e-2, log: true}
    model_options: {hidden_size: [64, 128, 256], num_layers: {low: 1, high: 5}}

All other flags are the recipe's. A trial is a run of the recipe in its own process, scored on the validation split: the
test split is not used until the best settings are trained. The same command resumes an interrupted search; on another
machine, with the same --storage, it joins the search. See docs/searching.md.

OUTPUT_DIR has trials.csv, best.yaml (for --config), report.html with figures, best/ with the model, and trials/.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from hf_audio import InputError, clear_errors
from hf_audio.errors import unknown_name
from hf_audio.repeated_folds import folds_in_turn
from hf_audio.repeated_runs import RepeatedRuns
from hf_audio.searching.checks import check_trials
from hf_audio.searching.final import as_table, train_best
from hf_audio.searching.objectives import checked_objectives, is_maximized
from hf_audio.searching.plan import FIDELITIES, Plan, epochs_of
from hf_audio.searching.report import write_results
from hf_audio.searching.samplers import PRUNERS, SAMPLERS
from hf_audio.searching.search import Search
from hf_audio.searching.space_file import read_space
from hf_audio.searching.study import Study
from hf_audio.searching.trials import best_of
from hf_audio.terminal import show

MIN_POPULATION, MAX_POPULATION = 4, 50  # of NSGA-II


def main() -> int:
    options = parse_options()
    plan = plan_of(options)
    study = study_of(plan, options)
    tell_size(plan, options)
    search = Search(
        plan,
        study,
        num_trials=options.trials,
        num_jobs=options.jobs,
        timeout_s=options.timeout,
        told=lambda: write_results(plan, study, figures=False),
    )
    search.run()
    search.sweep()
    return finish(plan, study, search, options)


def finish(plan: Plan, study: Study, search: Search, options: argparse.Namespace) -> int:
    """Trains the best settings if no other process still searches, and writes all results."""
    trials = study.trials()
    best = best_of(trials, study.maximized)
    if not best:
        write_results(plan, study)
        raise InputError(f"No trial has a score: see the reasons in {plan.folder / 'trials.csv'}")
    if not search.is_over():
        write_results(plan, study)
        show("Other processes are still running trials; the last one to finish trains the best settings")
        return 0
    reports = None
    if not options.no_final:
        reports = train_best(plan, best[0], sum(one.is_tried for one in trials))
        show(as_table(reports))
    write_results(plan, study, reports)
    num_failed = sum(one.state == "failed" and one.is_tried for one in trials)
    failed = f" ({num_failed} failed)" if num_failed else ""
    show(
        f"Trial {best[0].number} is the best: {plan.folder / 'best.yaml'}. All trials: trials.csv{failed}, report.html"
    )
    return 0


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.usage = "%(prog)s RECIPE --space FILE.yaml [options] [flags of the recipe]"
    add = parser.add_argument
    add("--space", type=Path, required=True, help="YAML file of the search space, see above.")
    add("--trials", type=int, default=50, help="Total number of trials of all processes; default: %(default)s.")
    add(
        "--timeout",
        type=float,
        help="Seconds after which this process starts no more trials; running ones are finished.",
    )
    add(
        "--jobs",
        type=int,
        default=1,
        help="Parallel trials, each on its own GPU if there are several; default: %(default)s.",
    )
    add("--objectives", nargs="+", default=["score"], help="score (validation score of the best checkpoint), a "
        "metric, parameters or milliseconds; several give a Pareto front; default: score.")  # fmt: skip
    add("--sampler", help=f"Sampler: {', '.join(SAMPLERS)}. Default: tpe; nsga2 for several objectives.")
    add(
        "--pruner",
        help=f"Pruner, by the scores after each epoch: {', '.join(PRUNERS)}. Default: median, where possible.",
    )
    add(
        "--fidelity",
        help="Successive halving, cheap trials first: by epochs, or by train_fraction (1/9, 1/3, all clips).",
    )
    add(
        "--num_folds",
        type=int,
        help="Draw this many folds by groups; a trial's score is the mean of their validation scores.",
    )
    add("--folds", nargs="*", help="The same with these folds of the corpus; without names, all of them.")
    add("--sampler_seed", type=int, default=0, help="Random seed of the sampler; default: %(default)s.")
    add("--storage", help="Journal file or database URL (sqlite:///..., postgresql://...) that several machines "
        "share. Default: journal.log in OUTPUT_DIR.")  # fmt: skip
    add("--study", help="Name of the search in --storage. Default: the recipe's.")
    add("--no_final", action="store_true", help="Do not train the best settings at the end.")
    add("--output_dir", help="Folder for the results. Default: the recipe's, with _search appended.")
    add("--config_file", help="Config file of accelerate, e.g. recipes/accelerate/multi_gpu.yaml.")
    recipe, rest = sys.argv[1:2], sys.argv[2:]
    if not recipe or recipe[0].startswith("-"):
        parser.parse_args(recipe)  # --help ends here
        raise InputError("The recipe comes first: python scripts/tune.py recipes/NAME.py --space FILE.yaml")
    options, options.recipe_flags = parser.parse_known_args(rest)
    options.recipe, options.recipe_flags = recipe[0], [flag for flag in options.recipe_flags if flag != "--"]
    check_options(options)
    return options


def check_options(options: argparse.Namespace) -> None:
    """Raises InputError for options that are invalid or would have no effect."""
    for name, least in (("trials", 1), ("jobs", 1), ("timeout", 0)):
        value = getattr(options, name)
        if value is not None and not value >= least:
            raise InputError(f"--{name} must be {least} or more, found {value:g}")
    for name, known in (("sampler", SAMPLERS), ("pruner", PRUNERS), ("fidelity", FIDELITIES)):
        value = getattr(options, name)
        if value is not None and value not in known:
            raise unknown_name(name, value, known)
    if options.jobs > 1 and options.config_file:
        raise InputError(
            "--config_file launches the processes of one trial, and parallel trials would use the same ports: give "
            "--jobs 1"
        )
    several = len(options.objectives) > 1
    folds = options.num_folds is not None or options.folds is not None
    if several and (options.fidelity or options.pruner not in (None, "none")):
        raise InputError(
            "A trial is pruned by one score: remove --pruner and --fidelity, or give only one of --objectives"
        )
    if options.fidelity and (folds or options.pruner not in (None, "none")):
        raise InputError(
            "--fidelity is a pruner itself, for one run per trial: remove --pruner, --folds and --num_folds"
        )


def plan_of(options: argparse.Namespace) -> Plan:
    """The search, checked as far as possible before the first trial."""
    runs = RepeatedRuns(options.recipe, options.recipe_flags, options.config_file)
    settings = runs.settings
    if settings.pretraining is not None:
        raise InputError(
            f"{options.recipe} trains without labels, so no trial would have a score: search another recipe"
        )
    is_classical = settings.classical is not None
    objectives = checked_objectives(options.objectives, is_classical=is_classical, num_jobs=options.jobs)
    folds = folds_in_turn(settings, lambda: runs.clips, options.num_folds, options.folds)
    can_prune = not is_classical and list(folds) == [""] and len(objectives) == 1 and epochs_of(settings) is not None
    is_asked = options.pruner not in (None, "none") or options.fidelity == "epochs"
    if is_asked and not can_prune and not (options.pruner == "median" and list(folds) != [""]):
        raise InputError(
            "Trials are pruned by their scores after each epoch, but here there are none: pruning needs a network, "
            "--eval_strategy epoch, no --max_steps and no folds (with folds, --pruner median uses their scores)"
        )
    plan = Plan(
        runs,
        read_space(options.space),
        objectives,
        Path(options.output_dir or f"{settings.training.output_dir}_search"),
        folds,
        options.fidelity,
        reads_while_training=can_prune and options.pruner != "none" and options.fidelity != "train_fraction",
    )
    check_trials(plan, str(options.space))
    return plan


def study_of(plan: Plan, options: argparse.Namespace) -> Study:
    """The stored trials, with the sampler and pruner of the options."""
    several = len(plan.objectives) > 1
    pruner = options.pruner or ("median" if plan.reads_while_training else "none")
    resources = (1, 1)
    if plan.reads_while_training:
        epochs = max_epochs(plan)
        resources = (max(1, epochs // 9), epochs)
    return Study(
        options.storage or str(plan.folder / "journal.log"),
        options.study or Path(options.recipe).stem,
        plan.space,
        [is_maximized(name) for name in plan.objectives],
        sampler=options.sampler or ("nsga2" if several else "tpe"),
        pruner="halving" if options.fidelity else pruner,
        seed=options.sampler_seed,
        population=min(MAX_POPULATION, max(MIN_POPULATION, options.trials // 4)),
        resources=resources,
    )


def max_epochs(plan: Plan) -> int:
    """Maximum number of epochs of the recipe and the space."""
    searched = [one for one in plan.space.all_dimensions if one.flag == "num_train_epochs"]
    ends: Sequence[float] = [value for one in searched for value in one.ends]
    return max([epochs_of(plan.runs.settings) or 1, *(round(value) for value in ends)])


def tell_size(plan: Plan, options: argparse.Namespace) -> None:
    """Prints how much of the space is tried."""
    size = plan.space.size
    has = "infinitely many combinations" if size is None else f"{size:,} combinations"
    part = "" if size is not None and size <= options.trials else f", of which {options.trials:,} are tried"
    show(f"{options.space} has {has}{part}. Results: {plan.folder}")


if __name__ == "__main__":
    with clear_errors():
        sys.exit(main())
