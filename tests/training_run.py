"""A tiny feature dataset, a trainer for it, and a program that trains, which tests run in separate processes.

python tests/training_run.py FEATURES RUN_FOLDER [--streaming] [--without_centers] [--optimizing JSON]
    [--arguments JSON]
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import soundfile
import torch
from transformers import ASTForAudioClassification

from hf_audio.config import LossConfig, OptimizingConfig
from hf_audio.data.building.build import build_features
from hf_audio.data.building.shard_rows import shard_writer
from hf_audio.data.feature_format import shard_names
from hf_audio.data.index.labels import SINGLE_LABEL, LabelSpace
from hf_audio.data.index.table import Clip, CorpusCard, index_of
from hf_audio.data.loading.feature_collator import FeatureCollator
from hf_audio.data.loading.features_dataset import FeatureDataset, load_features
from hf_audio.kinds._kaldi_fbank import KaldiFbank
from hf_audio.models.audio_spectrogram_transformer import ast_from_scratch
from hf_audio.training import AudioTrainer, Classification, PatchDropout, training_arguments

CLASSES = ("bell", "hiss", "hum")
WINDOW_S = 0.4
LOSS = LossConfig(center_weight=0.05, triplet_weight=0.1)


def build_tiny_features(
    folder: Path, problem_type: str, clips_per_split: dict[str, int] | None = None, extractor=None
) -> Path:
    """Features of synthesized clips of three classes: two windows per clip, or one if the clip is short."""
    clips_per_split = clips_per_split or {"train": 21, "validation": 7, "test": 5}
    random = np.random.default_rng(0)
    audio = folder.parent / f"{folder.name}-audio"
    audio.mkdir(parents=True)
    clips = []
    for split, number in clips_per_split.items():
        for index in range(number):
            kinds = [index % 3] if problem_type == SINGLE_LABEL else [k for k in range(3) if (index + 1) >> k & 1]
            duration_s = 0.3 if index % 5 == 4 else 0.8
            path = audio / f"{split}-{index}.wav"
            soundfile.write(path, sum(sound(kind, duration_s, random) for kind in [*kinds, None]), 16000)
            labels = tuple(CLASSES[kind] for kind in kinds)
            clips.append(Clip(path, labels, group=path.stem, clip_id=path.stem, split=split))
    card = CorpusCard("tiny", "CC0", may_redistribute=True)
    space = LabelSpace(CLASSES, problem_type)
    return build_features(
        index_of(clips),
        space,
        folder,
        extractor or KaldiFbank(num_mel_bins=32),
        window_s=WINDOW_S,
        hop_s=WINDOW_S,
        card=card,
        num_workers=1,
    )


def in_shards(folder: Path, copy: Path, counts: Sequence[int], rows_per_group: int = 4) -> Path:
    """A copy of a feature dataset whose training windows are in several shards with the given numbers of windows."""
    shutil.copytree(folder, copy)
    (stored,) = (copy / "data").glob("train-*")
    rows, first = pq.read_table(stored), 0
    stored.unlink()
    for name, count in zip(shard_names("train", len(counts)), counts, strict=True):
        with (copy / "data" / f"{name}.parquet").open("wb") as file, shard_writer(file, rows.schema) as writer:
            writer.write_table(rows.slice(first, count), row_group_size=rows_per_group)
        first += count
    assert first == len(rows)
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["splits"]["train"]["num_shards"], manifest["shard_windows"]["train"] = len(counts), list(counts)
    (copy / "manifest.json").write_text(json.dumps(manifest))
    return copy


def sound(kind: int | None, duration_s: float, random: np.random.Generator) -> np.ndarray:
    """A decaying high tone, noise, a low tone, or an almost silent room."""
    time_s = np.arange(int(duration_s * 16000)) / 16000
    noise = random.normal(size=len(time_s))
    pitch_hz = random.uniform(0.9, 1.1)
    if kind == 0:
        return 0.3 * np.sin(2 * np.pi * 2000 * pitch_hz * time_s) * np.exp(-5 * time_s)
    if kind == 1:
        return 0.1 * noise
    return 0.3 * np.sin(2 * np.pi * 120 * pitch_hz * time_s) if kind == 2 else 0.001 * noise


def tiny_model(features: FeatureDataset, seed: int = 0, dropout: float = 0.0):
    """A two-layer AST for a feature dataset."""
    torch.manual_seed(seed)
    extractor = features.extractor
    size = (extractor.max_length, extractor.num_mel_bins)
    model = ast_from_scratch(features.labels, *size, hidden_size=32, num_layers=2, num_heads=2)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = dropout
    return model


def trainer_of(
    features: FeatureDataset, folder: Path, model=None, arguments=None, objective=None, **options
) -> AudioTrainer:
    """A trainer of a tiny model with small batches.

    `arguments` override its TrainingArguments, `objective` has options of its Classification, others are its own.
    """
    settings = {
        "use_cpu": True,
        "report_to": "none",
        "disable_tqdm": True,
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-3,
        "logging_steps": 1,
        **(arguments or {}),
    }
    model = tiny_model(features) if model is None else model
    return AudioTrainer(
        model, training_arguments(folder, **settings), Classification(features, **(objective or {})), **options
    )


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return ASTForAudioClassification.from_pretrained(folder).state_dict()


def assert_same_weights(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> None:
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


def batch_of(features: FeatureDataset, split: str) -> dict[str, torch.Tensor]:
    """A batch of all windows of a split."""
    return FeatureCollator(features.extractor, features.labels)(list(features.splits[split]))


def main() -> None:
    from hf_audio.augment import Compose, CutMix, MixOrCut, Mixup, Normalization, SpecAugment

    parser = argparse.ArgumentParser()
    parser.add_argument("features")
    parser.add_argument("run_folder")
    parser.add_argument("--streaming", action="store_true")
    parser.add_argument("--without_centers", action="store_true", help="of the loss: sharded runs have none")
    parser.add_argument("--optimizing", type=json.loads, default={}, help="fields of OptimizingConfig as JSON")
    parser.add_argument("--arguments", type=json.loads, default={}, help="TrainingArguments as JSON")
    options = parser.parse_args()

    features = load_features(options.features, streaming=options.streaming)
    normalization = Normalization.of(features.extractor)
    mixing, dropout = MixOrCut(Mixup(0.4, probability=0.5), CutMix(1.0, probability=0.5)), PatchDropout(0.25)
    trainer = AudioTrainer(
        tiny_model(features, dropout=0.1),  # dropout uses the global random state, which must be resumed too
        training_arguments(options.run_folder, **{"report_to": "none", "use_cpu": True, **options.arguments}),
        Classification(
            features,
            augment=Compose((mixing, SpecAugment(8, 4)), normalization),
            loss=None if options.without_centers else LOSS,  # parameters of a loss must be resumed too
            patch_dropout=dropout,
        ),
        optimizing=OptimizingConfig(**options.optimizing),
    )
    state = trainer.train_resumable()
    scores = trainer.predictor().scores(features, "test")
    if trainer.is_world_process_zero():
        kept = ("step", "loss", "eval_loss", "eval_accuracy", "eval_mean_average_precision", "grad_norm")
        history = [{key: entry[key] for key in kept if key in entry} for entry in state.log_history]
        report = {
            "steps": state.global_step,
            "best_step": state.best_global_step,
            "history": [entry for entry in history if len(entry) > 1],
            "test": {"keys": scores.clip_keys.tolist(), "logits": scores.logits.tolist()},
        }
        (Path(options.run_folder) / "outcome.json").write_text(json.dumps(report))
    trainer.end()


if __name__ == "__main__":
    main()
