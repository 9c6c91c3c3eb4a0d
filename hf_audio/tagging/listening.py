"""Scores of a live sound over its most recent window, a few times per second.

sound     ----------------------------------------> now
window              [    most recent window     ]      every hop; shorter at the beginning
                                                |-|    latency: blocks, the resampler, the model
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import soxr

from hf_audio.data.recordings.audio import probe, read_blocks
from hf_audio.data.recordings.reasons import AudioError
from hf_audio.errors import InputError, one_line
from hf_audio.tagging.blocks import check_finite, unreadable
from hf_audio.tagging.settings import TagSettings, rule_of
from hf_audio.tagging.sounds import recording_of
from hf_audio.tagging.tagger import Tagger
from hf_audio.terminal import named_logger

BLOCK_S = 0.02
MAX_WAITING_BLOCKS = 3000  # one minute: if the model lags more than this, the program has stalled
INSTALL = 'pip install "hf_audio[listen]"'
logger = named_logger(__name__)


class Heard(NamedTuple):
    """The scores of the most recent window.

    Attributes:
        time_s: end of the window, from the start of the sound.
        behind_s: latency: time from the end of the window until its scores were ready.
        scores: label → score, the highest first.
        num_skipped: hops skipped since the last result, because the model was too slow.
    """

    time_s: float
    behind_s: float
    scores: dict[str, float]
    num_skipped: int


class Incoming(NamedTuple):
    """A live sound.

    Attributes:
        sample_rate: sample rate in Hz.
        blocks: float32 `[samples, channels]`, yielded as they arrive.
    """

    sample_rate: int
    blocks: Iterable[np.ndarray]


def listen(tagger: Tagger, settings: TagSettings, incoming: Incoming) -> Iterator[Heard]:
    """Scores of the most recent window, every `settings.hop_s`. If the model cannot keep up, hops are skipped.

    If the sound ends within a hop, the window at its end is scored too.
    """
    rolling = _Rolling(tagger, settings, incoming.sample_rate)
    rolling.scores()  # warm-up: the first forward pass takes many times longer
    started_s = time.perf_counter()
    for blocks in _waiting(incoming.blocks):
        for block in blocks:
            rolling.feed(block)
        num_hops = rolling.hops()
        if num_hops:
            yield _heard(rolling, started_s, num_hops - 1)
    rolling.end()
    num_hops = rolling.hops()
    if num_hops or rolling.has_rest:
        yield _heard(rolling, started_s, max(0, num_hops - 1))


def _heard(rolling: _Rolling, started_s: float, num_skipped: int) -> Heard:
    try:
        scores, time_s = rolling.scores(), rolling.time_s
    except AudioError as error:
        raise InputError(f"The sound cannot be classified at {rolling.time_s:.1f} s ({error.reason})") from error
    return Heard(time_s, time.perf_counter() - started_s - time_s, scores, num_skipped)


def microphone(is_stereo: bool, device: str | int | None = None) -> Incoming:
    """The sound of an input device, recorded with sounddevice.

    Args:
        is_stereo: whether the model needs the left and right channels.
        device: its number, or part of its name. Default: the system's input device.

    Raises:
        InputError: sounddevice or PortAudio is not installed, or there is no such device.
    """
    try:
        import sounddevice
    except ImportError as error:
        raise InputError(f"A microphone needs sounddevice: {INSTALL}") from error
    except OSError as error:  # PortAudio is missing; sounddevice's wheels contain it only on Windows and macOS
        raise InputError(
            f"sounddevice cannot be used ({one_line(error)}): install PortAudio, e.g. apt install libportaudio2"
        ) from error
    try:
        described = sounddevice.query_devices(device, "input")
        rate = int(described["default_samplerate"])
        channels = min(2 if is_stereo else 1, described["max_input_channels"])
        stream = sounddevice.InputStream(rate, round(BLOCK_S * rate), device, channels, "float32")
    except (sounddevice.PortAudioError, ValueError) as error:
        raise InputError(
            f"No microphone could be opened ({one_line(error)}): list the devices with python -m sounddevice"
        ) from error
    return Incoming(rate, _recorded(stream))


def file_in_real_time(path: str) -> Incoming:
    """Plays a recording as a live sound, for tests and demonstrations.

    Raises:
        InputError: the recording cannot be read.
    """
    recording = recording_of(path)
    try:
        info = probe(recording.source)
    except AudioError as error:
        raise unreadable(recording, error) from error
    return Incoming(info.sample_rate, _in_real_time(read_blocks(recording.source), info.sample_rate))


class _Rolling:
    """The most recent window of a sound at the model's sample rate."""

    def __init__(self, tagger: Tagger, settings: TagSettings, sample_rate: int) -> None:
        self.tagger, self.settings, self.rule = tagger, settings, rule_of(tagger.predictor, settings)
        self.num_channels = 2 if tagger.predictor.is_stereo else 1
        self.hop = max(1, round(settings.hop_s * tagger.sample_rate))
        self.resampled = None
        if sample_rate != tagger.sample_rate:
            self.resampled = soxr.ResampleStream(sample_rate, tagger.sample_rate, self.num_channels, dtype="float32")
        self.sound = np.zeros((0, self.num_channels), np.float32)
        self.num_samples = self.num_counted = 0

    @property
    def time_s(self) -> float:
        """End of the sound so far."""
        return self.num_samples / self.tagger.sample_rate

    def feed(self, block: np.ndarray) -> None:
        """Adds `[samples, channels]` of the incoming sound."""
        if self.num_channels == 1:
            block = block.mean(axis=1, keepdims=True)
        else:
            block = block[:, [0, min(1, block.shape[1] - 1)]]
        block = np.ascontiguousarray(block, np.float32)
        self._keep(block if self.resampled is None else self.resampled.resample_chunk(block))

    def end(self) -> None:
        """Ends the sound: adds the samples that the resampler still holds."""
        if self.resampled is not None:
            self._keep(self.resampled.resample_chunk(self.sound[:0], last=True))

    @property
    def has_rest(self) -> bool:
        """Whether there are samples after the last hop."""
        return self.num_samples > self.num_counted

    def _keep(self, samples: np.ndarray) -> None:
        self.num_samples += len(samples)
        self.sound = np.concatenate([self.sound, samples])[-self.rule.window :]

    def hops(self) -> int:
        """Number of hops since the last call."""
        num_hops = (self.num_samples - self.num_counted) // self.hop
        self.num_counted += num_hops * self.hop
        return num_hops

    def scores(self) -> dict[str, float]:
        """Scores of the most recent window, the highest first."""
        sound = self.sound.T if self.num_channels == 2 else self.sound[:, 0]
        (window,) = self.rule.cut(sound)
        logits = self.tagger.logits(self.tagger.predictor.inputs([window]))
        check_finite(logits)
        found = self.tagger.labels.probabilities(logits[0])
        order = np.argsort(-found, kind="stable")[: self.settings.top_k]
        return {self.tagger.labels.names[index]: float(found[index]) for index in order}


def _waiting(blocks: Iterable[np.ndarray]) -> Iterator[list[np.ndarray]]:
    """All blocks that have arrived, as soon as there is one. A thread receives them while the model computes."""
    arrived: queue.Queue = queue.Queue(MAX_WAITING_BLOCKS)

    def receive() -> None:
        try:
            for block in blocks:
                arrived.put(block)
            arrived.put(None)
        except BaseException as error:  # raised in the thread that reads the queue
            arrived.put(error)

    threading.Thread(target=receive, daemon=True).start()
    while True:
        found = [arrived.get()]
        while not arrived.empty():
            found.append(arrived.get())
        last = found[-1]
        if not isinstance(last, np.ndarray):
            found.pop()
        if found:
            yield found
        if last is None:
            return
        if isinstance(last, AudioError):
            raise InputError(f"The sound cannot be read to its end ({last.reason})") from last
        if isinstance(last, BaseException):
            raise last


def _recorded(stream) -> Iterator[np.ndarray]:
    """The blocks of a sounddevice input stream."""
    with stream:
        while True:
            block, has_overflowed = stream.read(stream.blocksize)
            if has_overflowed:
                logger.warning("Some microphone input was lost: the machine is too busy")
            yield block


def _in_real_time(blocks: Iterable[np.ndarray], sample_rate: int) -> Iterator[np.ndarray]:
    """Blocks of BLOCK_S, each yielded at the time of its end."""
    started_s, num_samples = time.perf_counter(), 0
    size = max(1, round(BLOCK_S * sample_rate))
    for whole in blocks:
        for at in range(0, len(whole), size):
            block = whole[at : at + size]
            num_samples += len(block)
            time.sleep(max(0.0, started_s + num_samples / sample_rate - time.perf_counter()))
            yield block
