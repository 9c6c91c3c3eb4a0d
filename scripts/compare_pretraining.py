"""Does pretraining help with few labels? Compare both objectives with training from scratch, in a Markdown table.

    python scripts/compare_pretraining.py                                    the demo corpus: about an hour on 2 cores
    python scripts/compare_pretraining.py --dataset FEATURES --seeds 3 --epochs 20 --finetune_epochs 30

The encoder is pretrained once per objective on all training windows, without their labels. Then each encoder is
fine-tuned once per seed, with the same few labeled clips and the same settings. The seed determines the labeled clips
(whole groups), the new weights and the order of batches. The model with the best validation score over
ten evaluations and all learning rates is scored on the test split.

To resume an interrupted comparison, run the same command again.
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
FINETUNE_LEARNING_RATES = (1e-3, 3e-4)  # the larger one can destroy the pretrained weights
EVALUATIONS = 10  # per run; one per epoch would take longer than training on a few clips


@dataclass
class Comparison:
    """Settings of the comparison."""

    _argument_group_name = "comparison"

    output_dir: str = setting("runs/compare_pretraining", "Folder for all results.")
    dataset: str | None = setting(None, "Feature dataset (folder or Hub name). Default: the rendered demo corpus.")
    model: str = setting("ast-mini", "Preset to pretrain and to train from scratch.")
    train_fraction: float = setting(0.05, "Fraction of the training groups whose labels are used.")
    epochs: int = setting(60, "Pretraining epochs over all training windows.")
    finetune_epochs: int = setting(60, "Fine-tuning epochs over the labeled windows.")
    seeds: int = setting(5, "Fine-tuning runs per encoder.")
    learning_rate: float = setting(1e-3, "Learning rate of pretraining.")
    finetune_learning_rates: list[float] | None = setting(  # noqa: RUF009 - a dataclass field, as the others
        None, "Learning rates of fine-tuning; the best one on validation counts. Default: 1e-3 and 3e-4."
    )
    batch_size: int = setting(16, "Windows per step.")


def main() -> None:
    (compared,) = hf_audio.parse_settings(Comparison, values={}, doc=__doc__)
    show(compare(compared))


def compare(compared: Comparison) -> str:
    """Runs what is not finished yet; writes and returns the table."""
    if min(compared.seeds, compared.epochs, compared.finetune_epochs) < 1:
        raise hf_audio.InputError("--seeds, --epochs and --finetune_epochs must be at least 1")
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
    """mAP on validation; mAP and micro F1 on test (or validation if there is no test), windows averaged per clip."""
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
    """Mean and standard deviation of scores `[seeds, 2]` over seeds; gains are relative to the same seed's run from
    scratch."""
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
