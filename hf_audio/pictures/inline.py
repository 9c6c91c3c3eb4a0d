"""What HTML pages show of windows and clips: pictures that are part of the page, players of recordings beside it."""

from __future__ import annotations

import html
import os
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import numpy as np

from hf_audio.data.features_dataset import FeatureDataset


def frames_of_rows(features: FeatureDataset) -> Callable[[dict], np.ndarray]:
    """The function that makes `[frames, bins]` of a row: log-mel of waveforms, the first channel of spectrograms."""
    kind, parameters = features.kind, features.parameters
    return lambda row: kind.frames(kind.decode(row)[: row["num_frames"]], parameters)


def inline_picture(png: bytes) -> str:
    """An element that holds the picture itself."""
    return f'<img alt="log-mel" src="data:image/png;base64,{b64encode(png).decode()}">'


def player(path: str | Path, folder: Path, start_s: float = 0.0, end_s: float | None = None) -> str:
    """An element that plays a stretch of a recording, for a page in `folder`.

    The stretch is a media fragment (https://www.w3.org/TR/media-frags/#naming-time).
    """
    try:
        address = quote(os.fsencode(Path(os.path.relpath(path, folder)).as_posix()))
    except ValueError:  # another drive of Windows
        address = Path(path).absolute().as_uri()
    if start_s or end_s is not None:
        address += f"#t={start_s:g}" + ("" if end_s is None else f",{end_s:g}")
    return f'<audio controls preload="none" src="{html.escape(address)}"></audio>'
