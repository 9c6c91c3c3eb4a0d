"""Training: transformers' Trainer for feature datasets, and runs that survive being killed."""

from hf_audio.training.arguments import training_arguments, training_defaults
from hf_audio.training.trainer import AudioTrainer

__all__ = ["AudioTrainer", "training_arguments", "training_defaults"]
