"""Measurements of scripts/benchmark_streams.py. Speed itself is not tested."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[1] / "scripts"))
    import benchmark_streams

    monkeypatch.setattr(benchmark_streams, "ROWS_PER_FILE", 8)
    monkeypatch.setattr(benchmark_streams, "ROWS_PER_GROUP", 2)
    yield benchmark_streams
    sys.modules.pop("benchmark_streams")


def test_each_variant_reads_all_recordings(benchmark, hub, tmp_path, monkeypatch):
    from hf_audio.data.building import pieces
    from hf_audio.data.recordings import in_turn

    as_it_is = (pieces.PIECE_BYTES, pieces.PieceBuilder.build, in_turn.sounds)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    addresses, num_bytes = benchmark.push(hub, benchmark.write_clips(tmp_path / "wav", 12, None))
    assert len(addresses) == 12 and num_bytes > 12 * 3 * 44_100 * 4
    ours = benchmark.one_turn("ours", addresses, 1)
    assert 12 * 10_000 < 1e6 * ours["kept_mb"] < 12 * 50_000 and ours["disk_mb"] >= ours["kept_mb"]
    assert ours["memory_mb"] > 100 and ours["cpu_s"] > 0
    assert 0 < benchmark.one_turn("resumed", addresses, 1)["until_next_s"] < 60
    assert as_it_is == (pieces.PIECE_BYTES, pieces.PieceBuilder.build, in_turn.sounds)
    hub.log.clear()
    assert benchmark.one_turn("stock, cut", addresses, 1)["kept_mb"] < 1
    assert hub.log.bytes_sent("GET") > 0.9 * num_bytes
