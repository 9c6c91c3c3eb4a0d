"""Shared by the benchmarks: makes clips to measure with, times variants in turns, and prints comparisons."""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import soundfile

from hf_audio.data.recordings.audio import AudioError, read_audio

CLIP_S, FILE_RATE, RATE, BATCH = 3.0, 44_100, 16_000, 32
HUB_SERVER = Path(__file__).resolve().parents[1] / "tests" / "hub_server.py"
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def report(what: str, value: float, goal: str = "") -> None:
    print(f"ratio  {what:42} {value:10.3f}  {f'(goal: {goal})' if goal else ''}")


def turns(
    ways: dict[str, Callable[[], object]],
    repeats: int,
    clock: str = "wall",
    figure: Callable[[list[float]], float] = statistics.median,
    *,
    warm_up: bool = False,
) -> dict[str, float]:
    """Seconds of each variant. The variants take turns, so that other load on the machine affects all of them.

    Args:
        ways: the variants.
        repeats: turns of each.
        clock: "wall" or "cpu".
        figure: statistic of a variant's seconds, such as the median or the minimum.
        warm_up: give each variant one extra turn first, which does not count.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(repeats + warm_up):
        for name, way in ways.items():
            start = CLOCKS[clock]()
            way()
            if turn >= warm_up:
                seconds[name].append(CLOCKS[clock]() - start)
    return {name: figure(values) for name, values in seconds.items()}


def write_clips(folder: Path, count: int, data_dir: Path | None) -> list[Path]:
    """3 s WAV files, 44.1 kHz, stereo, 16 bits: cut from recordings, or synthesized."""
    folder.mkdir()
    pieces = recorded_pieces(data_dir, count) if data_dir else map(made_up_piece, range(count))
    paths = []
    for number, mono in zip(range(count), pieces, strict=False):
        right = 0.8 * np.roll(mono, 20) + 0.001 * np.random.default_rng(number).standard_normal(len(mono))
        paths.append(folder / f"{number:05d}.wav")
        soundfile.write(paths[-1], np.stack([mono, right], axis=1).clip(-1, 1), FILE_RATE, subtype="PCM_16")
    return paths or sys.exit(f"error: {data_dir} has no readable audio file")


def recorded_pieces(data_dir: Path, count: int) -> Iterable[np.ndarray]:
    """The first 3 s of recordings spread over the folder; shorter ones are repeated."""
    files = sorted(path for path in data_dir.rglob("*") if path.is_file())
    for path in files[:: max(1, len(files) // count)] + files:
        try:
            yield np.resize(read_audio(path, FILE_RATE), int(CLIP_S * FILE_RATE))
        except AudioError:
            continue


def made_up_piece(seed: int) -> np.ndarray:
    """Decaying harmonic tones with a little noise, which compress like music, unlike noise or a sine."""
    rng, times = np.random.default_rng(seed), np.arange(int(CLIP_S * FILE_RATE)) / FILE_RATE
    mono = 0.003 * rng.standard_normal(len(times))
    for _ in range(6):
        pitch_hz = 55.0 * 2 ** (rng.integers(0, 48) / 12)
        after = np.maximum(times - rng.uniform(0, 0.8 * CLIP_S), 0.0)
        envelope = np.minimum(after / 0.01, 1.0) * np.exp(-after * rng.uniform(1, 4))
        vibrato = 0.1 * np.sin(2 * np.pi * rng.uniform(4, 7) * times)
        for harmonic in range(1, min(20, int(15_000 / pitch_hz))):
            tone = np.sin(harmonic * (2 * np.pi * pitch_hz * times + vibrato))
            mono += 0.1 * harmonic**-1.2 * envelope**harmonic**0.3 * tone
    return mono


def folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def machine() -> str:
    names = [line.split(":")[1] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    return f"{names[0].strip() if names else 'an unknown CPU'}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
