"""scripts/benchmark_features.py prints all of its comparisons. Speed itself is not tested."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def benchmark(forks):
    """Runs the script, which starts more processes, and returns its output."""

    def run(*argv: object) -> str:
        done = forks.run(ROOT / "scripts/benchmark_features.py", *argv, env=os.environ | {"PYTHONPATH": str(ROOT)})
        assert done.returncode == 0, done.errors[-3000:]
        return done.output

    return run


def test_every_comparison_has_a_line(benchmark):
    output = benchmark("--num_clips", "6", "--repeats", "1")
    ratios = {line[7:50].strip(): float(line[50:60]) for line in output.splitlines() if line.startswith("ratio  ")}
    assert list(ratios) == [
        "build throughput, ours / stock",
        "build throughput, ours / stock, cut",
        "times real time per core, ours",
        "reading rate, ours / stock",
        "reading rate, ours / stock, cut",
        "bytes, ours / WAV",
        "streamed windows per second, in order",
        "streamed windows per second, shuffled",
    ]
    assert 0.03 < ratios["bytes, ours / WAV"] < 0.1
    for step in ("decode", "resample", "feature", "encode", "write"):
        assert step in output
    assert "8-bit storage is off by at most 0.0" in output


def test_two_versions_take_turns(benchmark):
    output = benchmark("--beside", ROOT, "--kinds", "fbank", "--num_clips", "12", "--repeats", "1")
    ratios = {line[7:50].strip(): float(line[50:60]) for line in output.splitlines() if line.startswith("ratio  ")}
    assert list(ratios) == ["build fbank, this / other", "read fbank, this / other"] and min(ratios.values()) > 0
