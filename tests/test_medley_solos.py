"""Medley-solos-DB in its real layout."""

from __future__ import annotations

import uuid
from collections import Counter
from pathlib import Path

import pytest

from hf_audio import InputError, LabelSpace
from hf_audio.corpora import medley_solos
from hf_audio.data.index.columns import check_disjoint, groups_and_splits
from hf_audio.data.index.table import index_of, rows_of
from hf_audio.data.splits.assigning import assign_splits

HEADER = "subset,instrument,instrument_id,song_id,uuid4\n"


def make_tree(root: Path, folder: str = "audio", suffix: str = ".wav") -> Path:
    """Two songs of two clips per instrument and subset; in mirdata's folders annotation and audio, or in one folder."""
    (root / folder).mkdir(parents=True, exist_ok=True)
    rows, song = [], 0
    for subset in ("test", "training", "validation"):
        for number, instrument in enumerate(medley_solos.INSTRUMENTS):
            for _ in range(2):
                for take in range(2):
                    name = uuid.uuid5(uuid.NAMESPACE_DNS, f"{song}-{take}")
                    (root / folder / f"Medley-solos-DB_{subset}-{number}_{name}{suffix}").touch()
                    rows.append(f"{subset},{instrument},{number},{song:03d},{name}\n")
                song += 1
    table = root / ("annotation" if folder == "audio" else folder) / "Medley-solos-DB_metadata.csv"
    table.parent.mkdir(exist_ok=True)
    table.write_text(HEADER + "".join(rows))
    return root


def test_official_split(tmp_path, caplog):
    clips = list(rows_of(medley_solos.index(make_tree(tmp_path))))
    assert Counter(clip.split for clip in clips) == {"train": 32, "validation": 32, "test": 32} and not caplog.text
    check_disjoint(groups_and_splits(index_of(clips)))
    assert len({clip.group for clip in clips}) == 48 == len({clip.clip_id for clip in clips}) / 2
    first = clips[0]
    assert first.labels == ("clarinet",) and first.group == "song-000" and first.split == "test"
    assert Path(first.path).is_file() and first.clip_id == Path(first.path).name
    labels = LabelSpace.of_clips(index_of(clips), medley_solos.CARD.label_names, medley_solos.CARD.problem_type)
    assert list(rows_of(assign_splits(index_of(clips), labels))) == clips, "nothing is drawn at random"


def test_copies_with_two_suffixes(tmp_path):
    clips = list(rows_of(medley_solos.index(make_tree(tmp_path, suffix=".wav.wav"))))
    assert len(clips) == 96 and Path(clips[0].path).name.endswith(".wav.wav")


def test_one_folder_and_flac(tmp_path, caplog):
    root = make_tree(tmp_path, "Medley-solos-DB", ".flac")
    next((root / "Medley-solos-DB").glob("*.flac")).unlink()
    (root / "lost").symlink_to("/no/such disk")
    clips = list(rows_of(medley_solos.index(root)))
    assert len(clips) == 95 and Path(clips[0].path).suffix == ".flac"
    assert "is partial: it has 95 of 96 clips" in caplog.text
    assert caplog.text.count("cannot be read") == 1, "the folders are read once"


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (
            None,
            r"does not contain Medley-solos-DB; expected Medley-solos-DB_metadata.csv and files like .* \(from https",
        ),
        ("subset,song_id\n", "has columns subset, song_id but needs subset, instrument_id, song_id, uuid4"),
        (HEADER, "lists 0 clips but .* has none of them"),
        (HEADER + "test,clarinet,0,0,ab\n", r"lists 1 clips but .* files like Medley-solos-DB_test-0_ab.wav \(unpack"),
        (HEADER + "tset,clarinet,0,0,ab\n", "subset in .* line 2 'tset': did you mean 'test'"),
        (HEADER + "test,tuba,8,0,ab\n", "line 2: instrument_id '8' is not one of 0 to 7; get .* again"),
    ],
)
def test_bad_layouts_get_one_sentence(tmp_path, rows, sentence):
    make_tree(tmp_path)
    table = tmp_path / "annotation" / "Medley-solos-DB_metadata.csv"
    table.unlink()
    if rows is not None:
        table.write_text(rows)
    with pytest.raises(InputError, match=sentence) as caught:
        medley_solos.index(tmp_path)
    assert "\n" not in str(caught.value)
