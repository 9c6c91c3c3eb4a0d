"""The sound of clips and mixtures: parts are decoded, matched in tempo or pitch, brought to one level, and added."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import soxr
import torch
from torchaudio.functional import phase_vocoder

from hf_audio.data.index.mixtures import mixture_s
from hf_audio.data.index.table import Clip, MixPart, rows_of
from hf_audio.data.recordings.audio import SILENT_PEAK, AudioError, probe, read_audio
from hf_audio.data.recordings.headers import Source
from hf_audio.errors import printable
from hf_audio.files import write_atomically
from hf_audio.kinds.waveform import encode_waveform
from hf_audio.terminal import named_logger, progress

# A quarter faster or slower, a major third up or down: beyond that, an instrument no longer sounds like itself
MAX_STRETCH = 1.25
MAX_SEMITONES = 4
# Minimum rise of the mean mel band from one frame to the next that counts as a beat
MIN_ONSET_DB = 0.5
ONSET_FFT = 2048  # FFT length in samples of librosa's onset detection
FFT_S = 0.08  # FFT length of the phase vocoder, rounded to a power of two samples
FADE_S = 0.01  # a part that begins late fades in, because a step would click
FULL_SCALE = 0.999
MAX_NAME_BYTES = 200
NO_FILE_NAME = str.maketrans('/\\:*?"<>|', "_________")

logger = named_logger(__name__)


def read_clip(
    clip: Clip,
    sample_rate: int,
    window_s: float | None = None,
    *,
    stereo: bool = False,
    source: Source | None = None,
) -> np.ndarray:
    """The sound of a clip: decoded from its file, or mixed from its parts.

    A mixture is as long as its shortest part, at most LONGEST_MIXTURE_S. Only a stretch of a longer part is used. The
    first part begins with the mixture; each other part begins later by its share `late` of a window, so that every
    window of the mixture has all parts. Each part gets the RMS level of the first over the stretch used, plus
    its `gain_db`. The sum is brought to that level too, because otherwise loudness would reveal the number of parts,
    and is kept below full scale.

    Args:
        clip: with or without `parts`.
        sample_rate: in Hz.
        window_s: length of the windows that will be cut; None treats the mixture as one window.
        stereo: left and right channels instead of their mean.
        source: what to decode from, if the clip is not a mixture; None for its file.

    Returns:
        float32, `[samples]`, or `[2, samples]` if `stereo`.

    Raises:
        AudioError: see `read_audio`; for a mixture, it names the part.
    """
    if not clip.parts:
        source = clip.path if source is None else source
        return read_audio(source, sample_rate, clip.start_s, clip.end_s, stereo=stereo)
    sounds = _matched(_read_parts(clip, sample_rate, stereo), clip.match, sample_rate)
    length = min(sound.shape[-1] for sound in sounds)
    window = length if window_s is None else min(length, round(window_s * sample_rate))
    mixture, level = np.zeros((*sounds[0].shape[:-1], length), np.float32), None
    for part, sound in zip(clip.parts, sounds, strict=True):
        late = round(part.late * window)
        heard = sound[..., : length - late]
        rms = _rms(heard)
        if rms < SILENT_PEAK:
            raise AudioError(f"made of {part.clip_id}, which is silent in the part used")
        level = level or rms
        heard = heard * np.float32(level / rms * 10 ** (part.gain_db / 20))
        fade = min(round(FADE_S * sample_rate), heard.shape[-1]) if late else 0
        heard[..., :fade] *= np.linspace(0, 1, fade, dtype=np.float32)
        mixture[..., late:] += heard
    peak = float(np.abs(mixture).max())
    return mixture * np.float32(min(level / max(_rms(mixture), SILENT_PEAK), FULL_SCALE / max(peak, SILENT_PEAK)))


def write_mixtures(mixtures: pa.Table, folder: Path, sample_rate: int = 44_100) -> list[Path]:
    """Writes mixtures as FLAC files to listen to, each named after its number, classes and shared metadata.

    Returns:
        The files; mixtures that cannot be made are skipped with a warning.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for clip in progress(rows_of(mixtures), total=len(mixtures), desc="mixtures", unit=" clips"):
        shared = map(str, clip.metadata.values())
        name = printable(" ".join([clip.clip_id, "+".join(clip.labels), *shared])).translate(NO_FILE_NAME)
        name = name.encode()[:MAX_NAME_BYTES].decode(errors="ignore") + ".flac"
        try:
            sound = encode_waveform(read_clip(clip, sample_rate), sample_rate)
        except AudioError as error:
            logger.warning("%s is skipped: it is %s", clip.clip_id, error.reason)
            continue
        write_atomically(folder / name, sound)
        written.append(folder / name)
    return written


def _read_parts(clip: Clip, sample_rate: int, stereo: bool) -> list[np.ndarray]:
    """As much of each part as the mixture needs, and a little more if tempi are matched."""
    lengths_s = []
    for part in clip.parts:
        with _naming(part):
            lengths_s.append(_seconds(part))
    needed_s = mixture_s(lengths_s) * (MAX_STRETCH if clip.match == "tempo" else 1)
    sounds = []
    for part, length_s in zip(clip.parts, lengths_s, strict=True):
        start_s = part.start_s + part.skip * max(0.0, length_s - needed_s)
        end_s = part.end_s if length_s <= needed_s else start_s + needed_s
        with _naming(part):
            sounds.append(read_audio(part.path, sample_rate, start_s, end_s, stereo=stereo))
    return sounds


@contextlib.contextmanager
def _naming(part: MixPart) -> Iterator[None]:
    """Makes an error of a part an error of the mixture."""
    try:
        yield
    except AudioError as error:
        raise AudioError(f"made of {part.clip_id}, which is {error.reason}") from error


def _seconds(part: MixPart) -> float:
    file_s = probe(part.path).duration_s
    if file_s <= part.start_s:
        raise AudioError(f"too short: it ends at {file_s:.2f} s, before {part.start_s:.2f} s")
    return (file_s if part.end_s is None else min(part.end_s, file_s)) - part.start_s


def _rms(sound: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(sound, dtype=np.float64)))) if sound.size else 0.0


def _matched(sounds: list[np.ndarray], match: str, sample_rate: int) -> list[np.ndarray]:
    """The parts, matched to one tempo or to the pitch of the first."""
    if match == "tempo":
        ratios = speeds(sounds, sample_rate)
        return [stretched(sound, ratio, sample_rate) for sound, ratio in zip(sounds, ratios, strict=True)]
    if match == "pitch":
        steps = semitones(sounds, sample_rate)
        return [shifted(sound, step, sample_rate) for sound, step in zip(sounds, steps, strict=True)]
    return sounds


def speeds(sounds: Sequence[np.ndarray], sample_rate: int) -> list[float]:
    """The factor by which to speed up each sound, so that all have the median of their tempi.

    Twice or half a tempo counts as the same tempo. The factor is 1 for a sound that has no beat, or that would have to
    be stretched by more than MAX_STRETCH. Beats are not aligned.
    """
    tempi = np.array([tempo_bpm(_mono(sound), sample_rate) for sound in sounds])
    if not (tempi > 0).any():
        return [1.0] * len(tempi)
    reference = tempi[tempi > 0][0]
    folded = np.where(tempi > 0, tempi, reference)
    folded = folded * 2.0 ** np.round(np.log2(reference / folded))
    found = np.median(folded[tempi > 0]) / folded
    keeps = (tempi <= 0) | (np.maximum(found, 1 / found) > MAX_STRETCH)
    return np.where(keeps, 1.0, found).tolist()


def semitones(sounds: Sequence[np.ndarray], sample_rate: int) -> list[float]:
    """By how many semitones to shift each sound, at most MAX_SEMITONES, to match key and tuning of the first.

    The best shift is the one with the highest correlation of pitch classes.
    """
    tunings, chromas = zip(*(tuned_chroma(_mono(sound), sample_rate) for sound in sounds), strict=True)
    wanted = [0.0]
    for tuning, chroma in zip(tunings[1:], chromas[1:], strict=True):
        steps = sorted(range(-MAX_SEMITONES, MAX_SEMITONES + 1), key=abs)  # the smallest of equally good ones
        alike = [np.dot(_centered(np.roll(chroma, step)), _centered(chromas[0])) for step in steps]
        step = steps[int(np.argmax(alike))] + tunings[0] - tuning
        wanted.append(float(np.clip(step, -MAX_SEMITONES, MAX_SEMITONES)))
    return wanted


def tempo_bpm(waveform: np.ndarray, sampling_rate: int) -> float:
    """Beats per minute of `[samples]`, to about 1 % at 100; 0 if there are no onsets. For 3 s of sound it is a guess.

    It is the autocorrelation of onset strength every 10 ms, with librosa's preference for tempi around 120.
    """
    from hf_audio.extractors.compiled_librosa import librosa

    hop_samples = round(sampling_rate / 100)
    onsets = librosa.onset.onset_strength(y=_at_least(waveform, ONSET_FFT), sr=sampling_rate, hop_length=hop_samples)
    if not (onsets[10:-10] > MIN_ONSET_DB).any():  # the beginning of a recording is not a beat
        return 0.0
    return float(librosa.feature.tempo(onset_envelope=onsets, sr=sampling_rate, hop_length=hop_samples)[0])


def tuned_chroma(waveform: np.ndarray, sampling_rate: int) -> tuple[float, np.ndarray]:
    """Tuning of `[samples]` in semitones from concert pitch, -0.5 to 0.5, and pitch classes, float32 `[12]` from C."""
    from hf_audio.extractors.compiled_librosa import librosa

    fft = {"sr": sampling_rate, "n_fft": 2 ** round(np.log2(0.2 * sampling_rate))}
    waveform = _at_least(waveform, fft["n_fft"])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Trying to estimate tuning from empty frequency set")  # silence has none
        tuning = float(librosa.estimate_tuning(y=waveform, **fft))
    return tuning, librosa.feature.chroma_stft(y=waveform, tuning=tuning, **fft).mean(axis=1)


def _at_least(waveform: np.ndarray, num_samples: int) -> np.ndarray:
    waveform = np.asarray(waveform, dtype=np.float32)
    return np.pad(waveform, (0, max(0, num_samples - len(waveform))))


def stretched(sound: np.ndarray, speed: float, sample_rate: int) -> np.ndarray:
    """`[..., samples]` played `speed` times faster at the same pitch, by a phase vocoder."""
    if speed == 1:
        return sound
    n_fft = 2 ** round(np.log2(FFT_S * sample_rate))
    hop, window = n_fft // 4, torch.hann_window(n_fft)
    flat = torch.from_numpy(np.ascontiguousarray(sound)).reshape(-1, sound.shape[-1])
    spectra = torch.stft(flat, n_fft, hop, window=window, return_complex=True, pad_mode="constant")
    advance = torch.linspace(0, np.pi * hop, n_fft // 2 + 1)[:, None]
    spectra = phase_vocoder(spectra, speed, advance)
    length = max(1, round(sound.shape[-1] / speed))
    return torch.istft(spectra, n_fft, hop, window=window, length=length).reshape(*sound.shape[:-1], length).numpy()


def shifted(sound: np.ndarray, steps: float, sample_rate: int) -> np.ndarray:
    """`[..., samples]` shifted up by `steps` semitones, with the same length: stretched, then resampled."""
    if abs(steps) < 0.01:
        return sound
    ratio = 2.0 ** (steps / 12)
    longer = stretched(sound, 1 / ratio, sample_rate)
    shorter = soxr.resample(np.ascontiguousarray(longer.T), ratio * sample_rate, sample_rate).T
    return np.ascontiguousarray(shorter[..., : sound.shape[-1]], dtype=np.float32)


def _mono(sound: np.ndarray) -> np.ndarray:
    return sound if sound.ndim == 1 else sound.mean(axis=0)


def _centered(chroma: np.ndarray) -> np.ndarray:
    return chroma - chroma.mean()
