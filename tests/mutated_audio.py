"""Small audio files of every common format, and mutations of their bytes, for fuzzing the decoder."""

from __future__ import annotations

import io
import struct
from functools import cache

import numpy as np
import soundfile
from hypothesis import strategies as st

# name: format, subtype, channels, sample rate
KINDS = {
    "wav16": ("WAV", "PCM_16", 1, 16_000),
    "wav16_stereo": ("WAV", "PCM_16", 2, 44_100),
    "wav8": ("WAV", "PCM_U8", 1, 8_000),
    "wav24": ("WAV", "PCM_24", 2, 44_100),
    "wav_float": ("WAV", "FLOAT", 1, 48_000),
    "wav_double": ("WAV", "DOUBLE", 1, 16_000),
    "wav_6_channels": ("WAVEX", "PCM_16", 6, 48_000),
    "wav_adpcm": ("WAV", "MS_ADPCM", 2, 22_050),
    "wav_ima": ("WAV", "IMA_ADPCM", 1, 22_050),
    "wav_gsm": ("WAV", "GSM610", 1, 8_000),
    "rf64": ("RF64", "PCM_16", 1, 16_000),
    "w64": ("W64", "PCM_24", 2, 48_000),
    "flac": ("FLAC", "PCM_16", 1, 44_100),
    "flac_stereo": ("FLAC", "PCM_24", 2, 48_000),
    "ogg": ("OGG", "VORBIS", 1, 44_100),
    "ogg_stereo": ("OGG", "VORBIS", 2, 48_000),
    "opus": ("OGG", "OPUS", 1, 48_000),
    "mp3": ("MP3", "MPEG_LAYER_III", 1, 44_100),
    "mp3_stereo": ("MP3", "MPEG_LAYER_III", 2, 22_050),
    "aiff": ("AIFF", "PCM_16", 2, 44_100),
    "aiff_float": ("AIFF", "FLOAT", 1, 32_000),
    "au": ("AU", "PCM_16", 1, 16_000),
    "au_law": ("AU", "ULAW", 1, 8_000),
    "caf": ("CAF", "PCM_24", 2, 44_100),
    "caf_alac": ("CAF", "ALAC_16", 1, 44_100),
    "voc": ("VOC", "PCM_U8", 1, 8_000),
    "nist": ("NIST", "PCM_16", 1, 16_000),
}
# offset and size of fields that decide how much is allocated, read or resampled: rates, channels, lengths, block sizes
WAV_FIELDS = [(4, 4), (16, 4), (20, 2), (22, 2), (24, 4), (28, 4), (32, 2), (34, 2), (36, 4), (40, 4), (42, 4)]
FLAC_FIELDS = [(5, 3), (8, 2), (10, 2), (12, 3), (15, 3), (18, 3), (21, 5)]
FIELDS = {
    "wav": WAV_FIELDS,
    "rf64": [(16, 4), (20, 8), (28, 8), (36, 8), *((offset + 36, size) for offset, size in WAV_FIELDS)],
    "w64": [(16, 8), (40, 8), (48, 2), (50, 2), (52, 4), (60, 2), (62, 2), (64, 8), (88, 8), (80, 8)],
    "flac": FLAC_FIELDS,
    "ogg": [(5, 1), (6, 8), (26, 1), (27, 1), (39, 1), (40, 4), (56, 1), (37, 1), (44, 4)],
    "opus": [(6, 8), (26, 1), (36, 1), (37, 1), (38, 2), (40, 4), (44, 2), (46, 1)],
    "mp3": [(0, 4), (44, 4), (48, 4), (40, 4), (36, 4)],
    "aiff": [(4, 4), (16, 4), (20, 2), (22, 4), (26, 2), (28, 2), (30, 8), (38, 4), (42, 4), (46, 8), (16, 8)],
    "au": [(4, 4), (8, 4), (12, 4), (16, 4), (20, 4)],
    "caf": [(8, 4), (12, 8), (20, 8), (28, 4), (32, 4), (36, 4), (40, 4), (44, 4), (48, 4), (56, 8)],
    "voc": [(20, 2), (26, 1), (27, 3), (30, 1), (31, 1)],
    "nist": [(8, 8), (40, 4), (70, 8)],
}
EXTREMES = ("zero", "one", "all ones", "largest", "most negative", "small", "random")
SUFFIXES = "wav flac ogg mp3 aiff au caf raw snd vox gsm sds WAV m4a txt sd2".split()  # noqa: SIM905
DURATION_S = 0.3


@cache
def original(kind: str) -> bytes:
    """A valid file of this kind: a tone in noise."""
    container, subtype, channels, rate = KINDS[kind]
    time_s = np.arange(round(DURATION_S * rate)) / rate
    noise = 0.02 * np.random.default_rng(0).standard_normal((len(time_s), channels))
    written = io.BytesIO()
    tone = 0.3 * np.sin(2 * np.pi * 440 * time_s)[:, None]
    soundfile.write(written, tone + noise, rate, format=container, subtype=subtype)
    return written.getvalue()


def _fields(kind: str) -> list[tuple[int, int]]:
    return FIELDS[max((name for name in FIELDS if kind.startswith(name)), key=len)]


_position = st.one_of(st.integers(0, 120), st.integers(0, 1 << 20))  # most fragile bytes are near the start
_span = st.one_of(st.integers(1, 16), st.integers(1, 5000))
_operations = st.one_of(
    st.tuples(st.just("field"), st.integers(0, 15), st.sampled_from(EXTREMES), st.integers(0, (1 << 64) - 1)),
    st.tuples(st.just("flip"), _position, st.integers(0, 7)),
    st.tuples(st.just("number"), _position, st.sampled_from([1, 2, 3, 4, 8]), st.sampled_from(EXTREMES), st.booleans()),
    st.tuples(st.just("truncate"), _position),
    st.tuples(st.just("delete"), _position, _span),
    st.tuples(st.just("insert"), _position, st.binary(min_size=1, max_size=24)),
    st.tuples(st.just("repeat"), _position, _span, st.integers(1, 4)),
    st.tuples(st.just("fill"), _position, _span, st.sampled_from([0, 0xFF, 0x80, 0x7F])),
    st.tuples(st.just("splice"), _position, st.sampled_from(sorted(KINDS)), _position),
)
# a file: its original kind, a sequence of operations, and its suffix
mutations = st.tuples(
    st.sampled_from(sorted(KINDS)), st.lists(_operations, min_size=1, max_size=4), st.sampled_from([None, *SUFFIXES])
)


def mutated(kind: str, operations: list[tuple]) -> bytes:
    """The bytes of `original(kind)` after the operations that `mutations` drew."""
    content = bytearray(original(kind))
    for name, *values in operations:
        if not content:
            break
        if name == "field":
            choice, extreme, number = values
            offset, size = _fields(kind)[choice % len(_fields(kind))]
            # little-endian in the RIFF family; most extremes are the same in both byte orders
            content[offset : offset + size] = _extreme(extreme, size, kind.startswith(("aiff", "au", "caf")), number)
            continue
        at = values[0] % len(content)
        if name == "flip":
            content[at] ^= 1 << values[1]
        elif name == "number":
            content[at : at + values[1]] = _extreme(values[2], values[1], values[3], at)
        elif name == "truncate":
            del content[at:]
        elif name == "delete":
            del content[at : at + values[1]]
        elif name == "insert":
            content[at:at] = values[1]
        elif name == "repeat":
            content[at:at] = content[at : at + values[1]] * values[2]
        elif name == "fill":
            content[at : at + values[1]] = bytes([values[2]]) * len(content[at : at + values[1]])
        else:
            other = original(values[1])
            content[at:] = other[values[2] % len(other) :]
    return _with_checksums(content) if kind.startswith(("ogg", "opus")) else bytes(content)


def _extreme(name: str, size: int, big_endian: bool, number: int) -> bytes:
    value = {
        "zero": 0,
        "one": 1,
        "all ones": (1 << 8 * size) - 1,
        "largest": (1 << (8 * size - 1)) - 1,
        "most negative": 1 << (8 * size - 1),
        "small": number % 2048,
        "random": number * 2654435761,
    }[name]
    return (value % (1 << 8 * size)).to_bytes(size, "big" if big_endian else "little")


def _with_checksums(content: bytearray) -> bytes:
    """Ogg pages with updated checksums: without them, readers would skip every changed page."""
    at = 0
    while at + 27 <= len(content) and content[at : at + 4] == b"OggS":
        num_segments = content[at + 26]
        length = 27 + num_segments + sum(content[at + 27 : at + 27 + num_segments])
        content[at + 22 : at + 26] = bytes(4)
        content[at + 22 : at + 26] = struct.pack("<I", _ogg_checksum(content[at : at + length]))
        at += length
    return bytes(content)


@cache
def _ogg_table() -> list[int]:
    table = []
    for byte in range(256):
        value = byte << 24
        for _ in range(8):
            value = (value << 1) ^ (0x04C11DB7 if value & 0x80000000 else 0)
        table.append(value & 0xFFFFFFFF)
    return table


def _ogg_checksum(page: bytes) -> int:
    table, value = _ogg_table(), 0
    for byte in page:
        value = ((value << 8) & 0xFFFFFFFF) ^ table[(value >> 24) ^ byte]
    return value
