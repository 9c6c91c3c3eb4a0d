"""Average the weights of trained models of one kind into one ("model soup"): a run folder with report and card.

    python scripts/average_models.py runs/a runs/b runs/c --features runs/a/features --output_dir runs/soup
    python scripts/average_models.py runs/a runs/b runs/c --features runs/a/features --output_dir runs/soup --greedy

This can help for runs that were fine-tuned from the same checkpoint with different seeds or settings (Wortsman et al.
2022). Averaging networks that were trained independently from scratch is useless. --greedy adds a model only if
that does not lower the validation score; validation scores are then inflated, test scores are not. Models that differ
in architecture, classes, windows or extractor are refused. Batch norm statistics are recomputed on the training
windows.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from hf_audio import clear_errors
from hf_audio.errors import InputError


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL", help="Run folders, or Hub names.")
    parser.add_argument("--features", required=True, help="Feature dataset: a folder or a Hub name.")
    parser.add_argument("--output_dir", required=True, help="New folder for the averaged model.")
    parser.add_argument(
        "--greedy",
        action="store_true",
        help="Add only models that do not lower the validation score. Default: average all.",
    )
    parser.add_argument("--license", help="License of the averaged model: its identifier on the Hub.")
    parser.add_argument("--device", help="cpu, cuda, cuda:1 and so on. Default: the GPU if there is one.")
    parser.add_argument("--token", help="Hub token. Default: HF_TOKEN, or that of hf auth login.")
    return parser.parse_args()


@clear_errors()
def main() -> None:
    options = parse_options()
    folder = Path(options.output_dir)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} already exists and is not empty: give another --output_dir")

    from hf_audio import evaluate_model, load_features
    from hf_audio.analysis.model_average import average_models
    from hf_audio.hub_licenses import model_license
    from hf_audio.publishing.model_card import write_model_card
    from hf_audio.terminal import show

    license = options.license and model_license(options.license)
    features = load_features(options.features, token=options.token)
    averaged = average_models(
        options.models, features, greedy=options.greedy, token=options.token, device=options.device
    )
    averaged.save(folder)
    report = evaluate_model(averaged, averaged.features, folder, token=options.token)
    write_model_card(folder, report, license=license)
    show(f"Averaged: {', '.join(averaged.averaged)} ({averaged.chosen_by}). Model, report and card: {folder}")


if __name__ == "__main__":
    main()
