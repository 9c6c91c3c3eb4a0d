"""The accepted forms of a sound: a path, bytes, a file, samples, a row of `datasets`."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hf_audio.data.recordings.headers import Source
from hf_audio.errors import InputError

ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
# Maximum size of a file that cannot seek, such as a pipe, as it is read into memory.
MAX_PIPED_BYTES = 1 << 30


@dataclass(frozen=True)
class Recording:
    """A sound to decode, or one that is already decoded.

    Attributes:
        name: name for messages and results; "" if it has none.
        source: what it is decoded from; None if there are samples.
        samples: `[samples]` or `[channels, samples]`, at `sample_rate` Hz.
        start_s, end_s: the part of the source to use; `end_s` None is its end.
    """

    name: str = ""
    source: Source | None = None
    samples: np.ndarray | None = None
    sample_rate: int | None = None
    start_s: float = 0.0
    end_s: float | None = None


def recording_of(sound: Any, sample_rate: int | None = None) -> Recording:
    """Turns any of the accepted forms into a Recording.

    Args:
        sound: the path of a file; its bytes; a file open for reading; samples `[samples]` or `[channels, samples]`; or
            a recording of `datasets`: a row with "audio", {"array", "sampling_rate"}, {"bytes", "path"}, or a decoder
            of torchcodec.
        sample_rate: sample rate of samples, in Hz; all other forms have their own.

    Raises:
        InputError: another type, samples without a sample rate, or a sample rate for a sound that has its own.
    """
    if isinstance(sound, Mapping) or hasattr(sound, "get_all_samples"):
        found = _of_row(sound)
    elif isinstance(sound, str | os.PathLike):
        found = _of_path(sound)
    elif isinstance(sound, bytes | bytearray | memoryview):
        found = Recording(source=io.BytesIO(sound))
    elif hasattr(sound, "read"):
        found = _of_file(sound)
    else:
        return _of_samples(sound, sample_rate)
    if sample_rate is not None:
        raise InputError(
            f"sample_rate {sample_rate} was given with a sound that has its own: remove it, or pass samples"
        )
    return found


def _of_path(path: str | os.PathLike) -> Recording:
    name = os.fspath(path)
    if isinstance(name, bytes):
        raise InputError("A path must be a str or a Path; bytes are read as the content of a file")
    if ADDRESS.match(name):
        raise InputError(f"{name} is a web address, which hf_audio does not open: download the file, and use its path")
    return Recording(name, Path(name))


def _of_file(file: Any) -> Recording:
    """A file that can seek is read in place; others, such as pipes, are read into memory."""
    if isinstance(file, io.TextIOBase):
        raise InputError("The file is open as text: open it in binary mode, 'rb'")
    can_seek = getattr(file, "seekable", lambda: False)()
    if can_seek:
        return Recording(source=file)
    content = file.read(MAX_PIPED_BYTES + 1)
    if len(content) > MAX_PIPED_BYTES:
        raise InputError(f"The pipe has more than {MAX_PIPED_BYTES >> 20} MiB: save the sound as a file, and use that")
    return Recording(source=io.BytesIO(content))


def _of_row(row: Any) -> Recording:
    if hasattr(row, "get_all_samples"):  # a decoder of torchcodec, in which `datasets` returns audio
        decoded = row.get_all_samples()
        return _of_samples(np.asarray(decoded.data), decoded.sample_rate)
    if not isinstance(row, Mapping):
        raise InputError(f"The `audio` of a row is not a recording but {type(row).__name__}: skip rows without audio")
    if "audio" in row:
        return _of_row(row["audio"]) if not isinstance(row["audio"], str | bytes) else recording_of(row["audio"])
    if row.get("array") is not None:
        if row.get("sampling_rate") is None:
            raise InputError("A row with an `array` needs its `sampling_rate`, in Hz")
        return _of_samples(row["array"], row["sampling_rate"])
    name = str(row.get("path") or "")
    if row.get("bytes") is not None:
        return Recording(name, io.BytesIO(row["bytes"]))
    if name:
        return _of_path(name)
    raise InputError(
        f"A row of `datasets` needs `audio`, or `array` and `sampling_rate`, or `bytes` or `path`; found "
        f"{', '.join(map(str, row)) or 'nothing'}"
    )


def _of_samples(samples: Any, sample_rate: int | None) -> Recording:
    if sample_rate is None:
        raise InputError("Samples need their sample_rate, in Hz: pass it, or pass a file")
    try:
        samples = np.asarray(samples)
    except (TypeError, ValueError, RuntimeError):
        samples = np.empty(0, dtype=object)
    if samples.dtype == object:
        raise InputError("A sound must be a path, bytes, a file open for reading, samples or a row of `datasets`")
    if samples.ndim == 2 and samples.shape[0] > samples.shape[1]:
        raise InputError(
            f"Samples of shape {samples.shape} would be {samples.shape[0]} channels: channels come first, so use "
            "samples.T"
        )
    return Recording(samples=samples, sample_rate=sample_rate)
