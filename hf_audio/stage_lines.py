"""One log line per stage of a run with its decisions, so that the log is complete without the run's settings."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hf_audio.data.loading.features_dataset import FeatureDataset
from hf_audio.models.origin import origin_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from hf_audio.training import AudioTrainer


def features_line(features: FeatureDataset) -> str:
    """The kind of features, their windows, classes, and the numbers of clips and windows per split."""
    manifest, rate = features.manifest, features.extractor.sampling_rate
    per_clip = "any number per clip" if features.labels.is_multi_label else "one per clip"
    splits = [
        f"{name} {facts['num_clips']:,} clips ({facts['num_windows']:,} windows)"
        for name, facts in manifest["splits"].items()
        if name in features.splits
    ]
    return (
        f"Features: {features.kind.name} at {rate:,} Hz in windows of {manifest['window_s']:g} s every "
        f"{manifest['hop_s']:g} s; {len(features.labels)} classes, {per_clip}; {', '.join(splits)}"
    )


def model_line(model: PreTrainedModel) -> str:
    """The architecture, the origin of its weights, and how many of them are trained; with LoRA, of the base model."""
    bare = model.get_base_model() if hasattr(model, "get_base_model") else model
    base_model = origin_of(bare)["base_model"]
    num_weights = sum(weights.numel() for weights in model.parameters())
    num_trained = sum(weights.numel() for weights in model.parameters() if weights.requires_grad)
    trained = "all trained" if num_trained == num_weights else f"{num_trained:,} of them trained"
    start = f"pretrained, from {base_model}" if base_model else "from scratch"
    return f"Model: {type(bare).__name__}, {start}; {num_weights:,} parameters, {trained}"


def training_line(trainer: AudioTrainer) -> str:
    """The length of the training, its batches, learning rate, precision and device."""
    args, steps_per_epoch = trainer.args, trainer.layout.steps_per_epoch
    num_steps = args.max_steps if args.max_steps > 0 else math.ceil(args.num_train_epochs * steps_per_epoch)
    epochs = num_steps / steps_per_epoch
    windows_per_step = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
    precision = "bf16" if args.bf16 else "fp16" if args.fp16 else "fp32"
    return (
        f"Training: {epochs:.3g} {'epoch' if epochs == 1 else 'epochs'} of {steps_per_epoch:,} "
        f"{'step' if steps_per_epoch == 1 else 'steps'} with {windows_per_step:,} windows each; "
        f"learning rate {args.learning_rate:g}; {precision} on {args.world_size} x {args.device.type}; "
        f"checkpoints in {args.output_dir}"
    )
