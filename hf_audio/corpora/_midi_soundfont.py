"""The SoundFont of `general_midi`, fixed so that symusic's synthesizer plays it in tune.

In a SoundFont, the header of a sample has its original pitch, and each zone of keys that uses the sample may override
it (generators overridingRootKey, coarseTune, fineTune; SoundFont 2.04 specification, 8.1.2). symusic 0.5 only reads the
header: with TimGM6mb, whose violin and piano rely on zones, it is wrong by up to an octave. Here each such zone gets a
copy of its sample's header with the right pitch.
"""

from __future__ import annotations

import importlib.util
import struct
from pathlib import Path

import numpy as np

from hf_audio.errors import InputError

SAMPLE_ID, ROOT_KEY = 53, 58  # generator operators
GENERATOR = np.dtype([("operator", "<u2"), ("amount", "<i2")])
BAG = np.dtype([("first_generator", "<u2"), ("first_modulator", "<u2")])
INSTRUMENT = np.dtype([("name", "S20"), ("first_bag", "<u2")])
SAMPLE_HEADER = np.dtype(
    [
        ("name", "S20"),
        ("positions_and_rate", "<u4", 5),
        ("pitch", "u1"),
        ("cents", "i1"),
        ("link", "<u2"),
        ("type", "<u2"),
    ]
)


def find_soundfont() -> Path:
    """The General MIDI SoundFont in the package pretty_midi, which is located but not imported.

    Raises:
        InputError: symusic or pretty_midi is not installed.
    """
    package = importlib.util.find_spec("pretty_midi")
    folders = list(package.submodule_search_locations or []) if package else []
    path = Path(folders[0] if folders else ".") / "TimGM6mb.sf2"
    if importlib.util.find_spec("symusic") is None or not path.is_file():
        raise InputError(
            "Rendering the general_midi corpus needs symusic and the SoundFont of pretty_midi, and at least one of "
            'them is not installed; try pip install "hf_audio[demo]"'
        )
    return path


def fixed_soundfont(soundfont: bytes) -> bytes:
    """The same SoundFont, with the tuning of every zone in its sample's header."""
    chunks = _read_chunks(soundfont, soundfont.rindex(b"pdta") + 4, len(soundfont))
    instruments = np.frombuffer(chunks["inst"], INSTRUMENT)
    bags = np.frombuffer(chunks["ibag"], BAG)
    generators = np.frombuffer(chunks["igen"], GENERATOR).copy()
    headers = np.frombuffer(chunks["shdr"], SAMPLE_HEADER)
    samples, terminal = list(headers[:-1]), headers[-1]
    for first_bag, end_bag in zip(instruments["first_bag"], instruments["first_bag"][1:], strict=False):
        of_all_zones: dict[int, int] = {}
        for bag in range(first_bag, end_bag):
            zone = slice(bags["first_generator"][bag], bags["first_generator"][bag + 1])
            own = dict(zip(generators["operator"][zone].tolist(), generators["amount"][zone].tolist(), strict=True))
            if SAMPLE_ID not in own:
                of_all_zones = own
                continue
            root_key = (of_all_zones | own).get(ROOT_KEY, -1)
            if root_key < 0:
                continue
            sample = samples[own[SAMPLE_ID]].copy()
            sample["pitch"] = root_key
            samples.append(sample)
            generators["amount"][zone.stop - 1] = len(samples) - 1  # the sample is a zone's last generator (8.1.3)
    chunks["igen"] = generators.tobytes()
    chunks["shdr"] = np.array([*samples, terminal], SAMPLE_HEADER).tobytes()
    return _with_chunks(soundfont, chunks)


def _read_chunks(soundfont: bytes, start: int, end: int) -> dict[str, bytes]:
    """The chunks of a RIFF list, by name."""
    chunks = {}
    while start < end:
        name, size = struct.unpack_from("<4sI", soundfont, start)
        chunks[name.decode()] = soundfont[start + 8 : start + 8 + size]
        start += 8 + size + size % 2
    return chunks


def _with_chunks(soundfont: bytes, chunks: dict[str, bytes]) -> bytes:
    """The SoundFont with other chunks in its last list, "pdta"."""
    body = b"".join(struct.pack("<4sI", name.encode(), len(chunk)) + chunk for name, chunk in chunks.items())
    head = soundfont[8 : soundfont.rindex(b"pdta") - 8]
    whole = head + struct.pack("<4sI", b"LIST", len(body) + 4) + b"pdta" + body
    return struct.pack("<4sI", b"RIFF", len(whole)) + whole
