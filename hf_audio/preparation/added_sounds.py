"""Recordings for waveform augmentation: background sounds, and impulse responses of rooms."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hf_audio.augment.waveform import SYNTHETIC, AddedSounds, SoundPool, waveform_steps
from hf_audio.config import DataConfig, FeatureConfig, WaveformAugmentConfig
from hf_audio.corpora import corpus_named, corpus_names
from hf_audio.corpora.folder import Reading
from hf_audio.data.index.table import rows_of
from hf_audio.data.recordings.audio import AudioError, read_audio
from hf_audio.errors import InputError, nearest_name
from hf_audio.preparation.extractors import window_extractor
from hf_audio.preparation.read_corpora import recordings
from hf_audio.privacy import last_name
from hf_audio.ranks import from_first_process
from hf_audio.tagging.found_files import found_files
from hf_audio.terminal import named_logger

MAX_CLIP_S = 10.0  # per recording, from its start
MAX_POOL_S = 1200.0  # in total: 38 MB at 16 bits and 16 kHz
BY_SAMPLE_RATE = ("shift", "low_pass", "high_pass", "band_pass", "codec")  # not possible at every sample rate
MAX_RESPONSE_S = 2.0  # of an impulse response, from its direct sound

logger = named_logger(__name__)


class Stretch(NamedTuple):
    """A recording, or a part of it."""

    path: str
    start_s: float = 0.0
    end_s: float | None = None


def require_added_sounds(
    config: WaveformAugmentConfig, data: DataConfig, features: FeatureConfig | None = None
) -> None:
    """Refuses, before anything is read, missing sounds, sounds that are also trained or tested on, and augmentation
    that is not possible at the sample rate.

    Args:
        features: the features to build; None: they exist already, and their sample rate is not known yet.

    Raises:
        InputError: says what was found.
    """
    if features and any(getattr(config, f"wave_{what}_probability") for what in BY_SAMPLE_RATE):
        alone = dataclasses.replace(config, background=None, impulse_responses=None)
        waveform_steps(alone, window_extractor(features).sample_rate)
    name = config.background
    if name and not _is_corpus(name):
        _require_apart(_folder(name, "background", "the name of a corpus or a folder of recordings"), data)
    if name and _is_corpus(name) and _is_trained_on(name, data) and not _has_known_split(data):
        raise _same(name)
    if config.background_dir and not (name and _is_corpus(name)):
        raise InputError(
            f"--background_dir {config.background_dir} is the folder of a corpus that --background must name: add it, "
            "e.g. --background esc50, or give the folder itself as --background"
        )
    if config.impulse_responses not in (None, SYNTHETIC):
        _folder(config.impulse_responses, "impulse_responses", f"a folder of recordings or {SYNTHETIC}")


def added_sounds(
    config: WaveformAugmentConfig,
    data: DataConfig,
    manifest: Mapping[str, Any],
    sample_rate: int,
    stored_features: bool = False,
) -> AddedSounds:
    """The sounds for these settings, read and resampled.

    Args:
        data: the data to train on.
        manifest: of its features, which names their corpora.
        sample_rate: in Hz.
        stored_features: whether the features were built before, with unknown settings.

    Raises:
        InputError: see `require_added_sounds`; or none of the recordings can be read.
    """
    require_added_sounds(config, data)
    background = rooms = None
    if config.background and config.wave_background_probability:
        is_own = _is_corpus(config.background) and _is_trained_on(config.background, data, manifest)
        if is_own and (stored_features or not _has_known_split(data)):
            raise _same(config.background)
        background = _background(config, sample_rate, "train" if is_own else None)
    if config.impulse_responses not in (None, SYNTHETIC) and config.wave_reverb_probability:
        rooms = _rooms(config.impulse_responses, sample_rate)
    return AddedSounds(background, rooms)


def _background(config: WaveformAugmentConfig, sample_rate: int, split: str | None) -> SoundPool:
    """Recordings from a folder, or from one split or all of a corpus."""
    given = config.background
    if not _is_corpus(given):
        sounds = _read(_stretches_below(given), sample_rate, f"--background {last_name(given)}")
        return SoundPool.of(last_name(given), sounds, sample_rate)
    corpus = corpus_named(given)
    root = from_first_process(lambda: recordings(given, config.background_dir, "--background_dir"))
    clips = list(rows_of(corpus.read(root, Reading())[0]))
    if split and not {split, "validation"} <= {
        one.split for one in clips
    }:  # otherwise, some clips would be in validation
        raise _same(given)
    stretches = [Stretch(one.path, one.start_s, one.end_s) for one in clips if split in (None, one.split)]
    sounds = _read(stretches, sample_rate, f"--background {given}")
    return SoundPool.of(corpus.card.name, sounds, sample_rate, corpus.card.license)


def _rooms(folder: str, sample_rate: int) -> SoundPool:
    sounds = _read(_stretches_below(folder), sample_rate, f"--impulse_responses {last_name(folder)}")
    return SoundPool.of(last_name(folder), [_from_direct_sound(one, sample_rate) for one in sounds], sample_rate)


def _from_direct_sound(response: np.ndarray, sample_rate: int) -> np.ndarray:
    """An impulse response from its loudest sample on, so that it does not delay the sound."""
    first = int(np.abs(response).argmax())
    return response[first : first + round(MAX_RESPONSE_S * sample_rate)]


def _stretches_below(folder: str) -> list[Stretch]:
    return [Stretch(one.path) for one in found_files([os.path.expanduser(folder)])]


def _read(stretches: Iterable[Stretch], sample_rate: int, flag: str) -> list[np.ndarray]:
    """Audio of recordings in a fixed random order, until there is enough."""
    stretches = sorted(stretches)
    order = np.random.default_rng(0).permutation(len(stretches))
    sounds, seconds, failed = [], 0.0, []
    for place in order:
        path, start_s, end_s = stretches[place]
        last_s = start_s + MAX_CLIP_S if end_s is None else min(end_s, start_s + MAX_CLIP_S)
        try:
            sounds.append(read_audio(path, sample_rate, start_s, last_s))
        except AudioError as error:
            failed.append(f"{last_name(path)} ({error})")
            continue
        seconds += len(sounds[-1]) / sample_rate
        if seconds >= MAX_POOL_S:
            break
    if not sounds:
        raise InputError(
            f"{flag} has {len(stretches)} recordings, none of which can be used, first {failed[0]}: give others"
        )
    num_tried = len(sounds) + len(failed)
    if num_tried < len(stretches):
        logger.warning(
            "%s: %d of %d recordings are used, chosen at random, with their first %g s: the maximum is %g min in total",
            *(flag, len(sounds), len(stretches), MAX_CLIP_S, MAX_POOL_S / 60),
        )
    if failed:
        logger.warning("%s: %d recordings are left out, first %s", flag, len(failed), failed[0])
    return sounds


def _is_corpus(name: str) -> bool:
    return name in corpus_names() and name != "folder"


def _folder(given: str, flag: str, expected: str) -> Path:
    folder = Path(given).expanduser()
    if not folder.is_dir():
        near = nearest_name(given, [name for name in corpus_names() if name != "folder"])
        hint = f"did you mean {near!r}?" if near and flag == "background" else "give one that exists"
        raise InputError(f"--{flag} {given} does not exist, expected {expected}: {hint}")
    return folder


def _require_apart(folder: Path, data: DataConfig) -> None:
    """Refuses a folder with recordings of the dataset itself, some of which are tested on."""
    own = os.path.realpath(folder)
    for name in ("data_dir", "dataset"):
        given = getattr(data, name)
        for one in [given] if isinstance(given, str) else given or []:
            other = os.path.realpath(os.path.expanduser(one))
            if os.path.isdir(other) and os.path.commonpath([own, other]) in (own, other):
                raise InputError(
                    f"--background {folder} overlaps with the recordings of --{name} {one}: test recordings would be "
                    "used in training; give a folder of other recordings"
                )


def _is_trained_on(name: str, data: DataConfig, manifest: Mapping[str, Any] | None = None) -> bool:
    """Whether features are built from a corpus, other than as negatives, which are never tested on."""
    corpora = [data.corpus] if isinstance(data.corpus, str) else list(data.corpus or ())
    card = (manifest or {}).get("corpus", {})
    titles = [card["name"]] if card.get("name") else [other["name"] for other in card.get("others", ())]
    return name in corpora or (corpus_named(name).card.name in titles and name != data.negatives)


def _has_known_split(data: DataConfig) -> bool:
    """Whether the train split is the corpus's own train split."""
    return data.split == "official" and not (data.fold or data.num_folds or data.test_groups)


def _same(name: str) -> InputError:
    return InputError(
        f"--background {name} is the corpus that is trained on, and without its official splits, validation and test "
        "clips would be used in training: name another corpus"
    )
