"""What HTML pages show of windows and clips: pictures that are part of the page, players of recordings beside it."""

from __future__ import annotations

import html
import os
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import numpy as np
import torch

from hf_audio.data.features_dataset import FeatureDataset
from hf_audio.features.fbank import KaldiFbank


def frames_of_rows(features: FeatureDataset) -> Callable[[dict], np.ndarray]:
    """The function that makes `[frames, bins]` of a row: log-mel of waveforms, the first channel of spectrograms."""
    storage, kind = features.storage, features.kind
    if kind == "waveform":
        fbank = KaldiFbank(features.manifest["extractor"]["sampling_rate"])
        return lambda row: fbank([torch.from_numpy(storage.decode(row)[: row["num_frames"]])])[0].numpy()
    if kind == "spectrogram":
        return lambda row: storage.decode(row)[: row["num_frames"], 0]
    return lambda row: storage.decode(row)[: row["num_frames"]]


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
