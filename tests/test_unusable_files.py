"""Unusable files: each is listed with its reason, none is dropped silently, and none stops a build."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import shutil
from pathlib import Path

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from tone_corpus import CARD, HOP_S, LABELS, WINDOW_S, tone_clips

from hf_audio.data.building.build import build_features
from hf_audio.data.building.plan import places_in_order
from hf_audio.data.index.labels import LabelSpace
from hf_audio.data.index.table import Clip, index_of
from hf_audio.data.loading.features_dataset import load_features
from hf_audio.errors import InputError
from hf_audio.kinds._kaldi_fbank import KaldiFbank


def table(folder: Path, split: str) -> list[dict]:
    return [row for path in sorted(folder.glob(f"data/{split}-*.parquet")) for row in pq.read_table(path).to_pylist()]


def broken_clips(folder: Path, label: str = "low") -> list[Clip]:
    """One training clip per kind of defect."""
    folder.mkdir()
    (folder / "empty.wav").write_bytes(b"")
    (folder / "unreadable.wav").write_bytes(b"what is this")
    soundfile.write(folder / "silent.wav", np.zeros(16_000), 16_000)
    soundfile.write(folder / "short.wav", np.full(399, 0.1), 16_000)
    soundfile.write(folder / "nan.wav", np.full(16_000, np.nan), 16_000, subtype="FLOAT")
    huge_at_the_end = np.where(np.arange(16_000) < 12_000, 0.1, 1e30)  # after good windows
    soundfile.write(folder / "huge.wav", huge_at_the_end * np.arange(16_000), 16_000, subtype="FLOAT")
    names = ("missing", "empty", "unreadable", "silent", "short", "nan", "huge")
    return [Clip(folder / f"{name}.wav", (label,), name, f"{name}.wav", split="train") for name in names]


def test_unusable_files_are_listed_with_their_reasons(tones, tmp_path, caplog):
    clips = tone_clips(tones) + broken_clips(tmp_path / "broken")
    options = {"window_s": WINDOW_S, "hop_s": HOP_S, "card": CARD}
    folder = build_features(index_of(clips), LABELS, tmp_path / "features", KaldiFbank(), **options)
    reasons = {row["clip_id"]: row["reason"] for row in csv.DictReader((folder / "excluded.csv").open())}
    assert reasons == {
        "missing.wav": "missing",
        "empty.wav": "empty",
        "unreadable.wav": "unreadable: Format not recognised.",
        "silent.wav": "silent",
        "short.wav": "too short: 399 samples at 16000 Hz, but one frame needs 400",
        "nan.wav": "non-finite samples",
        "huge.wav": "non-finite features: samples far outside [-1, 1]",
    }
    assert f"7 of 87 clips could not be used and are excluded; see {folder / 'excluded.csv'}" in caplog.text
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["num_excluded"] == 7 and manifest["splits"]["train"]["num_clips"] == 56
    assert not {row["clip_id"] for row in table(folder, "train")} & set(reasons)
    clean = build_features(index_of(tone_clips(tones)), LABELS, tmp_path / "clean", KaldiFbank(), **options)
    statistics = [json.loads((each / "preprocessor_config.json").read_text()) for each in (folder, clean)]
    assert statistics[0] == pytest.approx(statistics[1]), "excluded clips do not count"
    with pytest.raises(InputError, match="was built with 7 clips left out"):
        build_features(index_of(clips), LABELS, folder, KaldiFbank(), strict=True, **options)


ODD_BUT_GOOD = {
    "24 bits.wav": {"subtype": "PCM_24"},
    "8 bits.wav": {"subtype": "PCM_U8"},
    "double.wav": {"subtype": "DOUBLE"},
    "6 channels.wav": {"format": "WAVEX"},
    "96 kHz.wav": {"samplerate": 96_000},
    "apple.aiff": {},
    "mp3 called.wav": {"format": "MP3"},
    "größer, 🎻.flac": {},
}


def test_odd_files_are_used_and_unusable_ones_have_their_reason(tmp_path):
    folder = tmp_path / "odd"
    folder.mkdir()
    noise = 0.1 * np.random.default_rng(0).standard_normal(48_000)
    for name, options in ODD_BUT_GOOD.items():
        samples = np.stack([noise] * 6, axis=1) if "channels" in name else noise
        soundfile.write(folder / name, samples, **{"samplerate": 48_000, **options})
    (folder / "out of the tree.wav").symlink_to(shutil.copy(folder / "24 bits.wav", tmp_path / "elsewhere.wav"))
    reasons = {
        "link.wav": "missing: a link that leads nowhere",
        "folder.wav": "not a file",
        "pipe.wav": "not a file",
        "opposite.wav": "silent as mono: its channels cancel each other",
        "half.wav": "unreadable: truncated after 1.00 of 2.00 s",
        "noise.raw": "unreadable: Format not recognised.",
    }
    (folder / "link.wav").symlink_to("nowhere.wav")
    (folder / "folder.wav").mkdir()
    os.mkfifo(folder / "pipe.wav")
    soundfile.write(folder / "opposite.wav", np.stack([noise, -noise], axis=1), 48_000)
    soundfile.write(folder / "half.wav", np.tile(noise, 2), 48_000)
    os.truncate(folder / "half.wav", (folder / "half.wav").stat().st_size // 2 + 22)
    (folder / "noise.raw").write_bytes(np.random.default_rng(1).bytes(3000))
    good = [*ODD_BUT_GOOD, "out of the tree.wav"]
    clips = [Clip(folder / name, ("low",), name, name, split="train") for name in (*good, *reasons)]
    labels, options = LabelSpace(("low",), LABELS.problem_type), {"window_s": 0.5, "hop_s": 0.5, "card": CARD}
    built = build_features(index_of(clips), labels, tmp_path / "f", KaldiFbank(), **options)
    assert {row["clip_id"]: row["reason"] for row in csv.DictReader((built / "excluded.csv").open())} == reasons
    assert {row["clip_id"] for row in table(built, "train")} == set(good)


@pytest.mark.parametrize("name", ["missing", "unreadable", "silent", "short", "nan"])
def test_strict_stops_at_an_unusable_file(tones, tmp_path, name):
    (clip,) = (clip for clip in broken_clips(tmp_path / "broken") if clip.group == name)
    with pytest.raises(InputError, match=rf"{name}.wav is \w+"):
        build_features(
            index_of([*tone_clips(tones), clip]),
            LABELS,
            tmp_path / "features",
            KaldiFbank(),
            window_s=WINDOW_S,
            hop_s=HOP_S,
            card=CARD,
            strict=True,
        )


def test_a_class_that_loses_all_its_training_clips(tones, tmp_path):
    labels = LabelSpace((*LABELS.names, "lost"), LABELS.problem_type)
    clips = tone_clips(tones) + broken_clips(tmp_path / "broken", label="lost")
    with pytest.raises(InputError, match=r"Class lost has no training clips left.*excluded.csv"):
        build_features(index_of(clips), labels, tmp_path / "f", KaldiFbank(), window_s=WINDOW_S, hop_s=HOP_S, card=CARD)
    assert len((tmp_path / "f/excluded.csv").read_text().splitlines()) == 8
    assert not (tmp_path / "f/manifest.json").exists()


def test_no_clip_can_be_used(tmp_path):
    clips = broken_clips(tmp_path / "broken")
    labels = LabelSpace.of_clips(index_of(clips))
    with pytest.raises(InputError, match=r"None of the 7 clips can be used: .* is .*excluded.csv"):
        build_features(index_of(clips), labels, tmp_path / "f", KaldiFbank(), window_s=WINDOW_S, hop_s=HOP_S, card=CARD)


def test_a_split_without_any_usable_clip(tones, tmp_path):
    broken = [dataclasses.replace(clip, split="test") for clip in broken_clips(tmp_path / "broken")]
    clips = [clip for clip in tone_clips(tones) if clip.split != "test"] + broken
    with pytest.raises(InputError, match="No clip of the test split can be used"):
        build_features(index_of(clips), LABELS, tmp_path / "f", KaldiFbank(), window_s=WINDOW_S, hop_s=HOP_S, card=CARD)


def test_a_shard_without_any_usable_clip_is_an_empty_file(tones, tmp_path):
    clips = [clip for clip in tone_clips(tones) if clip.split != "validation"]
    first = {clips[place].clip_id for place in places_in_order(index_of(clips), "train")[:7]}
    soundfile.write(tmp_path / "silence.wav", np.zeros(round(1.3 * 16_000)), 16_000)
    silence = tmp_path / "silence.wav"
    clips = [dataclasses.replace(clip, path=silence) if clip.clip_id in first else clip for clip in clips]
    folder = build_features(
        index_of(clips), LABELS, tmp_path / "f", KaldiFbank(), window_s=WINDOW_S, hop_s=HOP_S, card=CARD
    )
    assert pq.read_table(folder / "data/train-00000-of-00008.parquet").num_rows == 0
    features = load_features(folder, streaming=True)
    assert len(datasets.load_dataset(str(folder), split="train")) == len(list(features.splits["train"])) == 49 * 11
