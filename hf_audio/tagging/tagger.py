"""A trained classifier that tags sounds of any length, in blocks of windows, each read as in training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from hf_audio.data.index.labels import LabelSpace
from hf_audio.data.recordings.audio import read_pieces
from hf_audio.data.recordings.reasons import AudioError
from hf_audio.errors import InputError
from hf_audio.sound_predictor import SoundPredictor
from hf_audio.tagging.settings import TagSettings, rule_of, settings_of
from hf_audio.tagging.sounds import Recording, recording_of
from hf_audio.tagging.tags import Tags
from hf_audio.terminal import named_logger
from hf_audio.windows import SampleWindows, stretches

if TYPE_CHECKING:
    from hf_audio.tagging.embeddings import Embeddings

logger = named_logger(__name__)
MAX_PARTS = 32


class Cut(NamedTuple):
    """Some windows of a sound, in their order, at the model's rate.

    Attributes:
        windows: float32 `[samples]` or `[2, samples]` each, all of one length.
        starts_s: float64 `[windows]`, in the sound.
        end_s: where the sound ends, as far as it was decoded.
    """

    windows: list[np.ndarray]
    starts_s: np.ndarray
    end_s: float


@dataclass(frozen=True)
class Block:
    """Some windows of a sound, in their order, as the model reads them.

    Attributes:
        inputs: of the extractor, one entry for each window.
        starts_s: float64 `[windows]`, in the sound.
        end_s: where the sound ends, as far as it was decoded.
    """

    inputs: dict[str, Tensor]
    starts_s: np.ndarray
    end_s: float


@dataclass(frozen=True)
class Prepared:
    """A whole sound, ready for the model.

    Attributes:
        inputs: of all of its windows; they go through `Tagger.logits` together or in parts, with those of others.
        starts_s: float64 `[windows]`.
        duration_s: of the sound.
        recording: what it was.
        settings: how it is tagged.
    """

    inputs: dict[str, Tensor]
    starts_s: np.ndarray
    duration_s: float
    recording: Recording = field(repr=False)
    settings: TagSettings


class Tagger:
    """See `hf_audio.load`.

    Args:
        predictor: a trained classifier with its extractor.
    """

    def __init__(self, predictor: SoundPredictor) -> None:
        self.predictor = predictor
        self._told, self._told_of = False, set()

    @property
    def name(self) -> str:
        """Of the model."""
        return self.predictor.name

    @property
    def labels(self) -> LabelSpace:
        """The classes, in the order of the logits."""
        return self.predictor.labels

    @property
    def sample_rate(self) -> int:
        """That the model hears, in Hz; sounds of another are resampled."""
        return self.predictor.sample_rate

    @property
    def threshold(self) -> float | None:
        """Scores from here on are a yes; None of a model of one label, whose highest class is taken."""
        return self.predictor.decision_threshold if self.labels.is_multi_label else None

    def windows(self, window_s: float | None = None, hop_s: float | None = None) -> SampleWindows:
        """How a sound at `sample_rate` is cut; by default as the model was trained.

        Raises:
            InputError: windows that cannot be.
        """
        return rule_of(self.predictor, self.settings(window_s=window_s, hop_s=hop_s))

    def settings(self, **given: Any) -> TagSettings:
        """What acts, of `window_s`, `hop_s`, `threshold`, `top_k` and `smooth_s`; see `settings_of`.

        Where a model does not say what windows it was trained on, the first call says which are taken.
        """
        found = settings_of(self.predictor, **given)
        if given.get("hop_s") is not None and found.hop_s > found.window_s and found not in self._told_of:
            self._told_of.add(found)
            logger.warning(
                "Windows of %.6g s every %.6g s skip the sound between them; give a smaller hop_s to cover all of it",
                found.window_s,
                found.hop_s,
            )
        if not self._told and self.predictor.usage.window_s is None and given.get("window_s") is None:
            self._told = True
            logger.warning(
                "%s does not say what windows it was trained on: %.6g s are taken, %s; window_s says it otherwise",
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
        """Tags of one sound of any length; a long file is decoded and heard in blocks.

        Args:
            sound: the path of a file, its bytes, a file open for reading, samples `[samples]` or
                `[channels, samples]`, or a row of `datasets`.
            sample_rate: of samples, in Hz.
            window_s, hop_s: length of the windows, and from one to the next; by default as the model was trained.
            threshold: scores from here on make a segment; by default the model's own, and of a model of one label the
                highest class of each window.
            top_k: list so many classes, the highest first.
            smooth_s: over how long the median of the scores is taken; by default the length of a window.

        Raises:
            InputError: a sound that cannot be read, or settings that cannot be.
        """
        settings = self.settings(window_s=window_s, hop_s=hop_s, threshold=threshold, top_k=top_k, smooth_s=smooth_s)
        recording = recording_of(sound, sample_rate)
        starts_s, logits, end_s = [], [], 0.0
        try:
            for block in self.blocks(recording, settings):
                keep(starts_s, block.starts_s)
                keep(logits, self.logits(block.inputs))
                end_s = block.end_s
            return self.tags_of(recording, settings, np.concatenate(starts_s), np.concatenate(logits), end_s)
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
        """What the classifier is given of each window of a sound: vectors to search, cluster or train something on.

        Arguments and errors are those of a call.
        """
        from hf_audio.tagging.embeddings import embedding_of

        return embedding_of(self, recording_of(sound, sample_rate), self.settings(window_s=window_s, hop_s=hop_s))

    def prepared(self, sound: Any, sample_rate: int | None = None, **given: float | None) -> Prepared:
        """A sound of limited length, decoded, resampled and made into the model's inputs: work for any thread.

        Args:
            sound, sample_rate, given: as of `__call__`.

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
        """float32 `[windows, classes]` of inputs of any number of windows of one shape, in one forward."""
        return self.predictor.logits(inputs)

    def tags(self, prepared: Prepared, logits: np.ndarray) -> Tags:
        """Tags of a prepared sound, with the logits of its windows.

        Raises:
            InputError: logits that are not finite.
        """
        recording, starts_s = prepared.recording, prepared.starts_s
        try:
            return self.tags_of(recording, prepared.settings, starts_s, logits, prepared.duration_s)
        except AudioError as error:
            raise unreadable(recording, error) from error

    def tags_of(
        self, recording: Recording, settings: TagSettings, starts_s: np.ndarray, logits: np.ndarray, duration_s: float
    ) -> Tags:
        """Tags of a sound with the logits `[windows, classes]` of all of its windows.

        Raises:
            AudioError: logits that are not finite, as models answer sounds of numbers far outside of [-1, 1].
        """
        check_answer(logits)
        window_s = rule_of(self.predictor, settings).window / self.sample_rate
        return Tags(recording, self.labels, settings, starts_s, window_s, logits, duration_s)

    def blocks(self, recording: Recording, settings: TagSettings) -> Iterator[Block]:
        """The windows of a sound in blocks of at most `batch_size`, whatever its length in flat memory.

        Raises:
            AudioError: a file that cannot be decoded, at its beginning or later.
            InputError: samples that are not sound.
        """
        for cut in self.cuts(recording, settings):
            yield Block(self.predictor.inputs(cut.windows), cut.starts_s, cut.end_s)

    def cuts(self, recording: Recording, settings: TagSettings) -> Iterator[Cut]:
        """The same blocks, decoded and resampled alone: a service makes the inputs of several recordings at once.

        Raises:
            AudioError, InputError: see `blocks`.
        """
        rule, rate, most = rule_of(self.predictor, settings), self.sample_rate, self.predictor.batch_size
        for first, sound in stretches(self._pieces(recording), rule.window, rule.hop, most):
            starts, windows = rule.starts(sound.shape[-1]), rule.cut(sound)
            end_s = (first + sound.shape[-1]) / rate
            for at in range(0, len(windows), most):  # the last stretch has as many as are left
                starts_s = (first + np.array(starts[at : at + most], dtype=np.float64)) / rate
                yield Cut(windows[at : at + most], starts_s, end_s)

    def _pieces(self, recording: Recording) -> Iterator[np.ndarray]:
        """The sound at the model's rate, in pieces `[samples]` or `[2, samples]`."""
        if recording.samples is not None:
            return iter([self.predictor.heard(recording.samples, recording.sample_rate)])
        stretch = (recording.start_s, recording.end_s)
        stereo = self.predictor.is_stereo
        return read_pieces(recording.source, self.sample_rate, *stretch, stereo=stereo, may_be_silent=True)


def keep(parts: list[np.ndarray], part: np.ndarray) -> None:
    """Adds a part behind the others. Many are joined at once: each small one would keep from being reused the memory
    around it, in which inputs of many MB come and go."""
    parts.append(part)
    if len(parts) >= MAX_PARTS:
        parts[:] = [np.concatenate(parts)]


def joined(inputs: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Inputs of several groups of windows of one shape, one behind the other."""
    if len(inputs) == 1:
        return inputs[0]
    return {name: torch.cat([one[name] for one in inputs]) for name in inputs[0]}


def check_answer(values: np.ndarray) -> None:
    """Raises AudioError where what a model says of a sound is not finite, for no score can be made of it."""
    if not np.isfinite(values).all():
        raise AudioError("the model's answers are not finite, perhaps because samples are far outside of [-1, 1]")


def unreadable(recording: Recording, error: AudioError) -> InputError:
    """One sentence for a recording that cannot be tagged."""
    return InputError(
        f"{recording.name or 'The sound'} cannot be tagged ({error.reason}): give a recording, as wav, flac, mp3, ogg; "
        'm4a, webm and the sound of videos need pip install "hf_audio[av]"'
    )
