"""Training: transformers' Trainer for feature datasets, objectives, and runs that can be killed and resumed."""

from hf_audio.training.arguments import training_arguments, training_defaults
from hf_audio.training.classification import Classification
from hf_audio.training.objective import Objective
from hf_audio.training.patch_dropout import PatchDropout
from hf_audio.training.pretraining import Pretraining
from hf_audio.training.trainer import AudioTrainer

__all__ = [
    "AudioTrainer",
    "Classification",
    "Objective",
    "PatchDropout",
    "Pretraining",
    "training_arguments",
    "training_defaults",
]
