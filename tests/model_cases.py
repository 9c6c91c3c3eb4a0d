"""The models of the common test (test_models.py), one entry each.

To add a model, add an entry to CASES:

    ModelCase("name", function, windows=((frames, bins), ...), extractor=function)

The first function makes a small instance, `make(labels, **settings)`: settings are those of the head in HEADS, empty
for "linear". It sets no seed (its caller does) and leaves all dropout at 0, because results are compared. `windows` are
shapes of one window, without the batch: the usual one first, then shorter, longer and odd ones. The second function
makes the extractor that is published with the model. Checks that do not apply to the model are listed in `exempt` with
the reason. The models themselves state whether they take adapters and whether they checkpoint gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import small_transformers
import torch
from model_extractors import classical, log_mel, mel, stereo, waveform, whisper_log_mel
from torch import Tensor
from transformers import FeatureExtractionMixin, PreTrainedModel

from hf_audio.data.index.labels import MULTI_LABEL, SINGLE_LABEL, LabelSpace
from hf_audio.kinds import kind_of_extractor
from hf_audio.losses import loss_for
from hf_audio.models.audio_spectrogram_transformer import ast_from_scratch
from hf_audio.models.checkpoints import transformer_from_scratch
from hf_audio.models.classifier import AudioClassifier
from hf_audio.models.feature_networks import (
    FeatureCNN,
    FeatureCNNConfig,
    FeatureMLP,
    FeatureMLPConfig,
    FeatureRNN,
    FeatureRNNConfig,
)
from hf_audio.models.spectrogram_cnn import SpectrogramCNN, SpectrogramCNNConfig
from hf_audio.models.spectrogram_lstm import SpectrogramLSTM, SpectrogramLSTMConfig
from hf_audio.models.timm_backbone import ParallelTimmClassifier, ParallelTimmConfig, TimmClassifier
from hf_audio.models.timm_network import TimmClassifierConfig
from hf_audio.models.transformer_classifier import TransformerClassifier, TransformerClassifierConfig

NAMES = ("violin", "bell", "hum", "organ")  # neither in alphabetical order nor in its reverse
METADATA = {"genre": ["cla", "jaz_blu", "pop_roc"], "drums": ["yes", "no"]}
HEADS = {
    "linear": {},
    "deep": {"head": "deep", "head_sizes": [24, 12]},
    "fluffy": {"head": "fluffy", "head_sizes": [8]},
    "arcface": {"head": "arcface"},
    "metadata": {"metadata": METADATA},
}
CHECKS = ("compile", "two_processes", "bf16", "checkpointing", "lora", "padding")


@dataclass(frozen=True)
class ModelCase:
    name: str
    make: Callable[..., PreTrainedModel]
    windows: tuple[tuple[int, ...], ...]
    extractor: Callable[[], FeatureExtractionMixin]
    heads: tuple[str, ...] = ("linear",)
    input_name: str = "input_values"
    exempt: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        assert set(self.exempt) <= set(CHECKS), self.exempt


@dataclass(frozen=True)
class Instance:
    """A model with a head and a task."""

    case: ModelCase
    head: str
    problem_type: str

    @property
    def id(self) -> str:
        return f"{self.case.name}-{self.head}-{self.problem_type.split('_')[0]}"

    @property
    def labels(self) -> LabelSpace:
        return LabelSpace(NAMES, self.problem_type)

    def model(self, seed: int = 0) -> PreTrainedModel:
        """A model in evaluation mode, with equal weights for equal seeds and the padding value of its extractor."""
        torch.manual_seed(seed)
        model = self.case.make(self.labels, **HEADS[self.head]).eval()
        if is_ours(model):
            extractor = self.case.extractor()
            model.config.padding_value = kind_of_extractor(extractor).padding_value(extractor)
        return model

    def inputs(self, batch: int = 3, window: tuple[int, ...] | None = None, seed: int = 1) -> dict[str, Tensor]:
        """Inputs of the forward pass without labels: windows, and metadata that is partly unknown."""
        generator = torch.Generator().manual_seed(seed)
        shape = (batch, *(window or self.case.windows[0]))
        inputs = {self.case.input_name: torch.randn(shape, generator=generator)}
        if self.head == "metadata":
            fields = [torch.arange(batch) % (len(METADATA[field]) + 1) for field in sorted(METADATA)]
            inputs["metadata"] = torch.stack(fields, dim=1)
        return inputs

    def targets(self, batch: int = 3) -> Tensor:
        """float32 `[batch, classes]`; with three windows or more, every class occurs."""
        if self.problem_type == SINGLE_LABEL:
            return torch.eye(len(NAMES))[(torch.arange(batch) * 3) % len(NAMES)]
        return ((torch.arange(batch)[:, None] + torch.arange(len(NAMES))) % 3 == 0).float()

    def loss(self, model: PreTrainedModel, inputs: dict[str, Tensor], targets: Tensor) -> Tensor:
        """The loss as in training: our models get the targets, others return logits only."""
        if is_ours(model):
            return model(**inputs, labels=targets).loss
        return loss_for(self.labels)(model(**inputs).logits, targets)


def is_ours(model: PreTrainedModel) -> bool:
    return isinstance(getattr(model, "module", model), AudioClassifier)  # DDP wraps the model as `module`


def task(labels: LabelSpace) -> dict:
    """The fields of a transformers config about the classes."""
    return {"id2label": labels.id2label, "label2id": labels.label2id, "problem_type": labels.problem_type}


def cnn(labels: LabelSpace, **settings) -> PreTrainedModel:
    sizes = {"channels": [4, 8, 8], "kernel_sizes": [5, 3, 3], "strides": [2, 2, 1], "pools": [2, 1, 2]}
    return SpectrogramCNN(SpectrogramCNNConfig(**sizes, depths=[1, 1, 1], **settings, **task(labels)))


def deep_cnn(labels: LabelSpace, **settings) -> PreTrainedModel:
    sizes = {"channels": [8, 16], "kernel_sizes": [3, 3], "strides": [1, 1], "pools": [2, 2], "depths": [2, 2]}
    kinds = {"norm": "group", "pooling": "mean_max"}
    return SpectrogramCNN(SpectrogramCNNConfig(**sizes, **kinds, **settings, **task(labels)))


def batch_norm_cnn(labels: LabelSpace, **settings) -> PreTrainedModel:
    sizes = {"channels": [8, 16], "kernel_sizes": [3, 3], "strides": [2, 1], "pools": [2, 2], "depths": [1, 2]}
    kinds = {"norm": "batch", "pooling": "mean_max"}
    return SpectrogramCNN(SpectrogramCNNConfig(**sizes, **kinds, **settings, **task(labels)))


def lstm(labels: LabelSpace, **settings) -> PreTrainedModel:
    sizes = {"hidden_size": 12, "num_mel_bins": 32, "dropout": 0.0}
    return SpectrogramLSTM(SpectrogramLSTMConfig(**sizes, **settings, **task(labels)))


def lstm_over_bins(labels: LabelSpace, **settings) -> PreTrainedModel:
    sizes = {"sequence": "bins", "num_frames": 98, "hidden_size": 12, "dropout": 0.0}
    kinds = {"bidirectional": True, "attention": "additive"}
    return SpectrogramLSTM(SpectrogramLSTMConfig(**sizes, **kinds, **settings, **task(labels)))


def stereo_cnn(labels: LabelSpace, **settings) -> PreTrainedModel:
    return cnn(labels, num_channels=2, **settings)


def stereo_lstm(labels: LabelSpace, **settings) -> PreTrainedModel:
    return lstm(labels, num_channels=2, **settings)


def stereo_lstm_over_bins(labels: LabelSpace, **settings) -> PreTrainedModel:
    return lstm_over_bins(labels, num_channels=2, **settings)


def stereo_timm(labels: LabelSpace, **settings) -> PreTrainedModel:
    return timm_efficientnet(labels, num_channels=2, **settings)


def stereo_timm_parallel(labels: LabelSpace, **settings) -> PreTrainedModel:
    return timm_parallel(labels, num_channels=2, **settings)


def feature_mlp(labels: LabelSpace, **settings) -> PreTrainedModel:
    return FeatureMLP(FeatureMLPConfig(hidden_size=16, dropout=0.0, **settings, **task(labels)))


def feature_cnn(labels: LabelSpace, **settings) -> PreTrainedModel:
    return FeatureCNN(FeatureCNNConfig(hidden_size=16, dropout=0.0, **settings, **task(labels)))


def feature_rnn(labels: LabelSpace, **settings) -> PreTrainedModel:
    kinds = {"cell": "gru", "bidirectional": True}
    return FeatureRNN(FeatureRNNConfig(hidden_size=16, dropout=0.0, **kinds, **settings, **task(labels)))


def timm_efficientnet(labels: LabelSpace, **settings) -> PreTrainedModel:
    return TimmClassifier(TimmClassifierConfig("test_efficientnet", **settings, **task(labels)))


def timm_frozen(labels: LabelSpace, **settings) -> PreTrainedModel:
    return TimmClassifier(TimmClassifierConfig("test_efficientnet", trainable_blocks=0, **settings, **task(labels)))


def timm_vit(labels: LabelSpace, **settings) -> PreTrainedModel:
    sizes = {"max_frames": 301, "num_mel_bins": 32}
    return TimmClassifier(TimmClassifierConfig("test_vit", **sizes, **settings, **task(labels)))


def timm_parallel(labels: LabelSpace, **settings) -> PreTrainedModel:
    groups = {"combine": "predictions", "groups": [["hum", "violin"], ["bell"], ["organ"]]}
    return ParallelTimmClassifier(ParallelTimmConfig("test_convnext", **groups, **settings, **task(labels)))


SPEECH = {**small_transformers.SPEECH, **small_transformers.LAYER_NORM, "model_type": "wav2vec2"}
SPEECH |= dict.fromkeys(
    (f"{part}_dropout" for part in ("attention", "activation", "hidden", "feat_proj", "final")), 0.0
)


def wrapped(backbone: dict, labels: LabelSpace, **settings) -> PreTrainedModel:
    return TransformerClassifier(TransformerClassifierConfig(backbone=backbone, **settings, **task(labels)))


def wav2vec2(labels: LabelSpace, **settings) -> PreTrainedModel:
    return wrapped(SPEECH, labels, **settings)


def wav2vec2_convolutions(labels: LabelSpace, **settings) -> PreTrainedModel:
    return wrapped(SPEECH, labels, encoder="convolutional", **settings)


def wav2vec2_stock(labels: LabelSpace) -> PreTrainedModel:
    sizes = {key: value for key, value in SPEECH.items() if key != "model_type"}
    return transformer_from_scratch("wav2vec2-mini", labels, **sizes)


def whisper(labels: LabelSpace, **settings) -> PreTrainedModel:
    return wrapped({**small_transformers.WHISPER, "max_source_positions": 50}, labels, **settings)


def ast(labels: LabelSpace, **settings) -> PreTrainedModel:
    return wrapped({**small_transformers.AST, "max_length": 98, "layer_norm_eps": 1e-6}, labels, **settings)


def ast_stock(labels: LabelSpace) -> PreTrainedModel:
    return ast_from_scratch(labels, 98, 32, hidden_size=32, num_layers=2, num_heads=2)


# Usual, short, long and odd windows as `[frames, bins]`; the last one has a single frame.
LOG_MEL_WINDOWS = ((98, 32), (16, 32), (301, 32), (77, 32), (1, 32))
MONO_WINDOWS = (*LOG_MEL_WINDOWS, (2, 98, 32))  # for a model that converts to mono
STEREO_WINDOWS = (*((2, *window) for window in LOG_MEL_WINDOWS), (98, 32))  # mono is used for both channels
WAVEFORM_WINDOWS = ((1600,), (400,), (4000,), (1777,), (1,))  # samples
CLASSICAL_WINDOWS = ((2, 174), (1, 174), (31, 174), (7, 174), (174,))
WHOLE_IMAGE = {"padding": "a network for images looks at all of its window"}
ENDS_IN_SILENCE = {"padding": "to convolutions a short sound is one that ends in silence"}
ATTENDS = {"padding": "its layers attend to padding, as the stock class's do, and have learned from it"}
STOCK = {"compile": "a class of transformers, which takes no targets of several labels"}
SAME_NETWORK = {"compile": "the graph of timm_efficientnet", **WHOLE_IMAGE}
MORE_CHANNELS = dict.fromkeys(("compile", "two_processes", "bf16"), "the one-channel network but for its first layer")
CASES = (
    ModelCase("cnn", cnn, LOG_MEL_WINDOWS, log_mel, heads=tuple(HEADS), exempt=ENDS_IN_SILENCE),
    ModelCase("deep_cnn", deep_cnn, LOG_MEL_WINDOWS, log_mel, exempt=ENDS_IN_SILENCE),
    ModelCase("batch_norm_cnn", batch_norm_cnn, LOG_MEL_WINDOWS, mel, exempt=ENDS_IN_SILENCE),
    ModelCase("stereo_cnn", stereo_cnn, STEREO_WINDOWS, stereo, exempt=ENDS_IN_SILENCE),
    ModelCase("lstm", lstm, MONO_WINDOWS, log_mel, heads=("linear", "metadata")),
    ModelCase("stereo_lstm", stereo_lstm, STEREO_WINDOWS, stereo),
    ModelCase("lstm_over_bins", lstm_over_bins, MONO_WINDOWS, mel),
    ModelCase("stereo_lstm_over_bins", stereo_lstm_over_bins, STEREO_WINDOWS, stereo, exempt=MORE_CHANNELS),
    ModelCase("timm_efficientnet", timm_efficientnet, LOG_MEL_WINDOWS, log_mel, exempt=WHOLE_IMAGE),
    ModelCase("timm_frozen", timm_frozen, LOG_MEL_WINDOWS, log_mel, exempt=SAME_NETWORK),
    ModelCase("stereo_timm", stereo_timm, STEREO_WINDOWS, stereo, exempt=MORE_CHANNELS | WHOLE_IMAGE),
    ModelCase("timm_vit", timm_vit, LOG_MEL_WINDOWS, mel, exempt=WHOLE_IMAGE),
    ModelCase("timm_parallel", timm_parallel, LOG_MEL_WINDOWS, log_mel, ("linear", "metadata"), exempt=WHOLE_IMAGE),
    ModelCase("stereo_timm_parallel", stereo_timm_parallel, STEREO_WINDOWS, stereo, exempt=MORE_CHANNELS | WHOLE_IMAGE),
    ModelCase("feature_mlp", feature_mlp, CLASSICAL_WINDOWS, classical),
    ModelCase("feature_cnn", feature_cnn, CLASSICAL_WINDOWS, classical),
    ModelCase("feature_rnn", feature_rnn, CLASSICAL_WINDOWS, classical),
    ModelCase("wav2vec2", wav2vec2, WAVEFORM_WINDOWS, waveform, heads=("fluffy", "metadata")),
    ModelCase("wav2vec2_convolutions", wav2vec2_convolutions, WAVEFORM_WINDOWS, waveform, heads=("fluffy",)),
    ModelCase("wav2vec2_stock", wav2vec2_stock, WAVEFORM_WINDOWS[:-1], waveform, exempt=STOCK),
    ModelCase("whisper", whisper, ((16, 100),), whisper_log_mel, ("deep",), "input_features", ATTENDS),
    ModelCase("ast", ast, ((98, 32),), log_mel, heads=("arcface",), exempt=ATTENDS),
    ModelCase("ast_stock", ast_stock, ((98, 32),), log_mel, exempt=STOCK | ATTENDS),
    ModelCase("ast_stock_on_mel", ast_stock, ((98, 32),), mel, exempt=STOCK | ATTENDS | {"two_processes": "ast_stock"}),
)
_PAIRS = [(case, head) for case in CASES for head in case.heads]
# INSTANCES has every pair once, every second one multi-label; ALL_TASKS has every pair with both tasks.
INSTANCES = [
    Instance(case, head, MULTI_LABEL if number % 2 else SINGLE_LABEL) for number, (case, head) in enumerate(_PAIRS)
]
ALL_TASKS = [Instance(case, head, kind) for case, head in _PAIRS for kind in (SINGLE_LABEL, MULTI_LABEL)]


def suited(check: str) -> list[Instance]:
    """The instances to which a check applies."""
    return [instance for instance in INSTANCES if check not in instance.case.exempt]
