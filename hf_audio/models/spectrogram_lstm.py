"""LSTMs over the frames or the mel rows of spectrograms with one or more channels."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional
from transformers import AutoConfig, AutoModelForAudioClassification

from .classifier import AudioClassifier, AudioClassifierConfig, Windows
from .padding import are_real
from .recurrence import AdditiveAttention, Recurrence
from .spectrogram_cnn import as_images

SEQUENCES = ("frames", "bins")
ATTENTIONS = ("none", "additive")


class SpectrogramLSTMConfig(AudioClassifierConfig):
    """Sizes as in the project Instruments Recognition (Dumoulin and Ricour-Dumas): LSTM(431, 862, num_layers=2).

    Args:
        sequence: "frames" reads one frame after another, in windows of any length; "bins" reads the mel rows from low
            to high, each a vector of `num_frames` numbers.
        num_mel_bins: bins per frame; must match the input with "frames".
        num_frames: frames per window, for "bins": shorter windows are padded with 0, longer ones are cut. (It is not
            named `max_length`, which transformers refuses as a setting of text generation.)
        num_channels: input channels, whose frames or rows are concatenated to one long vector. With 1, all inputs are
            mixed to mono by the mean over their channels, as the project did with stereo.
        hidden_size, num_layers, bidirectional: settings of the LSTM.
        dropout: dropout between its layers.
        attention: "none" uses the last output of each direction, "additive" a mean over all outputs, weighted by
            Bahdanau's attention. Padding after a short sound is ignored.
        head and others: see AudioClassifierConfig.
    """

    model_type = "hf_audio_spectrogram_lstm"
    attribute_map = {"num_hidden_layers": "num_layers"}  # noqa: RUF012

    def __init__(
        self,
        sequence: str = "frames",
        num_mel_bins: int = 128,
        num_frames: int | None = None,
        num_channels: int = 1,
        hidden_size: int = 862,
        num_layers: int = 2,
        dropout: float = 0.5,
        bidirectional: bool = False,
        attention: str = "none",
        **kwargs,
    ) -> None:
        self.sequence, self.num_mel_bins, self.num_frames = sequence, num_mel_bins, num_frames
        self.num_channels = num_channels
        self.hidden_size, self.num_layers, self.dropout = hidden_size, num_layers, dropout
        self.bidirectional, self.attention = bidirectional, attention
        super().__init__(**kwargs)


class SpectrogramLSTM(AudioClassifier):
    """input_values `[batch, frames, bins]`, or `[batch, channels, frames, bins]`."""

    config_class = SpectrogramLSTMConfig

    def __init__(self, config: SpectrogramLSTMConfig) -> None:
        super().__init__(config)
        if config.sequence not in SEQUENCES or config.attention not in ATTENTIONS:
            raise ValueError(
                f"sequence must be one of {', '.join(SEQUENCES)} and attention one of {', '.join(ATTENTIONS)}, "
                f"found {config.sequence!r} and {config.attention!r}"
            )
        if config.sequence == "bins" and not config.num_frames:
            raise ValueError("An LSTM over bins needs num_frames, the length of its windows, which is not set")
        input_size = config.num_frames if config.sequence == "bins" else config.num_mel_bins
        sizes = (config.num_channels * input_size, config.hidden_size, config.num_layers)
        self.lstm = Recurrence("lstm", *sizes, config.dropout, config.bidirectional)
        has_attention = config.attention == "additive"
        self.attention = AdditiveAttention(self.lstm.output_size, config.hidden_size) if has_attention else None
        self.add_head(self.lstm.output_size)

    def embedding_of(self, windows: Windows) -> Tensor:
        steps = self.steps_of(windows.values, windows.num_frames)
        num_steps = windows.num_frames if self.config.sequence == "frames" else None  # no bins are padding
        outputs = self.lstm(steps, windows.layers, num_steps)
        if self.attention is None:
            return self.lstm.last_outputs(outputs, num_steps)
        return self.attention(outputs, None if num_steps is None else are_real(num_steps, steps.shape[1]))

    def steps_of(self, input_values: Tensor, num_frames: Tensor | None = None) -> Tensor:
        """The input of the LSTM, `[batch, steps, inputs]`; padding in mel rows is 0.

        Raises:
            ValueError: the number of dimensions or bins is wrong.
        """
        config = self.config
        reads_bins = config.sequence == "bins"
        if input_values.ndim not in (3, 4) or not (reads_bins or input_values.shape[-1] == config.num_mel_bins):
            bins = "bins" if reads_bins else config.num_mel_bins
            raise ValueError(
                f"Expected windows [batch, frames, {bins}] or [batch, channels, frames, {bins}], "
                f"found {list(input_values.shape)}"
            )
        if input_values.ndim == 4 and config.num_channels == 1:
            input_values = input_values.mean(dim=1)
        images = as_images(input_values, config.num_channels)
        if not reads_bins:
            return images.transpose(1, 2).flatten(2)
        images = images[:, :, : config.num_frames]
        if num_frames is not None:
            images = images.masked_fill(~are_real(num_frames, images.shape[2])[:, None, :, None], 0.0)
        rows = images.permute(0, 3, 1, 2)
        return functional.pad(rows, (0, config.num_frames - rows.shape[3])).flatten(2)


SpectrogramLSTMConfig.register_for_auto_class()
SpectrogramLSTM.register_for_auto_class("AutoModelForAudioClassification")
# Repeats what the imported files import: from a local folder, transformers 4 copies only the files that the main file
# itself imports. From the Hub, it copies all.
from .heads import HEADS  # noqa: E402, F401
from .logit_curves import LogitCurves  # noqa: E402, F401
from .window_losses import cross_entropy  # noqa: E402, F401

AutoConfig.register(SpectrogramLSTMConfig.model_type, SpectrogramLSTMConfig, exist_ok=True)
AutoModelForAudioClassification.register(SpectrogramLSTMConfig, SpectrogramLSTM, exist_ok=True)
