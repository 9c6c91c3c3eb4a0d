"""Hand-made classifiers whose explanations are known: they detect a tone at 1,500 Hz, and nothing else."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import torch
from model_cases import ast, ast_stock
from model_extractors import log_mel
from torch import Tensor, nn
from transformers import ASTFeatureExtractor, PretrainedConfig, PreTrainedModel, Wav2Vec2FeatureExtractor

from hf_audio.data.index.labels import MULTI_LABEL, LabelSpace
from hf_audio.models.spectrogram_cnn import SpectrogramCNN, SpectrogramCNNConfig
from hf_audio.models.usage import Usage
from hf_audio.sound_predictor import SoundPredictor

RATE, WINDOW_S = 16_000, 0.5
TONE_HZ, FROM_S, TO_S, FADE_S = 1500.0, 0.2, 0.3, 0.01
LABELS = LabelSpace(("other", "tone"), MULTI_LABEL)
TONE = 1  # the class
USAGE = Usage(0.5, WINDOW_S, WINDOW_S)
SLOPE = 200.0


def planted_tone(noise: float = 0.001, seed: int = 0) -> np.ndarray:
    """A window of faint noise with a burst of the tone in it: float32 `[samples]`."""
    seconds = np.arange(round(WINDOW_S * RATE)) / RATE
    is_tone = np.clip(np.minimum(seconds - FROM_S, TO_S - seconds) / FADE_S, 0, 1)  # fades avoid a click
    sound = noise * np.random.default_rng(seed).standard_normal(len(seconds))
    return (sound + 0.5 * is_tone * np.sin(2 * math.pi * TONE_HZ * seconds)).astype(np.float32)


def loudness_cnn(threshold: float = 1.0) -> SoundPredictor:
    """A CNN whose logit is SLOPE x the mean over cells of max(0, cell - threshold), so cells contribute independently.

    A cell is a normalized log-mel energy; faint noise is far below the threshold, and the tone above it.
    """
    sizes = {"channels": [1], "kernel_sizes": [1], "strides": [1], "pools": [1], "depths": [1]}
    model = SpectrogramCNN(SpectrogramCNNConfig(**sizes, quiet_padding=False, **LABELS.config_settings))
    convolution, head = model.stages[0].first.convolution, model.classifier.layers[0]
    with torch.no_grad():
        nn.init.ones_(convolution.weight)
        nn.init.constant_(convolution.bias, -threshold)
        head.weight.copy_(torch.tensor([[0.0], [SLOPE]]))
        head.bias.zero_()
    extractor = ASTFeatureExtractor(num_mel_bins=32, max_length=48, mean=-7.0, std=3.0)  # no padding
    return SoundPredictor(model, extractor, usage=USAGE, name="loudness", device="cpu")


class FilterConfig(PretrainedConfig):
    model_type = "filter_of_a_tone"


class ToneFilter(PreTrainedModel):
    """The power after two filters of 10 ms, sine and cosine of the tone, for waveforms `[batch, samples]`."""

    config_class = FilterConfig
    main_input_name = "input_values"

    def __init__(self, config: FilterConfig) -> None:
        super().__init__(config)
        self.filters = nn.Conv1d(1, 2, 160, stride=80, bias=False)
        self.classifier = nn.Linear(1, 2, bias=False)
        self.post_init()
        angles = 2 * math.pi * TONE_HZ * torch.arange(160) / RATE
        with torch.no_grad():
            self.filters.weight.copy_(torch.stack([angles.sin(), angles.cos()])[:, None] / 80)
            self.classifier.weight.copy_(torch.tensor([[0.0], [2.0]]))

    def forward(self, input_values: Tensor, **others) -> SimpleNamespace:
        power = self.filters(input_values[:, None]).square().sum(dim=1)
        return SimpleNamespace(logits=self.classifier(power.mean(dim=1, keepdim=True)))


def tone_filter() -> SoundPredictor:
    model = ToneFilter(FilterConfig(**LABELS.config_settings))
    return SoundPredictor(model, Wav2Vec2FeatureExtractor(), usage=USAGE, name="filter", device="cpu")


def attending_ast(make=ast_stock) -> SoundPredictor:
    """An AST whose tokens all attend to patches where bins 12 to 15 are louder than the four below: to the tone.

    This contrast is the first number of a patch's token; keys contain it, and all queries match it.
    """
    torch.manual_seed(0)
    model = make(LABELS).eval()
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if name.endswith("patch_embeddings.projection.weight"):
                weights.zero_()
                weights[0, 0, 12:16], weights[0, 0, 8:12] = 1 / 64, -1 / 64
            elif name.endswith(("_token", "position_embeddings")):
                nn.init.normal_(weights, std=0.3)
            elif name.endswith(("q_proj.weight", "q_proj.bias", "k_proj.bias", "patch_embeddings.projection.bias")):
                weights.zero_()
            elif name.endswith("k_proj.weight"):
                weights.copy_(torch.eye(len(weights)).roll(len(weights) // 2, 0) + torch.eye(len(weights)))
            if name.endswith("q_proj.bias"):
                weights[:: len(weights) // 2] = 8.0  # the first number in each of the two heads
    return SoundPredictor(model, log_mel(), usage=USAGE, name="attending", device="cpu")


def wrapped_ast() -> SoundPredictor:
    return attending_ast(ast)
