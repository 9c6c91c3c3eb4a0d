"""A corpus of 80 short tones, and builds of it that die or meet a full disk: targets for separate processes."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import time
from pathlib import Path

import numpy as np
import soundfile

from hf_audio.data.building.build import build_features
from hf_audio.data.index.labels import LabelSpace
from hf_audio.data.index.table import Clip, CorpusCard, index_of
from hf_audio.errors import InputError
from hf_audio.kinds import WindowExtractor
from hf_audio.kinds._kaldi_fbank import KaldiFbank

CARD = CorpusCard("Tones", license="CC0 1.0", may_redistribute=True)
LABELS = LabelSpace(("high", "low", "middle"), "single_label_classification")
PITCH_HZ = {"high": 2500.0, "low": 200.0, "middle": 800.0}
SPLITS = ["train"] * 7 + ["validation", "test", "test"]
WINDOW_S, HOP_S = 0.3, 0.1  # 11 windows per clip of 1.3 s: 616 for training, in 8 shards


def tone_clips(folder: Path, count: int = 80) -> list[Clip]:
    """Clips of 1.3 s, each with its own group; written to `folder` unless they exist."""
    folder.mkdir(parents=True, exist_ok=True)
    clips = []
    for number in range(count):
        name = LABELS.names[number % 3]
        path = folder / f"{name}_{number:03d}.wav"
        if not path.exists():
            random = np.random.default_rng(number)
            time_s = np.arange(round(1.3 * 16_000)) / 16_000
            tone = 0.3 * np.sin(2 * np.pi * PITCH_HZ[name] * random.uniform(0.8, 1.25) * time_s)
            soundfile.write(path, tone + 0.01 * random.standard_normal(len(tone)), 16_000)
        metadata = {"take": str(number)}
        clips.append(Clip(path, (name,), f"g{number}", path.name, split=SPLITS[number % 10], metadata=metadata))
    return clips


def build(corpus: Path, folder: Path, extractor: WindowExtractor | None = None, **options) -> Path:
    """Builds features of the whole corpus in windows of 0.3 s."""
    options = {"num_workers": 1, "card": CARD, "window_s": WINDOW_S, "hop_s": HOP_S} | options
    return build_features(index_of(tone_clips(corpus)), LABELS, folder, extractor or KaldiFbank(), **options)


class SlowFbank(KaldiFbank):
    """Takes a moment for each batch, so that a build can be killed in the middle."""

    def __call__(self, waveforms):
        time.sleep(0.3)
        return super().__call__(waveforms)


class CountingFbank(KaldiFbank):
    """Declares itself slow, and counts the batches that it computes in this process."""

    times_real_time = 1.0
    batches_here = 0

    def __call__(self, waveforms):
        CountingFbank.batches_here += 1
        return super().__call__(waveforms)


class DyingFbank(KaldiFbank):
    """Kills its process, as the system does when memory runs out."""

    def __call__(self, waveforms):
        os.kill(os.getpid(), signal.SIGKILL)


def build_and_die(
    corpus: Path, folder: Path, renames: int, before: bool, extractor: WindowExtractor | None = None, **options
) -> None:
    """Builds until the given number of files have been renamed to their final names, then dies by SIGKILL.

    Every file of a build is renamed into place, so these are all the states that a resumed build can find.
    """
    rename, done = os.replace, 0

    def replace(source, target):
        nonlocal done
        done += 1
        if before and done == renames:
            os.kill(os.getpid(), signal.SIGKILL)
        rename(source, target)
        if done == renames:
            os.kill(os.getpid(), signal.SIGKILL)

    os.replace = replace
    build(corpus, folder, extractor, **options)


def build_with_largest_file(corpus: Path, folder: Path, largest_bytes: int, num_workers: int, answer: Path) -> None:
    """Builds with a kernel limit on the size of files (EFBIG), and stores the message for the user."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest_bytes, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    _note_error(lambda: build(corpus, folder, num_workers=num_workers), answer)


def build_without_privileges(corpus: Path, folder: Path, answer: Path) -> None:
    """Builds as a user who is subject to permissions, even if started by root, and stores the message for the user."""
    if os.getuid() == 0:  # drop all capabilities of this process: capset(2), version 3
        header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
        assert ctypes.CDLL(None, use_errno=True).capset(header, none) == 0
    _note_error(lambda: build(corpus, folder), answer)


def _note_error(action, answer: Path) -> None:
    note = os.open(answer, os.O_WRONLY | os.O_CREAT)
    try:
        action()
    except InputError as error:
        os.write(note, str(error).encode())
