"""Does pretraining help where labels are few? Both objectives against a start from scratch, as one Markdown table.

    python scripts/compare_pretraining.py                                    the demo corpus: about an hour on 2 cores
    python scripts/compare_pretraining.py --dataset FEATURES --seeds 3 --epochs 20 --finetune_epochs 30

The encoder is pretrained once by each objective on all training windows, without their labels. Then each start is
fine-tuned with the same few labeled clips and the same settings, once a seed: the seed chooses the labeled clips
(whole groups), the new weights and the order. The best on validation, of ten evaluations and of all learning rates, is
scored on test.

A run that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import hf_audio
from hf_audio.config import AugmentConfig, setting
from hf_audio.files import write_atomically
from hf_audio.markdown import table
from hf_audio.terminal import show

OBJECTIVES = ("masked", "shuffled")
STARTS = {"scratch": "from scratch", "masked": "masked patches", "shuffled": "shuffled patches"}
FINETUNE_LEARNING_RATES = (1e-3, 3e-4)  # what was learned without labels is easily lost with the larger one
EVALUATIONS = 10  # a run; at each epoch they would take longer than training on a few clips


@dataclass
class Comparison:
    """What is compared, and for how long."""

    _argument_group_name = "comparison"

    output_dir: str = setting("runs/compare_pretraining", "Where everything is kept.")
    dataset: str | None = setting(None, "Feature dataset (folder or Hub name). Default: the rendered demo corpus.")
    model: str = setting("ast-mini", "Preset to pretrain and to train from scratch.")
    train_fraction: float = setting(0.05, "Share of the training groups whose labels are used.")
    epochs: int = setting(60, "Epochs over all training windows of pretraining.")
    finetune_epochs: int = setting(60, "Epochs over the labeled windows of fine-tuning.")
    seeds: int = setting(5, "Fine-tuning runs of each start.")
    learning_rate: float = setting(1e-3, "Of pretraining.")
    finetune_learning_rates: list[float] | None = setting(  # noqa: RUF009 - a dataclass field, as the others
        None, "Each fine-tuning is run with each, and the better one on validation counts. Default: 1e-3 and 3e-4."
    )
    batch_size: int = setting(16, "Windows a step.")


def main() -> None:
    (compared,) = hf_audio.parse_settings(Comparison, values={}, doc=__doc__)
    show(compare(compared))


def compare(compared: Comparison) -> str:
    """Runs whatever has not been run yet, and writes and returns the table."""
    if min(compared.seeds, compared.epochs, compared.finetune_epochs) < 1:
        raise hf_audio.InputError("Give at least 1 of --seeds, --epochs and --finetune_epochs")
    folder = Path(compared.output_dir)
    features = hf_audio.load_features(compared.dataset or demo_features(folder / "features"))
    for objective in OBJECTIVES:
        pretrain(compared, features, objective, folder / objective)
    scores = {start: [] for start in STARTS}
    for seed in range(compared.seeds):
        few = hf_audio.share_of_training(features, compared.train_fraction, seed)
        for start in STARTS:
            model = compared.model if start == "scratch" else str(folder / start)
            tried = [
                finetune(compared, few, model, seed, rate, folder / f"{start}-{seed}-{rate:g}")
                for rate in compared.finetune_learning_rates or FINETUNE_LEARNING_RATES
            ]
            scores[start].append(max(tried)[1])  # by the score on validation
            show(f"{STARTS[start]}, seed {seed}: mAP %.3f, micro F1 %.3f" % scores[start][-1])
    table = as_table({start: np.array(rows) for start, rows in scores.items()})
    write_atomically(folder / "comparison.md", table + "\n")
    return table


def demo_features(folder: Path) -> Path:
    data, features = hf_audio.DataConfig(corpus="general_midi"), hf_audio.FeatureConfig(window_s=3.0)
    return hf_audio.build_corpus_features(data, folder, features)


def pretrain(compared: Comparison, features, objective: str, folder: Path) -> None:
    model = hf_audio.pretraining_model(hf_audio.build_model(compared.model, features), objective)
    arguments = run_arguments(compared, features, compared.epochs, 0, compared.learning_rate, folder)
    hf_audio.AudioTrainer(model, arguments, hf_audio.Pretraining(features)).train_resumable()


def finetune(
    compared: Comparison, few, model: str, seed: int, learning_rate: float, folder: Path
) -> tuple[float, tuple[float, float]]:
    """mAP on validation; mAP and micro F1 on test (on validation where there is none), windows averaged per clip."""
    from hf_audio.analysis.evaluation import judge
    from hf_audio.augment import augmentation_for

    mixup_labels = "union" if few.labels.is_multi_label else "interpolate"
    augment = augmentation_for(AugmentConfig(mixup_alpha=10.0, mixup_labels=mixup_labels), few.extractor)
    trainer = hf_audio.AudioTrainer(
        hf_audio.build_model(model, few, seed=seed),
        run_arguments(compared, few, compared.finetune_epochs, seed, learning_rate, folder),
        hf_audio.Classification(few, augment=augment),
    )
    trainer.train_resumable()
    splits = [split for split in ("validation", "test") if split in few.splits]
    predictor = trainer.predictor()
    scores = judge({split: predictor.scores(few, split) for split in splits}, few.labels)
    chosen, reported = scores[splits[0]], scores[splits[-1]]
    return chosen["mean_average_precision"], (reported["mean_average_precision"], reported["f1_micro"])


def run_arguments(compared: Comparison, features, epochs: int, seed: int, learning_rate: float, folder: Path):
    from hf_audio.training import training_arguments

    steps = epochs * math.ceil(features.num_windows("train") / compared.batch_size)
    every = {"eval_steps": math.ceil(steps / EVALUATIONS), "save_steps": math.ceil(steps / EVALUATIONS)}
    return training_arguments(
        folder,
        max_steps=steps,
        learning_rate=learning_rate,
        weight_decay=0.05,
        per_device_train_batch_size=compared.batch_size,
        per_device_eval_batch_size=2 * compared.batch_size,
        eval_strategy="steps",
        save_strategy="steps",
        **every,
        seed=seed,
        disable_tqdm=True,
    )


def as_table(scores: dict[str, np.ndarray]) -> str:
    """Mean and deviation over the seeds of scores `[seeds, 2]`; gains are of the same seed's run from scratch."""
    lines = []
    for start, rows in scores.items():
        gains = ["", ""] if start == "scratch" else spread(rows - scores["scratch"], sign="+")
        lines.append([STARTS[start], *spread(rows), *gains])
    return table(("start", "mAP", "micro F1", "gain in mAP", "gain in micro F1"), lines)


def spread(rows: np.ndarray, sign: str = "") -> list[str]:
    deviations = rows.std(axis=0, ddof=1) if len(rows) > 1 else np.full(rows.shape[1], np.nan)
    return [
        f"{mean:{sign}.3f} ± {deviation:.3f}" for mean, deviation in zip(rows.mean(axis=0), deviations, strict=True)
    ]


if __name__ == "__main__":
    with hf_audio.clear_errors():
        main()
