"""Addresses on a page: recordings as files relative to the page, plots embedded in it."""

from __future__ import annotations

import os
from base64 import b64encode
from pathlib import Path
from urllib.parse import quote


def sound_address(path: str | Path, folder: Path, start_s: float = 0.0, end_s: float | None = None) -> str:
    """The address of a part of a recording, for a page in `folder`.

    The part is given as a media fragment (https://www.w3.org/TR/media-frags/#naming-time).
    """
    try:
        address = quote(os.fsencode(Path(os.path.relpath(path, folder)).as_posix()))
    except ValueError:  # another drive on Windows
        address = Path(path).absolute().as_uri()
    if start_s or end_s is not None:
        address += f"#t={start_s:g}" + ("" if end_s is None else f",{end_s:g}")
    return address


def png_address(png: bytes) -> str:
    """A plot as a data URL."""
    return f"data:image/png;base64,{b64encode(png).decode()}"
