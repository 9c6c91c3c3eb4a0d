"""Dense, convolutional and recurrent networks on classical features, one vector per window or a sequence of them.

The default sizes won the search of github.com/Mathieeeu/data832_projet: 256 hidden units, 2 layers, dropout 0.3.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoConfig, AutoModelForAudioClassification

from .classifier import AudioClassifier, AudioClassifierConfig, Windows
from .padding import mean_over_frames
from .recurrence import Recurrence


class FeatureMLPConfig(AudioClassifierConfig):
    """Args:
    num_features: numbers per step.
    hidden_size, num_layers: size and number of the hidden layers.
    dropout: after each hidden layer.
    head and others: see AudioClassifierConfig.
    """

    model_type = "hf_audio_feature_mlp"
    attribute_map = {"num_hidden_layers": "num_layers"}  # noqa: RUF012

    def __init__(
        self,
        num_features: int = 174,
        hidden_size: int = 256,
        num_layers: int = 2,
        dropout: float = 0.3,
        **kwargs,
    ) -> None:
        self.num_features, self.hidden_size = num_features, hidden_size
        self.num_layers, self.dropout = num_layers, dropout
        super().__init__(**kwargs)


class FeatureCNNConfig(FeatureMLPConfig):
    """Like FeatureMLPConfig; convolutions have `hidden_size` / 4 channels, the dense layer has `hidden_size` units."""

    model_type = "hf_audio_feature_cnn"

    def __init__(self, **kwargs) -> None:  # without it, transformers generates one
        super().__init__(**kwargs)


class FeatureRNNConfig(FeatureMLPConfig):
    """Like FeatureMLPConfig, with dropout between the layers.

    Args:
        cell: "lstm" or "gru".
        bidirectional: whether to read in both directions.
    """

    model_type = "hf_audio_feature_rnn"

    def __init__(self, cell: str = "lstm", bidirectional: bool = False, **kwargs) -> None:
        self.cell, self.bidirectional = cell, bidirectional
        super().__init__(**kwargs)


class FeatureMLP(AudioClassifier):
    """Hidden layers on the mean over steps. input_values `[batch, steps, features]`, or `[batch, features]`."""

    config_class = FeatureMLPConfig
    lora_targets = ("linear",)

    def __init__(self, config: FeatureMLPConfig) -> None:
        super().__init__(config)
        size = config.hidden_size
        in_sizes = [config.num_features, *[size] * (config.num_layers - 1)]
        self.layers = nn.ModuleList(Dense(in_size, size, config.dropout) for in_size in in_sizes)
        self.add_head(size)

    def embedding_of(self, windows: Windows) -> Tensor:
        steps = windows.layers.start(as_steps(windows.values, self.config.num_features))
        embedding = mean_over_frames(steps, windows.are_real(steps.shape[1]))
        for layer in self.layers:
            embedding = layer(embedding)
            windows.layers.add(embedding)
        return embedding


class FeatureCNN(AudioClassifier):
    """Convolutions along the features of each step, a dense layer on their outputs, and the mean over steps.

    Neighbors in the list of features are mostly neighbors in pitch: mel bands, pitch classes, orders of MFCCs. All
    steps share the same weights. input_values as for FeatureMLP.
    """

    config_class = FeatureCNNConfig
    lora_targets = ("convolution", "linear")

    def __init__(self, config: FeatureCNNConfig) -> None:
        super().__init__(config)
        places = config.num_features // 2**config.num_layers  # each layer halves their number
        if not places:
            raise ValueError(
                f"{config.num_features} features are too few for {config.num_layers} convolutions, each of which "
                "halves their number: use fewer layers"
            )
        channels = max(1, config.hidden_size // 4)
        in_channels = [1, *[channels] * (config.num_layers - 1)]
        self.layers = nn.ModuleList(FeatureConvolution(before, channels, config.dropout) for before in in_channels)
        self.dense = Dense(channels * places, config.hidden_size, config.dropout)
        self.add_head(config.hidden_size)

    def embedding_of(self, windows: Windows) -> Tensor:
        steps = windows.layers.start(as_steps(windows.values, self.config.num_features))
        maps = steps.flatten(0, 1)[:, None]  # [batch * steps, channels, places]
        for layer in self.layers:
            maps = layer(maps)
            windows.layers.add(maps.unflatten(0, steps.shape[:2]))
        vectors = self.dense(maps.flatten(1)).unflatten(0, steps.shape[:2])
        return mean_over_frames(vectors, windows.are_real(steps.shape[1]))


class FeatureRNN(AudioClassifier):
    """The last output of an LSTM or GRU over the steps, for each direction. input_values as for FeatureMLP."""

    config_class = FeatureRNNConfig

    def __init__(self, config: FeatureRNNConfig) -> None:
        super().__init__(config)
        sizes = (config.num_features, config.hidden_size, config.num_layers)
        self.recurrence = Recurrence(config.cell, *sizes, config.dropout, config.bidirectional)
        self.add_head(self.recurrence.output_size)

    def embedding_of(self, windows: Windows) -> Tensor:
        steps = as_steps(windows.values, self.config.num_features)
        outputs = self.recurrence(steps, windows.layers, windows.num_frames)
        return self.recurrence.last_outputs(outputs, windows.num_frames)


class Dense(nn.Module):
    """`[batch, in]` -> `[batch, out]`: a linear layer, ReLU, dropout."""

    def __init__(self, in_size: int, out_size: int, dropout: float) -> None:
        super().__init__()
        self.linear = nn.Linear(in_size, out_size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.dropout(functional.relu(self.linear(inputs)))


class FeatureConvolution(nn.Module):
    """`[batch, in, places]` -> `[batch, out, places // 2]`: convolution of width 3, ReLU, max pooling of 2, dropout."""

    def __init__(self, in_channels: int, out_channels: int, dropout: float) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(in_channels, out_channels, 3, padding=1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, maps: Tensor) -> Tensor:
        return self.dropout(functional.max_pool1d(functional.relu(self.convolution(maps)), 2))


def as_steps(input_values: Tensor, num_features: int) -> Tensor:
    """Features `[batch, steps, features]`, or `[batch, features]` as one step -> `[batch, steps, features]`.

    Raises:
        ValueError: the number of dimensions or features is wrong.
    """
    steps = input_values[:, None] if input_values.ndim == 2 else input_values
    if steps.ndim != 3 or steps.shape[2] != num_features:
        raise ValueError(
            f"Expected features [batch, steps, {num_features}] or [batch, {num_features}], "
            f"found {list(input_values.shape)}"
        )
    return steps


# Repeats what the imported files import: from a local folder, transformers 4 copies only the files that the main file
# itself imports. From the Hub, it copies all.
from .heads import HEADS  # noqa: E402, F401
from .logit_curves import LogitCurves  # noqa: E402, F401
from .window_losses import cross_entropy  # noqa: E402, F401

for _config, _model in ((FeatureMLPConfig, FeatureMLP), (FeatureCNNConfig, FeatureCNN), (FeatureRNNConfig, FeatureRNN)):
    _config.register_for_auto_class()
    _model.register_for_auto_class("AutoModelForAudioClassification")
    AutoConfig.register(_config.model_type, _config, exist_ok=True)
    AutoModelForAudioClassification.register(_config, _model, exist_ok=True)
