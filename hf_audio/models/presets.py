"""Presets: networks that are trained from scratch, by name, with their settings and the features they read."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from hf_audio.kinds import Form
from hf_audio.models.checkpoints import TRANSFORMER_PRESETS
from hf_audio.models.classifier import AudioClassifier
from hf_audio.models.feature_networks import FeatureCNN, FeatureMLP, FeatureRNN
from hf_audio.models.spectrogram_cnn import SpectrogramCNN
from hf_audio.models.spectrogram_lstm import SpectrogramLSTM
from hf_audio.models.timm_backbone import ParallelTimmClassifier


class Preset(NamedTuple):
    """One of our classes, the config fields of the preset, and the form of features it reads."""

    model_class: type[AudioClassifier]
    settings: dict[str, Any]
    form: Form = Form.IMAGE


# Widths and heads are those of DeiT, except in "ast-mini", which trains on a CPU in minutes. Patches of 16 x 16 overlap
# only in "ast-base", as in the paper.
AST_PRESETS = {
    "ast-mini": {"hidden_size": 128, "num_layers": 4, "num_heads": 4, "stride": 16},
    "ast-tiny": {"hidden_size": 192, "num_layers": 4, "num_heads": 3, "stride": 16},
    "ast-small": {"hidden_size": 384, "num_layers": 12, "num_heads": 6, "stride": 16},
    "ast-base": {"hidden_size": 768, "num_layers": 12, "num_heads": 12, "stride": 10},
}

NETWORKS = {
    # our own, for small datasets: batch norm, residual convolutions, mean and maximum over time
    "cnn": Preset(
        SpectrogramCNN,
        {
            "channels": [16, 32, 64, 128, 256],
            "kernel_sizes": [5, 3, 3, 3, 3],
            "strides": [2, 1, 1, 1, 1],
            "pools": [2, 2, 2, 2, 1],
            "depths": [1, 2, 2, 2, 2],
            "norm": "batch",
            "pooling": "mean_max",
            "dropout": 0.1,
            "head_dropout": 0.2,
        },
    ),
    # 100 kB: the four convolutions and three pools of Instruments Recognition (Dumoulin and Ricour-Dumas)
    "cnn-concert": Preset(SpectrogramCNN, {}),
    # four blocks of convolution, ReLU, pool and dropout, a head of two layers, after C. Minini's project on FMA
    "cnn-genre": Preset(
        SpectrogramCNN,
        {
            "channels": [16, 32, 64, 128],
            "kernel_sizes": [3, 3, 3, 3],
            "strides": [1, 1, 1, 1],
            "pools": [2, 2, 2, 2],
            "dropout": 0.2,
            "head": "deep",
            "head_sizes": [128],
            "head_dropout": 0.2,
        },
    ),
    # over mel rows, stereo mixed to mono, 41.7 MB for rows of 431 frames, as in Instruments Recognition
    "lstm-concert": Preset(SpectrogramLSTM, {"sequence": "bins", "num_channels": 1}),
    # over frames, with attention
    "lstm": Preset(
        SpectrogramLSTM,
        {"hidden_size": 256, "bidirectional": True, "attention": "additive", "dropout": 0.3, "head_dropout": 0.3},
    ),
    "mobilenets": Preset(ParallelTimmClassifier, {"timm_name": "mobilenetv3_small_050", "num_backbones": 4}),
    # on classical features, after github.com/Mathieeeu/data832_projet
    "mlp": Preset(FeatureMLP, {}, Form.VECTORS),
    "feature-cnn": Preset(FeatureCNN, {}, Form.VECTORS),
    "rnn": Preset(FeatureRNN, {}, Form.VECTORS),
}

PRESETS = (*AST_PRESETS, *NETWORKS, *TRANSFORMER_PRESETS)


def gains_by_bfloat16(name: str) -> bool:
    """Whether a model trains faster in bfloat16 on a CPU that supports it, as dense convolutions and wide products do.

    Depthwise convolutions of mobile networks take up to twice as long; recurrent layers and ast-mini take equally long
    (scripts/benchmark_training.py). Hub names outside timm/ count as transformers.
    """
    if name in NETWORKS:
        return NETWORKS[name].model_class is SpectrogramCNN
    is_on_hub = "/" in name and not name.startswith("timm/") and not Path(name).expanduser().is_dir()
    return is_on_hub or (name in AST_PRESETS and name != "ast-mini")
