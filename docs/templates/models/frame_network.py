"""A template for a network: convolutions that keep all frames, and a mean over time. Copy it to hf_audio/models/.

The file is published with every model of its class, and must run without hf_audio: its only imports are torch,
transformers, timm and, by relative import, neighboring modules.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoConfig, AutoModelForAudioClassification

from .classifier import AudioClassifier, AudioClassifierConfig, Windows
from .padding import mean_over_frames


class FrameNetworkConfig(AudioClassifierConfig):
    """The sizes of the network. Each needs a type hint, a default, and the same name as in config.json.

    Args:
        num_channels: of the spectrograms.
        hidden_size: channels of each convolution, and size of the embedding.
        num_layers: convolutions; each halves the bins.
        head and others: see AudioClassifierConfig.
    """

    model_type = "hf_audio_frame_network"  # unique among all models

    def __init__(self, num_channels: int = 1, hidden_size: int = 64, num_layers: int = 3, **kwargs) -> None:
        self.num_channels, self.hidden_size, self.num_layers = num_channels, hidden_size, num_layers
        super().__init__(**kwargs)


class FrameNetwork(AudioClassifier):
    """input_values `[batch, frames, bins]`, or `[batch, channels, frames, bins]`."""

    config_class = FrameNetworkConfig

    def __init__(self, config: FrameNetworkConfig) -> None:
        super().__init__(config)
        sizes = [config.num_channels] + [config.hidden_size] * config.num_layers
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, kernel_size=3, stride=(1, 2), padding=1) for before, after in pairwise(sizes)
        )
        self.add_head(config.hidden_size)  # must be last: creates the head and initializes all weights

    def embedding_of(self, windows: Windows) -> Tensor:
        values = windows.layers.start(windows.values)  # kept if the caller sets output_hidden_states
        hidden = values if values.ndim == 4 else values[:, None].expand(-1, self.config.num_channels, -1, -1)
        is_real = windows.are_real(hidden.shape[2])  # [batch, frames]; None if no frame is padding
        for convolution in self.convolutions:
            if is_real is not None:  # padding after a short sound must not leak into it
                hidden = hidden * is_real[:, None, :, None]
            hidden = functional.gelu(convolution(hidden))
            windows.layers.add(hidden)
        return mean_over_frames(hidden.mean(dim=3).transpose(1, 2), is_real)


FrameNetworkConfig.register_for_auto_class()
FrameNetwork.register_for_auto_class("AutoModelForAudioClassification")
# Repeats the imports of the imported files: from a local folder, transformers 4 copies only the files that the main
# file itself imports. From the Hub, it copies all.
from .heads import HEADS  # noqa: E402, F401
from .logit_curves import LogitCurves  # noqa: E402, F401
from .window_losses import cross_entropy  # noqa: E402, F401

AutoConfig.register(FrameNetworkConfig.model_type, FrameNetworkConfig, exist_ok=True)
AutoModelForAudioClassification.register(FrameNetworkConfig, FrameNetwork, exist_ok=True)
