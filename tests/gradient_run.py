"""Loss and gradient of one optimizer step, and clip scores, of AudioTrainer: run by one process or several.

    accelerate launch --num_processes N tests/gradient_run.py FOLDER OUT.safetensors

FOLDER contains the feature datasets "single", "multi" and "sound" (waveforms from which features are computed). A step
always takes the first 8 windows of train, or the first 16 if windows are augmented and mixed.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from training_run import tiny_model
from transformers import TrainerCallback

from hf_audio.augment import (
    BatchMix,
    Compose,
    CutMix,
    FrequencyMixStyle,
    ImageChange,
    MixOrCut,
    Mixup,
    Normalization,
    Recording,
    SpecAugment,
    Warp,
    augmentation_of,
    waveform_steps,
)
from hf_audio.config import AugmentConfig, LossConfig, OptimizingConfig, WaveformAugmentConfig
from hf_audio.data.loading.computed_features import computed_features
from hf_audio.data.loading.features_dataset import load_features
from hf_audio.errors import InputError
from hf_audio.kinds._kaldi_fbank import KaldiFbank
from hf_audio.models import build_model
from hf_audio.ranks import from_first_process
from hf_audio.training import AudioTrainer, Classification, PatchDropout, training_arguments

GLOBAL_BATCH, AUGMENTED_BATCH = 8, 16
ACCUMULATIONS = (1, 4)


class GradientKeeper(TrainerCallback):
    """Stores a copy of the gradient just before the optimizer uses it."""

    gradient = None

    def on_pre_optimizer_step(self, args, state, control, model, **kwargs):
        self.gradient = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


def first_step(
    features,
    accumulation: int,
    world_size: int,
    augment=None,
    size: int = GLOBAL_BATCH,
    loss=None,
    patch_dropout=None,
    **more,
) -> dict[str, torch.Tensor]:
    """Loss and gradient of the first step over `size` windows, and the scores before it.

    Scores come first, because an evaluation must not leave the model in a state in which each process trains alone.
    """
    keeper = GradientKeeper()
    with tempfile.TemporaryDirectory() as folder:
        arguments = training_arguments(
            folder,
            use_cpu=True,
            report_to="none",
            disable_tqdm=True,
            max_steps=1,
            max_grad_norm=0.0,  # no clipping
            logging_steps=1,
            eval_strategy="no",
            save_strategy="no",
            train_sampling_strategy="sequential",
            gradient_accumulation_steps=accumulation,
            per_device_train_batch_size=size // accumulation // world_size,
            per_device_eval_batch_size=4,
            **more,
        )
        loss = loss or LossConfig(class_weights="none" if features.labels.is_multi_label else "balanced")
        trainer = AudioTrainer(
            tiny_model(features),
            arguments,
            Classification(features, augment=augment, loss=loss, patch_dropout=patch_dropout),
            callbacks=[keeper],
        )
        metrics = trainer.evaluate()
        clips = trainer.predictor().scores(features, "validation")
        trainer.train()
    names = sorted(name for name, value in metrics.items() if not name.endswith(("runtime", "_second", "_time")))
    return {
        "loss": torch.tensor(trainer.state.log_history[-2]["loss"]),
        "gradient": keeper.gradient,
        "metrics": torch.tensor([metrics[name] for name in names], dtype=torch.float64),
        "clip_keys": torch.from_numpy(clips.clip_keys),
        "clip_logits": torch.from_numpy(clips.logits),
        **({} if trainer.objective.own is None else {"centers": trainer.objective.own.centers.grad}),
    }


OPTIMIZING = {"layer_decay": 0.5, "unfreeze_epochs": 0.5, "ema_decay": 0.8, "balanced_sampling": "full"}


def whole_epochs(features, world_size: int, model=None, **optimizing) -> torch.Tensor:
    """Losses of two epochs in random order; their last steps have fewer windows than a global batch."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = training_arguments(
            folder,
            use_cpu=True,
            report_to="none",
            disable_tqdm=True,
            num_train_epochs=2,
            save_strategy="no",
            logging_steps=1,
            learning_rate=1e-3,
            per_device_train_batch_size=GLOBAL_BATCH // world_size,
        )
        objective, model = Classification(features, label_smoothing=0.1), model or tiny_model(features)
        trainer = AudioTrainer(model, arguments, objective, optimizing=OptimizingConfig(**optimizing))
        trainer.train()
    names = ("loss", "eval_loss")
    return torch.tensor([entry[name] for entry in trainer.state.log_history for name in names if name in entry])


def all_cases(folder: Path, world_size: int) -> dict[str, torch.Tensor]:
    found = {}
    for task in ("single", "multi"):
        features = load_features(folder / task)
        for accumulation in ACCUMULATIONS:
            for name, value in first_step(features, accumulation, world_size).items():
                found[f"{task}.{accumulation}.{name}"] = value
    steps = (
        *(Warp(0.2, 0.1, 2.0, 6.0), BatchMix(0.5, 3, 5), Recording(3.0, 0.5), FrequencyMixStyle(0.4)),
        MixOrCut(Mixup(0.4, probability=0.5), CutMix(1.0, probability=0.5)),
        *(ImageChange(0.5, 0.1), SpecAugment(8, 4)),
    )
    augment = Compose(steps, Normalization.of(features.extractor))
    for name, value in first_step(
        features, 1, world_size, augment, AUGMENTED_BATCH, patch_dropout=PatchDropout(0.25)
    ).items():
        found[f"augmented.{name}"] = value
    sound = computed_features(load_features(folder / "sound"), KaldiFbank(num_mel_bins=32))
    waves = {f"wave_{name}_probability": 0.5 for name in ("shift", "noise", "gain", "band_pass", "clip", "speed")}
    waves = waveform_steps(WaveformAugmentConfig(**waves), 16_000)
    augment = augmentation_of(sound, AugmentConfig(mixup_alpha=0.4, time_mask_s=0.03), waves)
    for name, value in first_step(sound, 1, world_size, augment, AUGMENTED_BATCH).items():
        found[f"sound.{name}"] = value
    features = load_features(folder / "single")
    compiled = {"torch_compile": True, "torch_compile_backend": "eager"}
    for name, value in first_step(features, 1, world_size, **compiled).items():
        found[f"single.compiled.{name}"] = value
    for name, value in first_step(features, 2, world_size, loss=LossConfig(center_weight=0.1)).items():
        found[f"single.center.{name}"] = value
    found["single.epochs"] = whole_epochs(features, world_size)
    found["single.optimized"] = whole_epochs(features, world_size, **OPTIMIZING)
    options = {"channels": [8, 8], "kernel_sizes": [3, 3], "strides": [2, 2], "pools": [2, 2], "depths": [1, 1]}
    cnn = build_model("cnn", features, options={**options, "dropout": 0.0, "head_dropout": 0.0})
    found["single.mean of epochs"] = whole_epochs(features, world_size, cnn, swa_epochs=2)
    return found


def check_first_process_decides(rank: int) -> None:
    """The first process decides for all, also when it raises an error; the others do not compute anything."""
    looked = []

    def refuse():
        looked.append(rank)
        raise InputError("refused")

    assert from_first_process(lambda: rank) == 0
    try:
        from_first_process(refuse)
        raise AssertionError("nothing was refused")
    except InputError as error:
        assert str(error) == "refused" and looked == [0][: rank == 0]


if __name__ == "__main__":
    from accelerate import PartialState

    state = PartialState(cpu=True)
    check_first_process_decides(state.process_index)
    tensors = all_cases(Path(sys.argv[1]), state.num_processes)
    if state.is_main_process:
        tensors["world_size"] = torch.tensor(state.num_processes)
        save_file(tensors, sys.argv[2])
    state.destroy_process_group()
