"""A remark about recordings with a lower sample rate than the features: they lack frequencies above half of it."""

from __future__ import annotations

import dataclasses

import pyarrow as pa

from hf_audio.data.index.understanding import Understanding
from hf_audio.data.recordings.sampling import sampled

NUM_PROBED_FILES = 200


def with_low_rates(
    understanding: Understanding, clips: pa.Table, sample_rate: int | None, token: str | bool | None = None
) -> Understanding:
    """The understanding, with a remark if recordings in a sample have a rate below `sample_rate` in Hz."""
    if sample_rate is None:
        return understanding
    rates = [info.sample_rate for _, info in sampled(clips, NUM_PROBED_FILES, token).found]
    low = [rate for rate in rates if rate < sample_rate]
    if not low:
        return understanding
    remark = (
        f"{len(low):,} of {len(rates):,} recordings checked have a sample rate below the features' {sample_rate} Hz "
        f"(minimum {min(low)}): they lack frequencies above half their rate, and --sample_rate {max(low)} is enough"
    )
    return dataclasses.replace(understanding, remarks=(*understanding.remarks, remark))
