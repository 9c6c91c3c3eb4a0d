"""scripts/benchmark_augmentations.py prints the cost of every example, and what patch dropout saves."""

from __future__ import annotations

from pathlib import Path

from hf_audio.augment.examples import example_augmentations
from hf_audio.augment.waveform.examples import example_waveform_augmentations

ROOT = Path(__file__).parents[1]


def test_each_example_is_timed_with_a_training_step(forks):
    flags = ("--models", "ast-mini", "--batch_size", "8", "--num_frames", "64", "--rounds", "1", "--threads", "1")
    done = forks.run(ROOT / "scripts/benchmark_augmentations.py", *flags, cwd=ROOT)
    assert done.returncode == 0, done.errors
    rows = [line.split(" | ") for line in done.output.splitlines() if line.startswith("| ")]
    found = {row[0].removeprefix("| "): row[1:] for row in rows}
    assert found.keys() >= example_augmentations().keys() | example_waveform_augmentations().keys()
    assert 0 < float(found["mixup"][1].rstrip(" |")) < 1 and float(found["half of the columns"][0].rstrip(" |")) > 0
