"""A trained classifier that tags sounds of any length, in blocks of windows that are prepared as in training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from torch import Tensor

from hf_audio.data.index.labels import LabelSpace
from hf_audio.data.recordings.audio import read_pieces
from hf_audio.data.recordings.reasons import AudioError
from hf_audio.sound_predictor import SoundPredictor
from hf_audio.tagging.blocks import Block, Cut, Prepared, append, check_finite, joined, unreadable
from hf_audio.tagging.embeddings import Embeddings
from hf_audio.tagging.settings import TagSettings, rule_of, settings_of
from hf_audio.tagging.sounds import Recording, recording_of
from hf_audio.tagging.tags import Tags
from hf_audio.terminal import named_logger
from hf_audio.windows import SampleWindows, stretches

logger = named_logger(__name__)


class Tagger:
    """Tags sounds with a trained classifier; see `hf_audio.load`.

    Args:
        predictor: a trained classifier with its extractor.
    """

    def __init__(self, predictor: SoundPredictor) -> None:
        self.predictor = predictor
        self._warned_of_default, self._warned_of = False, set()

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.predictor.name

    @property
    def labels(self) -> LabelSpace:
        """The classes, in the order of the logits."""
        return self.predictor.labels

    @property
    def sample_rate(self) -> int:
        """Sample rate of the model's input in Hz; other sounds are resampled to it."""
        return self.predictor.sample_rate

    @property
    def threshold(self) -> float | None:
        """Minimum score of a present class; None for a single-label model: the highest-scoring class is present."""
        return self.predictor.decision_threshold if self.labels.is_multi_label else None

    def windows(self, window_s: float | None = None, hop_s: float | None = None) -> SampleWindows:
        """How a sound at `sample_rate` is cut. Default: as in training.

        Raises:
            InputError: the windows are too short or too long for the model.
        """
        return rule_of(self.predictor, self.settings(window_s=window_s, hop_s=hop_s))

    def settings(self, **given: Any) -> TagSettings:
        """The settings in effect, given some of `window_s`, `hop_s`, `threshold`, `top_k` and `smooth_s`.

        See `settings_of`. If the model's config has no window length, the first call logs which length is used.
        """
        found = settings_of(self.predictor, **given)
        if given.get("hop_s") is not None and found.hop_s > found.window_s and found not in self._warned_of:
            self._warned_of.add(found)
            logger.warning(
                "Windows of %.6g s every %.6g s skip the sound between them; use a smaller hop_s to cover all of it",
                found.window_s,
                found.hop_s,
            )
        if not self._warned_of_default and self.predictor.usage.window_s is None and given.get("window_s") is None:
            self._warned_of_default = True
            logger.warning(
                "%s does not say the length of its training windows: using %.6g s, %s; set window_s to change it",
                self.name,
                found.window_s,
                found.origin,
            )
        return found

    def __call__(
        self,
        sound: Any,
        sample_rate: int | None = None,
        *,
        window_s: float | None = None,
        hop_s: float | None = None,
        threshold: float | None = None,
        top_k: int | None = None,
        smooth_s: float | None = None,
    ) -> Tags:
        """Tags one sound of any length; long files are processed in blocks.

        Args:
            sound: the path of a file, its bytes, a file open for reading, samples `[samples]` or
                `[channels, samples]`, or a row of `datasets`.
            sample_rate: sample rate of samples, in Hz.
            window_s, hop_s: length of the windows, and time between their starts. Default: as in training.
            threshold: minimum score of a segment. Default: the model's own; for a single-label model, segments are
                computed from the highest-scoring class of each window.
            top_k: number of classes to list, the highest first.
            smooth_s: width of the median filter over the scores. Default: the window length.

        Raises:
            InputError: the sound cannot be read, or a setting is invalid.
        """
        settings = self.settings(window_s=window_s, hop_s=hop_s, threshold=threshold, top_k=top_k, smooth_s=smooth_s)
        recording = recording_of(sound, sample_rate)
        try:
            return self.tags_of(recording, settings, *self._run(self.logits, recording, settings))
        except AudioError as error:
            raise unreadable(recording, error) from error

    def embed(
        self,
        sound: Any,
        sample_rate: int | None = None,
        *,
        window_s: float | None = None,
        hop_s: float | None = None,
    ) -> Embeddings:
        """The inputs of the classifier layer for each window of a sound: vectors for search, clustering or training.

        Arguments and errors are those of `__call__`.
        """
        settings, recording = self.settings(window_s=window_s, hop_s=hop_s), recording_of(sound, sample_rate)
        try:
            return self.embeddings_of(recording, settings, *self._run(self.embeddings, recording, settings))
        except AudioError as error:
            raise unreadable(recording, error) from error

    def prepared(self, sound: Any, sample_rate: int | None = None, **given: float | None) -> Prepared:
        """Decodes and resamples a sound of limited length and makes the model's inputs, in any thread.

        Args:
            sound, sample_rate, given: see `__call__`.

        Raises:
            InputError: see `__call__`.
        """
        settings, recording = self.settings(**given), recording_of(sound, sample_rate)
        try:
            blocks = list(self.blocks(recording, settings))
        except AudioError as error:
            raise unreadable(recording, error) from error
        starts_s = np.concatenate([block.starts_s for block in blocks])
        return Prepared(joined([block.inputs for block in blocks]), starts_s, blocks[-1].end_s, recording, settings)

    def logits(self, inputs: dict[str, Tensor]) -> np.ndarray:
        """float32 `[windows, classes]` for inputs of any number of windows of one shape, in one forward pass."""
        return self.predictor.logits(inputs)

    def embeddings(self, inputs: dict[str, Tensor]) -> np.ndarray:
        """float32 `[windows, size]`, the inputs of the classifier layer, in one forward pass."""
        return self.predictor.embed(inputs).float().cpu().numpy()

    def tags(self, prepared: Prepared, logits: np.ndarray) -> Tags:
        """Tags of a prepared sound, from the logits of its windows.

        Raises:
            InputError: a logit is not finite.
        """
        recording, starts_s = prepared.recording, prepared.starts_s
        try:
            return self.tags_of(recording, prepared.settings, starts_s, logits, prepared.duration_s)
        except AudioError as error:
            raise unreadable(recording, error) from error

    def tags_of(
        self, recording: Recording, settings: TagSettings, starts_s: np.ndarray, logits: np.ndarray, duration_s: float
    ) -> Tags:
        """Tags of a sound, from the logits `[windows, classes]` of all of its windows.

        Raises:
            AudioError: a logit is not finite, which happens for samples far outside [-1, 1].
        """
        check_finite(logits)
        return Tags(recording, self.labels, settings, starts_s, self._window_s(settings), logits, duration_s)

    def embeddings_of(
        self, recording: Recording, settings: TagSettings, starts_s: np.ndarray, values: np.ndarray, duration_s: float
    ) -> Embeddings:
        """Embeddings of a sound, from the vectors `[windows, size]` of all of its windows.

        Raises:
            AudioError: a value is not finite, see `tags_of`.
        """
        check_finite(values)
        ends_s = np.minimum(starts_s + self._window_s(settings), duration_s)
        return Embeddings(recording.name, starts_s, ends_s, values)

    def blocks(self, recording: Recording, settings: TagSettings) -> Iterator[Block]:
        """The windows of a sound in blocks of at most `batch_size`, in constant memory for any length.

        Raises:
            AudioError: the file cannot be decoded.
            InputError: the samples are not a valid sound.
        """
        for cut in self.cuts(recording, settings):
            yield Block(self.predictor.inputs(cut.windows), cut.starts_s, cut.end_s)

    def cuts(self, recording: Recording, settings: TagSettings) -> Iterator[Cut]:
        """The same blocks, only decoded and resampled: a service prepares the inputs of several recordings at once.

        Raises:
            AudioError, InputError: see `blocks`.
        """
        rule, rate, size = rule_of(self.predictor, settings), self.sample_rate, self.predictor.batch_size
        for first, sound in stretches(self._pieces(recording), rule.window, rule.hop, size):
            starts, windows = rule.starts(sound.shape[-1]), rule.cut(sound)
            end_s = (first + sound.shape[-1]) / rate
            for at in range(0, len(windows), size):  # the last stretch can have more windows
                starts_s = (first + np.array(starts[at : at + size], dtype=np.float64)) / rate
                yield Cut(windows[at : at + size], starts_s, end_s)

    def _run(
        self, answer: Callable[[dict[str, Tensor]], np.ndarray], recording: Recording, settings: TagSettings
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """Starts `[windows]` in s, outputs `[windows, size]`, and the duration in s of a sound, block by block."""
        starts_s: list[np.ndarray] = []
        values: list[np.ndarray] = []
        end_s = 0.0
        for block in self.blocks(recording, settings):
            append(starts_s, block.starts_s)
            append(values, answer(block.inputs))
            end_s = block.end_s
        return np.concatenate(starts_s), np.concatenate(values), end_s

    def _window_s(self, settings: TagSettings) -> float:
        """Length of a window as it is cut, in whole samples."""
        return rule_of(self.predictor, settings).window / self.sample_rate

    def _pieces(self, recording: Recording) -> Iterator[np.ndarray]:
        """The sound at the model's sample rate, in pieces `[samples]` or `[2, samples]`."""
        if recording.samples is not None:
            return iter([self.predictor.heard(recording.samples, recording.sample_rate)])
        stretch = (recording.start_s, recording.end_s)
        stereo = self.predictor.is_stereo
        return read_pieces(recording.source, self.sample_rate, *stretch, stereo=stereo, may_be_silent=True)
