"""Users' tables: other column names, suffixes, formats and paths, next to folders; each is read or named."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from own_tables import HEARD, NAMES, read, recordings, refused, rows, write
from test_folder import touch

from hf_audio.audit.page import write_clips
from hf_audio.data.index.table import index_of


@pytest.fixture
def folder(tmp_path) -> Path:
    return recordings(tmp_path)


def test_a_plain_table_is_understood_without_settings(folder):
    write(folder, rows())
    clips, understanding = read(folder)
    assert [clip.labels[0] for clip in clips] == HEARD and understanding.layout == "the table labels.csv"
    for part in (
        "labels.csv: 6 clips, 2 classes (cat 3, dog 3).",
        "Groups: no groups are known",
        "Splits: none given",
    ):
        assert part in understanding.paragraph()


@pytest.mark.parametrize(
    "path",
    ["filename", "file", "File Path", "audio", "fname", "file_name", "AudioFile", "wav", "slice_file_name", "Datei"],
)
@pytest.mark.parametrize("label", ["class", "category", "Genre", "instrument", "target", "class_name", "Species"])
def test_columns_may_have_other_names(folder, path, label):
    write(folder, {path: [f"audio/{name}" for name in NAMES], label: HEARD})
    clips, understanding = read(folder)
    assert [clip.labels[0] for clip in clips] == HEARD and not clips[0].metadata
    assert f"{path} the path" in understanding.layout and f"{label} the class" in understanding.layout


def test_other_columns_are_named_metadata_and_local_paths_are_dropped(folder):
    write(
        folder,
        rows(mood=list("abcdef"), origin=["/home/me/x.wav"] * 6, copy=["C:\\x\\a.wav"] * 6, mid=["/m/04rlf"] * 6),
    )
    clips, understanding = read(folder)
    assert clips[0].metadata == {"mood": "a", "mid": "/m/04rlf"}
    assert "2 columns kept as metadata only (mood, mid)" in understanding.paragraph()
    assert "2 columns of local file paths (origin, copy)" in understanding.paragraph()


@pytest.mark.parametrize(
    ("written", "is_path"),
    [
        ("cut from /home/me/x.wav", True),
        ("['/Users/me/a.wav']", True),
        (r"see (D:\takes\a.wav)", True),
        ("source=file:///srv/a.wav", True),
        ("https://example.org/home/a.wav", False),
        ("AC/DC and /m/04rlf; 3/4", False),
        ("c: /", False),
    ],
)
def test_local_paths_inside_of_texts_are_found(folder, written, is_path):
    write(folder, {**rows(), "remark": [written] * 6}, separator="\t", name="labels.tsv")
    assert ("remark" in read(folder)[0][0].metadata) is not is_path


def records() -> list[dict]:
    return [{"path": f"audio/{name}", "label": label} for name, label in zip(NAMES, HEARD, strict=True)]


JSON_FORMS = {
    "list": records,
    "rows": lambda: {"version": 1, "clips": records()},
    "columns": lambda: {key: [row[key] for row in records()] for key in ("path", "label")},
    "pandas": lambda: {key: {str(n): row[key] for n, row in enumerate(records())} for key in ("path", "label")},
    "labels of files": lambda: {row["path"]: row["label"] for row in records()},
    "rows of files": lambda: {row["path"]: {"label": row["label"]} for row in records()},
}


@pytest.mark.parametrize("form", JSON_FORMS)
def test_every_form_of_json(folder, form):
    (folder / "labels.json").write_text(json.dumps(JSON_FORMS[form]()))
    clips, _ = read(folder)
    assert [(clip.clip_id, clip.labels[0]) for clip in clips] == [(row["path"], row["label"]) for row in records()]


@pytest.mark.parametrize(
    "name", ["a.jsonl", "a.JSONL", "a.ndjson", "a.json", "a.parquet", "a.tsv", "a.txt", "A.CSV", "a.tab"]
)
def test_suffixes_of_tables(folder, name):
    if name.endswith("parquet"):
        pq.write_table(pa.Table.from_pylist(records()), folder / name)
    elif "csv" in name.lower() or name.endswith(("tsv", "txt", "tab")):
        write(folder, rows(), name, {"tsv": "\t", "txt": "|", "tab": ";"}.get(name[-3:], ","))
    else:
        (folder / name).write_text("\n".join(map(json.dumps, records())))
    clips, understanding = read(folder)
    assert [clip.labels[0] for clip in clips] == HEARD and name in understanding.layout
    assert read(folder / name)[0] == clips, "the path of the table is accepted too"


def test_columns_may_be_separated_by_bars(folder):
    write(folder, rows(), "labels.psv", separator="|")
    assert read(folder)[1].layout == "the table labels.psv"


def test_labels_in_json_and_parquet_may_be_lists(folder):
    listed = [{"file": row["path"], "labels": [row["label"], "pet"], "start": None} for row in records()]
    (folder / "a.json").write_text(json.dumps(listed))
    assert read(folder / "a.json")[0][3].labels == ("cat", "pet")
    pq.write_table(pa.Table.from_pylist(listed), folder / "b.parquet")
    assert read(folder / "b.parquet")[0][3].labels == ("cat", "pet")


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.json", "{", "a.json .* is not valid JSON"),
        ("a.json", "[1, 2]", "a.json is not a table; expected a list of rows"),
        ("a.jsonl", '{"path": "x"}\n{oh', "a.jsonl line 2 is not valid JSON"),
        ("a.parquet", "no parquet", "a.parquet cannot be read as Parquet"),
        ("a.csv", "audio/0.wav,dog\naudio/1.wav,dog\n", "has no header: its first line names a file"),
        ("a.txt", "path label\naudio/0.wav dog\n", "separate columns by commas or tabs"),
        ("a.csv", "path\naudio/0.wav\n", r"has columns path but needs label \(or labels\)"),
    ],
)
def test_tables_that_cannot_be_read_get_one_sentence(folder, name, content, sentence):
    (folder / name).write_text(content)
    refused(folder, sentence)


def test_audio_inside_a_table_is_refused(folder):
    pq.write_table(
        pa.Table.from_pylist([{"audio": {"bytes": b"x", "path": None}, "label": "dog"}]), folder / "a.parquet"
    )
    refused(folder, "contains audio, in its column 'audio'")


@pytest.mark.parametrize("name", ["meta/labels.csv", "meta/deep/train.tsv", "labels.csv", "audio/metadata.csv"])
@pytest.mark.parametrize("start", ["audio/", "", "data/audio/", "./audio/", "somewhere/else/audio/"])
def test_paths_are_found_wherever_the_table_is(folder, name, start):
    columns = {"path": [f"{start}{name}" for name in NAMES], "label": HEARD}
    write(folder, columns, name, "\t" if name.endswith("tsv") else ",")
    clips, understanding = read(folder)
    assert [Path(clip.path).resolve() for clip in clips] == [folder / "audio" / name for name in NAMES]
    assert "paths" in understanding.layout or (folder / name).parent / start / "0.wav" == Path(clips[0].path)


@pytest.mark.parametrize(
    "written",
    [
        "audio\\{}.wav",
        ".\\audio\\{}.wav",
        "C:\\Users\\me\\data\\audio\\{}.wav",
        "D:/x/audio/{}.wav",
        "/Users/me/audio/{}.wav",
        "/audio/{}.wav",
        "https://example.org/data/audio/{}.wav",
    ],
)
def test_paths_of_windows_and_of_other_machines(folder, written):
    write(folder, {"path": [written.format(number) for number in range(6)], "label": HEARD})
    clips, understanding = read(folder)
    assert all(Path(clip.path).is_file() for clip in clips) and "paths" in understanding.layout
    assert not any("Users" in clip.clip_id or "\\" in clip.clip_id or ":" in clip.clip_id for clip in clips)


@pytest.mark.parametrize("prefix", ["", "file://"])
def test_absolute_paths_are_not_published(folder, prefix):
    write(folder, {"path": [f"{prefix}{folder}/audio/{name}" for name in NAMES], "label": HEARD})
    clips, _ = read(folder)
    assert [clip.clip_id for clip in clips] == [clip.group for clip in clips] == NAMES


@pytest.mark.parametrize(("in_table", "on_disk"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_unicode_forms_of_names_are_equal(tmp_path, in_table, on_disk):
    names = [f"é ü/ñ{number}.wav" for number in range(4)]
    touch(tmp_path, *(unicodedata.normalize(on_disk, name) for name in names))
    write(tmp_path, {"path": [unicodedata.normalize(in_table, name) for name in names], "label": list("aabb")})
    clips, _ = read(tmp_path)
    assert len(clips) == 4 and all(Path(clip.path).is_file() for clip in clips)


def test_escapes_case_and_missing_suffixes_are_resolved_and_reported(tmp_path):
    touch(tmp_path, "my sounds/A 1.WAV", "my sounds/B 2.WAV")
    write(tmp_path, {"path": ["my%20sounds/A%201.WAV", "my%20sounds/B%202.WAV"], "label": ["a", "b"]})
    assert "without % escapes and quotation marks" in read(tmp_path)[1].layout
    write(tmp_path, {"path": ["'my sounds/A 1.WAV'", "'my sounds/B 2.WAV'"], "label": ["a", "b"]})
    assert read(tmp_path)[0][0].clip_id == "my sounds/A 1.WAV"
    write(tmp_path, {"path": ["My Sounds/a 1.wav", "My Sounds/b 2.wav"], "label": ["a", "b"]})
    assert "2 with another case or suffix" in read(tmp_path)[1].layout
    write(tmp_path, {"id": ["A 1", "B 2"], "label": ["a", "b"]})
    clips, understanding = read(tmp_path)
    assert Path(clips[0].path).name == "A 1.WAV" and "id the path" in understanding.layout


def test_names_found_in_two_folders_are_not_guessed(folder):
    touch(folder, *(f"audio_16k/{name}" for name in NAMES))
    write(folder, {"path": NAMES, "label": HEARD})
    refused(folder, "are in several folders, .*audio and .*audio_16k; write the folder before each name")


def test_files_that_differ_only_in_a_missing_folder_are_not_confused(folder):
    write(folder, {"path": [f"{'ab'[n % 2]}/{n // 2}.wav" for n in range(6)], "label": HEARD})
    refused(folder, "6 of 6 files do not exist, first 'a/0.wav' in line 2")


def test_files_without_a_row_are_reported(folder):
    touch(folder, "audio/extra.flac", "more/x.wav")
    write(folder, rows())
    (folder / "notes.md").write_text("notes")
    (folder / "sheet.xlsx").write_bytes(b"PK\x03\x04")
    (folder / "audio/0.txt").write_text("a text beside a recording")
    told = read(folder)[1].paragraph()
    assert "2 recordings not named in any row (audio/extra.flac, more/x.wav)" in told and "2 other files" in told
    assert "1 spreadsheet (save as CSV) (sheet.xlsx)" in told


def test_one_table_per_split_is_read_as_one(folder):
    columns = rows()
    for name, chosen in (("train.csv", slice(0, 4)), ("test.csv", slice(4, 6))):
        write(folder, {key: values[chosen] for key, values in columns.items()}, name)
    clips, understanding = read(folder)
    assert [clip.split for clip in clips] == ["test"] * 2 + [
        "train"
    ] * 4 and "tables test.csv, train.csv" in understanding.layout
    write(folder, {key: values[3:] for key, values in columns.items()}, "test.csv")
    refused(folder, "'audio/3.wav' is listed in test.csv and in train.csv, which are two splits")
    write(folder, {"file": columns["path"][4:], "label": HEARD[4:]}, "test.csv")
    refused(
        folder, "test.csv and train.csv are tables of two splits, but their columns would be read in different ways"
    )
    write(folder, columns, "other.csv")
    refused(folder, r"has 3 CSV files \(other.csv, test.csv, train.csv\); choose one, e.g. --data_dir")


def test_names_of_tables_and_columns_may_contain_brackets(folder):
    write(folder, {"Speaker (id)": list("aab"), **{name: some[:3] for name, some in rows().items()}}, "train (new).csv")
    half = {"Speaker (id)": list("ccd"), "clip": [f"audio/{name}" for name in NAMES[3:]], "label": HEARD[3:]}
    write(folder, half, "test (a) (b).csv")
    refused(folder, "their columns would be read in different ways", group_column_name="Speaker (id)")
    write(folder, {"path": half["clip"], "label": half["label"], "Speaker (id)": list("ccd")}, "test (a) (b).csv")
    understanding = read(folder, group_column_name="Speaker (id)")[1]
    assert understanding.layout.startswith("the tables test (a) (b).csv, train (new).csv (Speaker (id) the group")
    assert understanding.groups == "column Speaker (id)"


def test_metadata_in_the_folder_of_each_split(tmp_path):
    for split in ("train", "test"):
        touch(tmp_path, *(f"{split}/{name}" for name in NAMES))
        write(tmp_path / split, {"file_name": NAMES, "label": HEARD}, "metadata.csv")
    clips, _ = read(tmp_path)
    assert len({clip.clip_id for clip in clips}) == len({clip.group for clip in clips}) == 12
    assert {(clip.clip_id.split("/")[0], clip.split) for clip in clips} == {("train", "train"), ("test", "test")}


def test_class_folders_and_a_table(tmp_path):
    touch(tmp_path, *(f"{label}/{number}.wav" for label in ("dog", "cat") for number in range(4)))
    write(tmp_path, {"filename": ["a.00000.wav"], "tempo": [120], "label": ["dog"]}, "features.csv")
    write(tmp_path, {"month": ["May"], "rain": [3]}, "weather.csv")
    _, understanding = read(tmp_path)
    assert (
        understanding.layout == "class folders"
        and "features.csv: the files it names do not exist" in understanding.paragraph()
    )
    assert "weather.csv: not a table of recordings and classes" in understanding.paragraph()
    refused(tmp_path, "features.csv: 1 of 1 files do not exist", label_column_name=["label"])

    paths = [f"{label}/{number}.wav" for label in ("dog", "cat") for number in range(4)]
    write(tmp_path, {"path": paths, "label": list("xyxyxyxy")}, "labels.csv")
    _, understanding = read(tmp_path)
    assert understanding.class_counts == {"x": 4, "y": 4} and "--layout folders reads them" in understanding.paragraph()
    assert read(tmp_path, layout="folders")[1].class_counts == {"cat": 4, "dog": 4}
    write(tmp_path, {"path": paths[:3], "label": list("xyx")}, "labels.csv")
    refused(tmp_path, "lists 3 of the 8 recordings in class folders .* --layout folders .* or --layout table")
    assert len(read(tmp_path, layout="table")[0]) == 3
    write(tmp_path, {"path": [*paths[:6], "gone.wav"], "label": list("xyxyxyx")}, "labels.csv")
    refused(tmp_path, "1 of 7 files do not exist, first 'gone.wav'; fix it, or give --layout folders")


def test_settings_that_would_do_nothing_are_refused(tmp_path):
    touch(tmp_path, "dog/a.wav", "cat/a.wav")
    refused(tmp_path, "--group_column_name speaker would have .* has no table", group_column_name="speaker")
    refused(tmp_path, "has no table for --layout table", layout="table")
    refused(tmp_path, "--label_column_name is for tables; leave it out", layout="folders", label_column_name=["x"])
    refused(tmp_path, "Unknown --layout 'tables': did you mean 'table'", layout="tables")


def test_row_and_track_numbers_are_not_taken_for_file_names(folder):
    write(folder, {"": list("012345"), **rows(track=list("012012"))})
    refused(folder, "column track could be it: give --group_column_name track")
    clips, _ = read(folder, group_column_name="track")
    assert [Path(clip.path).name for clip in clips] == NAMES


@pytest.mark.parametrize("audio", ["audio/", ""])
def test_a_spreadsheet_next_to_recordings_must_be_saved_as_csv(tmp_path, audio):
    touch(tmp_path, *(audio + name for name in NAMES))
    (tmp_path / "labels.xlsx").write_bytes(b"PK\x03\x04")
    refused(tmp_path, r"labels.xlsx is a spreadsheet, which cannot be read \(save it as CSV .* and without it: ")


def test_text_files_that_are_no_tables_are_ignored(tmp_path):
    touch(tmp_path, *(f"audio/{name}" for name in NAMES))
    (tmp_path / "README.txt").write_text("My recordings, made in May.\nThey are, all of them, loud.\n")
    (tmp_path / "package.json").write_text('{"title": "x", "license": "y"}')
    (tmp_path / "audio/0.wav.json").write_text('{"path": "audio/0.wav", "label": "x"}')
    _, understanding = read(tmp_path)
    assert understanding.class_counts == {"audio": 6} and "README.txt: not readable as" in understanding.paragraph()
    touch(tmp_path, "loose.wav", *NAMES)
    refused(tmp_path, "are not in a class folder and have no label, such as .*0.wav")


def test_the_table_of_an_audit_is_read_back_unchanged(tmp_path):
    touch(tmp_path, "Speech, man/0.wav", "Speech, man/1.wav", "a;b/0.wav", "b/0.wav", "b/ann/1.wav", "a;b/ann/1.wav")
    clips = read(tmp_path)[0]
    write_clips(index_of(clips), tmp_path / "elsewhere" / "usable.csv")
    again, understanding = read(tmp_path / "elsewhere" / "usable.csv")
    assert [(clip.clip_id, clip.labels, clip.group) for clip in again] == [
        (clip.clip_id, clip.labels, clip.group) for clip in clips
    ]
    assert not understanding.groups_known and "each a group of its own: 4" in understanding.groups


def test_file_names_without_folders_suffice_when_folders_are_no_classes(tmp_path):
    names = [f"{number}-{label}.wav" for number, label in enumerate(HEARD)]
    touch(tmp_path, *(f"audio/fold{number % 2}/{name}" for number, name in enumerate(names)))
    write(tmp_path, {"slice_file_name": names, "class": HEARD}, "metadata/all.csv")
    clips, understanding = read(tmp_path)
    assert [Path(clip.path).name for clip in clips] == names and "by file name only" in understanding.layout
    touch(tmp_path, f"audio/fold9/{names[0]}")
    refused(tmp_path, "1 of 6 files do not exist, first '0-dog.wav' in line 2")


def test_a_table_with_file_names_only_is_refused_next_to_class_folders(tmp_path):
    touch(tmp_path, *(f"{label}/{number}.wav" for number, label in enumerate(HEARD)))
    write(tmp_path, {"filename": NAMES, "tempo": [1] * 6, "label": HEARD}, "features.csv")
    refused(tmp_path, "features.csv: 3 of 6 files .* --layout folders .* or --layout table")
    assert read(tmp_path, layout="folders")[1].class_counts == {"cat": 3, "dog": 3}
    assert "by file name only" in read(tmp_path, layout="table")[1].layout
