"""Measurements of scripts/benchmark_resuming.py, in this process. Speed itself is not tested."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import benchmark_resuming

    monkeypatch.setattr(benchmark_resuming, "FEW_CLIPS", 6)
    yield benchmark_resuming
    for name in ("benchmark_resuming", "_measuring"):
        sys.modules.pop(name, None)


def test_both_variants_read_the_windows_on_the_hub(benchmark, hub, tmp_path):
    num_bytes = benchmark.put_on(hub, tmp_path, 2)
    assert num_bytes > 2 * 1024 * 10_000
    ours, dropped = benchmark.ours(64), benchmark.dropped(64)
    assert {"open_s", "start_s", "half_s", *dropped} == set(ours) and min(*ours.values(), *dropped.values()) > 0


def test_shares_of_processes_contain_every_window_once(benchmark, tmp_path):
    folder = benchmark.write_differing(tmp_path / "features", 1100)
    for rank in range(2):
        benchmark.share(str(folder), rank, 2, str(tmp_path / f"{rank}.npy"))
    shares = [np.load(tmp_path / f"{rank}.npy") for rank in range(2)]
    assert [len(share) for share in shares] == [556, 544] and sorted(np.concatenate(shares)) == list(range(1100))
