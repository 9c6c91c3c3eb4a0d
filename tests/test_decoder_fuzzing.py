"""Thousands of broken files are decoded to finite samples or refused with a reason, without crashing or hanging."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from decoding_process import DecodingProcess
from hypothesis import HealthCheck, Phase, given, settings
from mutated_audio import KINDS, mutated, mutations, original

# Cases are the same in every run. FUZZING_CASES=100000 pytest tests/test_decoder_fuzzing.py draws more, at random.
CASES = os.environ.get("FUZZING_CASES")


@pytest.fixture(scope="module")
def decoder():
    with DecodingProcess() as process:
        yield process


@settings(
    max_examples=int(CASES or 3000),
    derandomize=CASES is None,
    database=None,
    deadline=None,
    phases=[Phase.generate],  # shrinking a hang would take minutes, and cases have few operations
    suppress_health_check=list(HealthCheck),
)
@given(mutation=mutations)
def test_broken_files_are_decoded_or_refused(decoder, tmp_path_factory, mutation):
    kind, operations, suffix = mutation
    path = Path(tmp_path_factory.getbasetemp()) / f"mutated.{suffix or kind}"
    path.write_bytes(mutated(kind, operations))
    fault = decoder.fault(path)
    path.unlink()
    assert not fault, f"{kind} after {operations}, called .{suffix or kind}: {fault}"


@pytest.mark.parametrize("kind", KINDS)
def test_unbroken_files_are_decoded(decoder, tmp_path, kind):
    from hf_audio.data.recordings.audio import read_audio

    path = tmp_path / f"good.{kind}"
    path.write_bytes(original(kind))
    assert not decoder.fault(path)
    assert 0.25 * 16_000 < len(read_audio(path, 16_000)) < 0.4 * 16_000
