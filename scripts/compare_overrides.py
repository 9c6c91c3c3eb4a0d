"""Train before and after label corrections, and report whether the difference is more than noise.

    python scripts/compare_overrides.py FEATURES_DIR overrides.csv
    python scripts/compare_overrides.py FEATURES_DIR overrides.csv --recipe recipes/cnn_folder.py --seeds 3 \\
        --data_dir DIR -- --num_train_epochs 20

FEATURES_DIR has the original labels. Test labels are not corrected: rows for test clips in the table are ignored.
Without a recipe, a linear model is trained on redrawn groups. With a recipe, it is run twice per seed, with the flags
after -- (which must split the corpus as FEATURES_DIR does). Finished runs in --output_dir are reused.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from hf_audio import InputError, clear_errors, compare_overrides, load_features
from hf_audio.label_quality.override_comparison import compare_runs, without_test_clips
from hf_audio.metrics import main_metrics
from hf_audio.repeated_runs import RepeatedRuns, parse_with_recipe_flags
from hf_audio.terminal import show


def main() -> None:
    options = parse_options()
    features = load_features(options.features)
    if not options.recipe:
        show(compare_overrides(features, options.overrides, seeds=options.seeds or 20).as_text())
        return
    folder = Path(options.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    if (options.seeds or 3) < 2:
        raise InputError("Found --seeds 1, expected 2 or more, since noise is measured between seeds: try --seeds 3")
    table = without_test_clips(options.overrides, features, folder / "overrides_without_test.csv")
    metric = main_metrics(features.labels.problem_type)[0]
    runs = RepeatedRuns(options.recipe, [*options.data_flags, *options.recipe_flags])
    scores = {"before": [], "after": []}
    for seed in range(options.seeds or 3):
        for name, flags in (("before", []), ("after", ["--label_overrides", str(table)])):
            flags = [*flags, "--features_dir", str(folder / f"features_{name}"), "--seed", str(seed)]
            report = runs.report(f"The run {name}_{seed}", folder / f"{name}_{seed}", flags)
            scores[name].append(report["results"]["model"][report["evaluated_split"]][metric])
    show(compare_runs(metric, scores["before"], scores["after"]).as_text())


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("features", metavar="FEATURES_DIR", help="Feature dataset: a folder or a Hub name.")
    parser.add_argument("overrides", metavar="OVERRIDES_CSV", help="Corrections, as --label_overrides reads them.")
    parser.add_argument("--seeds", type=int, help="Number of seeds. Default: 20; 3 with --recipe.")
    parser.add_argument("--recipe", help="recipes/NAME.py to train instead of a linear model.")
    parser.add_argument("--data_dir", help="Folder of the corpus, as for the recipe.")
    parser.add_argument(
        "--output_dir", default="runs/compare_overrides", help="Folder for the recipe's runs; default: %(default)s."
    )
    options = parse_with_recipe_flags(parser)
    if options.recipe and not options.data_dir:
        parser.error("--recipe needs --data_dir")
    return options


if __name__ == "__main__":
    with clear_errors():
        main()
