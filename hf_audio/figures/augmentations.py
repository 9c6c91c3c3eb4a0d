"""A page with all augmentations of one sound, with plots and players."""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import soundfile
import torch
from markupsafe import Markup
from torch import Tensor

from hf_audio.augment import Compose, augmentation_for
from hf_audio.augment.examples import example_augmentations
from hf_audio.augment.waveform import MADE_UP, example_waveform_augmentations, example_waveform_steps
from hf_audio.config import AugmentConfig
from hf_audio.data.index.labels import LabelSpace
from hf_audio.figures.page import Row, Table, inline_plot, page
from hf_audio.gray_images import gray_png
from hf_audio.kinds._kaldi_fbank import KaldiFbank

PEAK = 0.8  # of the played sounds
DRAWN_DB = 60.0  # range of the plots, from the loudest value to white
DECIBELS = 10 / np.log(10)
LABELS = LabelSpace(("this", "other"), "multi_label_classification")


class DroppedPatches(NamedTuple):
    """A patch dropout: its settings of an AugmentConfig, and what it drops of a window, bool `[frames, bins]`."""

    settings: dict[str, float]
    is_dropped: Tensor


def augmentations_page(
    sound: np.ndarray, sample_rate: int, name: str, seed: int = 0, dropped: Mapping[str, DroppedPatches] | None = None
) -> str:
    """The HTML of a self-contained page.

    Args:
        sound: `[samples]`, at least 1 s.
        sample_rate: in Hz.
        name: name of the sound, for the title.
        seed: for all random numbers.
        dropped: what a spectrogram transformer drops, by name.
    """
    windows = torch.from_numpy(np.stack([sound, _other(len(sound), sample_rate)])).float()
    fbank = KaldiFbank(sample_rate)
    top_db = float(fbank(windows).max()) * DECIBELS
    one, other = _shown(windows, sample_rate, top_db)
    heads = ("augmentation", "settings", "listen", "log-mel: time from left to right, loud is dark")
    return page(
        f"Augmentations of {name}",
        f"Each augmentation alone, as applied to a training window of {len(sound) / sample_rate:.1f} s; another seed "
        "gives other draws. All are played at the same peak level: changes in gain are only visible in the plot.",
        Table(heads, [Row(["original", "", *one]), Row(["to mix with", "", *other])]),
        "Augmentations of waveforms:",
        Table(heads, list(_of_waveforms(windows, sample_rate, top_db, seed))),
        "Augmentations of spectrograms, which cannot be played:",
        Table((*heads[:2], heads[3]), list(_of_spectrograms(windows, sample_rate, top_db, seed))),
        "Patch dropout: the white patches are left out in a training step of a spectrogram transformer.",
        Table((*heads[:2], heads[3]), list(_of_patches(windows[:1], sample_rate, top_db, dropped or {}))),
    )


def _of_waveforms(windows: Tensor, sample_rate: int, top_db: float, seed: int) -> Iterator[Row]:
    settings = example_waveform_augmentations()
    for name, steps in example_waveform_steps(sample_rate).items():
        changed = _augmented(Compose(steps, None), windows, seed)[:1]
        yield Row((name, _said(settings[name]), *next(_shown(changed, sample_rate, top_db))))


def _of_spectrograms(windows: Tensor, sample_rate: int, top_db: float, seed: int) -> Iterator[Row]:
    fbank = KaldiFbank(sample_rate)
    features = fbank(windows)
    mean, std = features.mean().item(), features.std().item()
    extractor = fbank.to_feature_extractor(features.shape[1], mean, std)
    inputs = (features - mean) / (2 * std)
    for name, settings in example_augmentations().items():
        augment = augmentation_for(AugmentConfig(**settings), extractor, LABELS)
        changed = _augmented(augment, inputs, seed) * (2 * std) + mean
        yield Row((name, _said(settings), _plot(changed[0], top_db)))


def _of_patches(
    window: Tensor, sample_rate: int, top_db: float, dropped: Mapping[str, DroppedPatches]
) -> Iterator[Row]:
    (log_mel,) = KaldiFbank(sample_rate)(window)
    for name, (settings, is_dropped) in dropped.items():
        yield Row((name, _said(settings), _plot(log_mel.masked_fill(is_dropped, -torch.inf), top_db)))


def _shown(windows: Tensor, sample_rate: int, top_db: float) -> Iterator[tuple[Markup, Markup]]:
    """A player and a plot for each waveform."""
    for sound, log_mel in zip(windows, KaldiFbank(sample_rate)(windows), strict=True):
        yield _player(sound.numpy(), sample_rate), _plot(log_mel, top_db)


def _augmented(augment: Compose, windows: Tensor, seed: int) -> Tensor:
    places = [(seed, 0, number) for number in range(len(windows))]
    num_frames = torch.full((len(windows),), windows.shape[1])
    return augment(windows, torch.eye(len(windows)), num_frames, augment.draw(places))[0]


def _other(num_samples: int, sample_rate: int) -> np.ndarray:
    """A synthetic sound to mix with: a bell every half second."""
    seconds = np.arange(num_samples) / sample_rate
    return 0.3 * np.sin(2 * np.pi * 880.0 * seconds) * np.exp(-8 * (seconds % 0.5))


def made_up_sound(sample_rate: int, duration_s: float = 3.0) -> np.ndarray:
    """A synthetic melody of plucked tones with overtones and a little noise: float32 `[samples]`."""
    seconds = np.arange(round(duration_s * sample_rate)) / sample_rate
    pitch_hz = 220.0 * 2 ** (np.array([0, 4, 7, 12, 7, 4])[(seconds / 0.4).astype(int) % 6] / 12)
    tones = sum(np.sin(2 * np.pi * times * pitch_hz * (seconds % 0.4)) / times for times in range(1, 9))
    noise = np.random.default_rng(0).standard_normal(len(seconds))
    return (0.3 * tones * np.exp(-6 * (seconds % 0.4)) + 0.003 * noise).astype(np.float32)


def _said(settings: dict[str, Any]) -> str:
    """Settings as command-line flags."""
    words = (
        f"--{name} {' '.join(map(str, value)) if isinstance(value, list) else value}"
        for name, value in settings.items()
        if value != MADE_UP
    )
    return " ".join(words)


def _player(sound: np.ndarray, sample_rate: int) -> Markup:
    """A player with the sound embedded as 16-bit FLAC."""
    file = io.BytesIO()
    peak = max(float(np.abs(sound).max()), 1e-9)
    soundfile.write(file, sound * (PEAK / peak), sample_rate, format="FLAC", subtype="PCM_16")
    encoded = b64encode(file.getvalue()).decode()
    return Markup('<audio controls preload="none" src="data:audio/flac;base64,{}"></audio>').format(encoded)


def _plot(log_mel: Tensor, top_db: float) -> Markup:
    """A plot of log energies `[frames, bins]` (natural logarithm), from `top_db` downwards."""
    shade = np.clip((top_db - log_mel.numpy() * DECIBELS) / DRAWN_DB, 0, 1)
    return inline_plot(gray_png(np.ascontiguousarray((255 * shade).astype(np.uint8).T[::-1])))
