"""Tables as people have them: other names, suffixes, separators, paths and cells; each is read, or named."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_folder import touch

from hf_audio import InputError
from hf_audio.audit.page import write_clips
from hf_audio.corpora.folder import Reading, understand
from hf_audio.data.index import index_of, rows_of

NAMES = [f"{number}.wav" for number in range(6)]
HEARD = ["dog", "dog", "dog", "cat", "cat", "cat"]


@pytest.fixture
def folder(tmp_path) -> Path:
    touch(tmp_path / "data", *(f"audio/{name}" for name in NAMES))
    return tmp_path / "data"


def write(folder: Path, columns: dict[str, list], name: str = "labels.csv", separator: str = ",") -> Path:
    lines = [separator.join(columns), *(separator.join(map(str, row)) for row in zip(*columns.values(), strict=True))]
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / name


def rows(**columns: list) -> dict[str, list]:
    return {"path": [f"audio/{name}" for name in NAMES], "label": HEARD, **columns}


def read(root: Path, **reading):
    clips, understanding = understand(root, Reading(**reading))
    return list(rows_of(clips)), understanding


def refused(root: Path, sentence: str, **reading) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        read(root, **reading)
    assert "\n" not in str(caught.value)


def test_a_plain_table_is_understood_as_it_stands(folder):
    write(folder, rows())
    clips, understanding = read(folder)
    assert [clip.labels[0] for clip in clips] == HEARD and understanding.layout == "the table labels.csv"
    assert understanding.paragraph() == (
        "Read the table labels.csv: 6 clips, 2 classes (cat 3, dog 3). Groups: no grouping is known, so every file is "
        "a group of its own. Splits: none given, to be drawn."
    )


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


def test_other_columns_are_metadata_and_named_and_paths_of_a_machine_are_not_kept(folder):
    write(
        folder,
        rows(mood=list("abcdef"), origin=["/home/me/x.wav"] * 6, copy=["C:\\x\\a.wav"] * 6, mid=["/m/04rlf"] * 6),
    )
    clips, understanding = read(folder)
    assert clips[0].metadata == {"mood": "a", "mid": "/m/04rlf"}
    assert "2 columns kept as metadata only (mood, mid)" in understanding.paragraph()
    assert "2 columns of paths of this machine (origin, copy)" in understanding.paragraph()


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
def test_json_in_all_its_forms(folder, form):
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
    assert read(folder / name)[0] == clips, "the table itself can be given too"


def test_labels_in_json_and_parquet_may_be_lists(folder):
    listed = [{"file": row["path"], "labels": [row["label"], "pet"], "start": None} for row in records()]
    (folder / "a.json").write_text(json.dumps(listed))
    assert read(folder / "a.json")[0][3].labels == ("cat", "pet")
    pq.write_table(pa.Table.from_pylist(listed), folder / "b.parquet")
    assert read(folder / "b.parquet")[0][3].labels == ("cat", "pet")


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.json", "{", "a.json .* is not JSON as it should be"),
        ("a.json", "[1, 2]", "a.json is not a table; expected a list of rows"),
        ("a.jsonl", '{"path": "x"}\n{oh', "a.jsonl line 2 is not JSON"),
        ("a.parquet", "no parquet", "a.parquet cannot be read as Parquet"),
        ("a.csv", "audio/0.wav,dog\naudio/1.wav,dog\n", "has no header: its first line names a file"),
        ("a.txt", "path label\naudio/0.wav dog\n", "put commas or tabs between its columns"),
        ("a.csv", "path\naudio/0.wav\n", r"has columns path but needs label \(or labels\)"),
    ],
)
def test_tables_that_cannot_be_read_get_one_sentence(folder, name, content, sentence):
    (folder / name).write_text(content)
    refused(folder, sentence)


def test_sound_inside_a_table_is_refused(folder):
    pq.write_table(
        pa.Table.from_pylist([{"audio": {"bytes": b"x", "path": None}, "label": "dog"}]), folder / "a.parquet"
    )
    refused(folder, "holds sound itself, in its column 'audio'")


@pytest.mark.parametrize("name", ["meta/labels.csv", "meta/deep/train.tsv", "labels.csv", "audio/metadata.csv"])
@pytest.mark.parametrize("start", ["audio/", "", "data/audio/", "./audio/", "somewhere/else/audio/"])
def test_paths_are_found_wherever_the_table_lies(folder, name, start):
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
def test_unicode_forms_of_names_are_one(tmp_path, in_table, on_disk):
    names = [f"é ü/ñ{number}.wav" for number in range(4)]
    touch(tmp_path, *(unicodedata.normalize(on_disk, name) for name in names))
    write(tmp_path, {"path": [unicodedata.normalize(in_table, name) for name in names], "label": list("aabb")})
    clips, _ = read(tmp_path)
    assert len(clips) == 4 and all(Path(clip.path).is_file() for clip in clips)


def test_escapes_case_and_missing_suffixes_are_found_and_told(tmp_path):
    touch(tmp_path, "my sounds/A 1.WAV", "my sounds/B 2.WAV")
    write(tmp_path, {"path": ["my%20sounds/A%201.WAV", "my%20sounds/B%202.WAV"], "label": ["a", "b"]})
    assert "with % escapes decoded" in read(tmp_path)[1].layout
    write(tmp_path, {"path": ["My Sounds/a 1.wav", "My Sounds/b 2.wav"], "label": ["a", "b"]})
    assert "2 by another case or without suffix" in read(tmp_path)[1].layout
    write(tmp_path, {"id": ["A 1", "B 2"], "label": ["a", "b"]})
    clips, understanding = read(tmp_path)
    assert Path(clips[0].path).name == "A 1.WAV" and "id the path" in understanding.layout


def test_names_that_lie_in_two_folders_are_not_guessed(folder):
    touch(folder, *(f"audio_16k/{name}" for name in NAMES))
    write(folder, {"path": NAMES, "label": HEARD})
    refused(folder, "lie in several folders, .*audio and .*audio_16k; write the folder before each name")


def test_files_that_differ_in_a_dropped_folder_only_are_not_mixed_up(folder):
    write(folder, {"path": [f"{'ab'[n % 2]}/{n // 2}.wav" for n in range(6)], "label": HEARD})
    refused(folder, "names 6 of 6 files that do not exist, first 'a/0.wav' in line 2")


@pytest.mark.parametrize(
    "column", ["speaker", "Singer", "artist_id", "recording", "session", "song", "album", "client_id"]
)
def test_columns_that_could_be_groups_are_offered(folder, column):
    write(folder, rows(**{column: list("aabbcc")}))
    refused(folder, f"column {column} could be it: give --group_column {column}, so that .* or --group_column none")
    clips, understanding = read(folder, group_column=column)
    assert [clip.group for clip in clips] == list("aabbcc") and understanding.groups == f"column {column} (3 groups)"
    assert understanding.groups_known and not clips[0].metadata
    clips, understanding = read(folder, group_column="none")
    assert clips[0].group == "audio/0.wav" and clips[0].metadata == {column: "a"} and not understanding.groups_known
    refused(folder, f"Unknown column of labels.csv 'nobody': there are: .*{column}", group_column="nobody")


def test_the_widest_of_several_groups_is_offered_and_one_of_each_file_is_not(folder):
    write(folder, rows(song=list("aabbcd"), artist=list("xxyyyy"), recording=list("uvwxyz")))
    refused(folder, "column artist or song could be it: give --group_column artist")
    write(folder, rows(recording=list("uvwxyz")))
    assert "recording" in read(folder)[0][0].metadata


def test_groups_that_keep_nothing_together_or_are_missing_are_named(folder):
    write(folder, rows(group=list("abcdef")))
    assert "names another group for each file" in read(folder)[1].paragraph()
    write(folder, rows(group=["a", "a", "nan", "b", "b", ""]))
    clips, understanding = read(folder)
    assert (
        clips[2].group == "audio/2.wav"
        and "2 rows have none" in understanding.groups
        and not understanding.groups_known
    )


@pytest.mark.parametrize("column", ["fold", "Fold", "folds", "cv_fold", "subset", "partition", "split"])
@pytest.mark.parametrize("values", [list("123123"), ["1.0", "2.0"] * 3, ["fold1", "fold2"] * 3])
def test_folds_are_official(folder, column, values):
    write(folder, rows(**{column: values}))
    clips, understanding = read(folder)
    assert [clip.split for clip in clips] == [value.removesuffix(".0") for value in values]
    assert understanding.splits.startswith(f"column {column} (")


def test_values_of_splits_have_other_spellings_and_gaps_are_told(folder):
    write(folder, rows(subset=["Training", "TRAIN", "valid", "dev", "Testing", "eval"]))
    clips, _ = read(folder)
    assert [clip.split for clip in clips] == ["train", "train", "validation", "validation", "test", "test"]
    write(folder, rows(subset=["train", "", "train", "test", "test", ""]))
    assert "2 rows have none and are trained on" in read(folder)[1].splits
    write(folder, rows(subset=["small", "large"] * 3))
    assert read(folder)[0][0].split is None and read(folder)[0][0].metadata == {"subset": "small"}


def test_two_columns_of_splits(folder):
    write(folder, rows(split=["train", "test"] * 3, fold=list("123123")))
    assert "column fold could be the splits too: --split_column fold takes it" in read(folder)[1].paragraph()
    assert (
        read(folder, split_column="fold")[0][0].split == "1" and read(folder, split_column="none")[0][0].split is None
    )
    write(folder, rows(subset=["train", "test"] * 3, fold=list("123123")))
    refused(folder, "two columns that could be the splits, .* say which, e.g. --split_column")


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"start": [0.01] * 6, "end": [0.05] * 6}, (0.01, 0.05)),
        ({"Start Time (s)": [0.01] * 6, "End Time (s)": [0.05] * 6}, (0.01, 0.05)),
        ({"start_ms": [10] * 6, "end_ms": [50] * 6}, (0.01, 0.05)),
        ({"begin_sec": [0.01] * 6, "stop_sec": [0.05] * 6}, (0.01, 0.05)),
        ({"onset": [0.01] * 6, "offset": [0.05] * 6}, (0.01, 0.05)),
        ({"offset": [0.01] * 6, "duration": [0.04] * 6}, (0.01, 0.05)),
        ({"start": [0.01] * 6, "duration_ms": [40] * 6}, (0.01, 0.05)),
        ({"t_start": [0.01] * 6}, (0.01, None)),
        ({"start": ["", "nan"] * 3}, (0.0, None)),
        ({"duration": [0.1] * 6}, (0.0, None)),
    ],
)
def test_stretches_in_other_words_and_units(folder, columns, expected):
    write(folder, rows(**columns))
    clips, understanding = read(folder)
    assert (clips[0].start_s, clips[0].end_s) == pytest.approx(expected)
    assert len({clip.clip_id for clip in clips}) == 6
    used = set(columns) - set(clips[0].metadata)
    assert all(f"{column} the " in understanding.layout for column in used)


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        (
            {"start": [10] * 6, "end": [50] * 6},
            "reaches to 50 s and its file lasts 0.10 s; rename the columns with their",
        ),
        ({"start": [54.5] * 6}, "start the start in seconds, the stretch reaches to 54.5 s"),
        ({"start_sample": [1] * 6}, "'start_sample', which says where stretches lie but not in seconds"),
        ({"start": [0] * 6, "onset": [0] * 6}, "two columns of the start, start and onset"),
        ({"begin": ["0:01"] * 6}, "line 2: start_s '0:01' is not a number of seconds"),
    ],
)
def test_stretches_that_cannot_be_meant_get_one_sentence(folder, columns, sentence):
    write(folder, rows(**columns))
    refused(folder, sentence)


def test_numbers_of_classes_beside_their_names(folder):
    names = {"fname": NAMES, "target": [0, 0, 0, 1, 1, 1], "category": HEARD}
    write(folder, names)
    clips, understanding = read(folder)
    assert clips[0].labels == ("dog",) and "category the class (column target says the same)" in understanding.layout
    write(folder, {**names, "genre": list("xyxyxy")})
    refused(folder, "two columns that could be the classes, category and genre|genre and category")
    assert read(folder, label_column=["genre"])[1].class_counts == {"x": 3, "y": 3}


@pytest.mark.parametrize(("no", "yes"), [(0, 1), ("0.0", "1.0"), ("False", "True"), ("no", "yes"), ("FALSE", "TRUE")])
def test_a_column_of_yes_and_no_for_each_class(folder, no, yes):
    columns = {"dog": [yes, yes, no, no, no, no], "cat": [no, yes, no, yes, yes, yes], "gnu": [no] * 5 + [yes]}
    write(folder, {"path": rows()["path"], "length": [1, 2, 3, 4, 5, 6], **columns})
    clips, understanding = read(folder)
    assert [clip.labels for clip in clips] == [("dog",), ("dog", "cat"), (), ("cat",), ("cat",), ("cat", "gnu")]
    assert "columns dog, cat, gnu a class each" in understanding.layout
    assert "1 rows have no label and are examples of no class" in understanding.paragraph()
    write(folder, {"path": rows()["path"], "what": HEARD, **columns})
    refused(
        folder, "needs label .* --label_column what, or which columns are a class each.*--label_column what dog cat"
    )
    assert read(folder, label_column=["dog", "cat"])[0][1].labels == ("dog", "cat")
    columns["cat"][2] = "perhaps"
    write(folder, {"path": rows()["path"], **columns})
    refused(folder, "line 4: column 'cat' holds 'perhaps'.* must say 0 or 1", label_column=["dog", "cat"])


def cells(*labels: str) -> list[str]:
    return [f'"{label}"' if "," in label or " " in label else label for label in labels]


@pytest.mark.parametrize(
    "written",
    [
        "dog;pet",
        "dog|pet",
        "dog,pet",
        "dog , pet",
        "['dog', 'pet']",
        '[""dog"", ""pet""]',
        "('dog', 'pet')",
        "{'dog', 'pet'}",
        "['dog' 'pet']",
    ],
)
@pytest.mark.parametrize("column", ["labels", "tags", "Genres"])
def test_several_labels_of_a_cell(folder, written, column):
    plain = written.replace('""', '"')
    single = plain.replace("dog", "cat").replace(", 'pet'", "").replace(" 'pet'", "").replace(', "pet"', "")
    single = single if "[" in plain or "(" in plain or "{" in plain else "cat"
    values = [f'"{written}"'] * 3 + ['"{}"'.format(single.replace('"', '""'))] * 2 + ["nan"]
    write(folder, {"path": rows()["path"], column: values})
    clips, _ = read(folder)
    assert [clip.labels for clip in clips] == [("dog", "pet")] * 3 + [("cat",)] * 2 + [()]


@pytest.mark.parametrize("written", ["dog;pet", "dog|pet", "dog,pet", "['dog', 'pet']"])
def test_several_labels_where_one_is_meant_are_refused_with_the_remedy(folder, written):
    write(folder, {"path": rows()["path"], "category": [f'"{written}"', *HEARD[1:]]})
    refused(folder, "line 2: .* looks like several labels .* rename it to labels or give --label_separator")
    assert read(folder, label_separator="none")[0][0].labels == (written,)


def test_names_with_commas_are_one_name_where_nothing_says_otherwise(folder):
    write(folder, rows(label=['"Speech, man"'] * 3 + ['"Laughter, child"'] * 3))
    assert read(folder)[1].class_counts == {"Laughter, child": 3, "Speech, man": 3}
    write(folder, {"path": rows()["path"], "labels": ['"Speech, man;Music"'] * 3 + ["Music"] * 3})
    assert read(folder)[0][0].labels == ("Speech, man", "Music")
    write(folder, {"path": rows()["path"], "labels": ['"Speech, man"'] * 3 + ["Music"] * 3})
    assert read(folder, label_separator="none")[0][0].labels == ("Speech, man",)
    write(folder, rows(label=["dog/cat"] * 3 + ["cat"] * 2 + ["dog"]))
    assert "'dog/cat' looks joined" in read(folder)[1].paragraph()
    assert read(folder, label_separator="/")[0][0].labels == ("dog", "cat")


@pytest.mark.parametrize("nothing", ["", "nan", "NaN", "null", "None", "N/A", "<NA>", "NA"])
def test_a_row_without_a_label_stops_where_one_is_meant(folder, nothing):
    write(folder, rows(label=["dog", "dog", nothing, "cat", "cat", nothing]))
    refused(folder, rf"line 4: 2 of 6 rows have no label in column 'label' \(found '{nothing}'\)")
    write(folder, rows(label=[nothing] * 6))
    refused(folder, "no row has a label in column 'label'")
    write(folder, {"path": rows()["path"], "labels": [nothing] * 6})
    refused(folder, "no row has a label in column 'labels'")


def test_a_class_called_none_stays_one_and_is_named(folder):
    write(folder, rows(label=["none"] * 3 + ["cat"] * 3))
    _, understanding = read(folder)
    assert (
        understanding.class_counts == {"cat": 3, "none": 3}
        and "'none' may mean that there is no label" in understanding.paragraph()
    )


def test_recordings_and_files_that_no_row_names_are_named(folder):
    touch(folder, "audio/extra.flac", "more/x.wav")
    write(folder, rows())
    (folder / "notes.md").write_text("notes")
    (folder / "sheet.xlsx").write_bytes(b"PK\x03\x04")
    (folder / "audio/0.txt").write_text("a text beside a recording")
    told = read(folder)[1].paragraph()
    assert "2 recordings that no row names (audio/extra.flac, more/x.wav)" in told and "2 other files" in told
    assert "1 spreadsheet (save as CSV) (sheet.xlsx)" in told


def test_tables_of_one_split_each_are_read_together(folder):
    columns = rows()
    for name, chosen in (("train.csv", slice(0, 4)), ("test.csv", slice(4, 6))):
        write(folder, {key: values[chosen] for key, values in columns.items()}, name)
    clips, understanding = read(folder)
    assert [clip.split for clip in clips] == ["test"] * 2 + [
        "train"
    ] * 4 and "tables test.csv, train.csv" in understanding.layout
    write(folder, columns, "other.csv")
    refused(folder, r"holds 3 CSV files \(other.csv, test.csv, train.csv\); pass the one to use, e.g. --data_dir")


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
    refused(tmp_path, "features.csv names 1 of 1 files that do not exist", label_column=["label"])

    paths = [f"{label}/{number}.wav" for label in ("dog", "cat") for number in range(4)]
    write(tmp_path, {"path": paths, "label": list("xyxyxyxy")}, "labels.csv")
    _, understanding = read(tmp_path)
    assert understanding.class_counts == {"x": 4, "y": 4} and "--layout folders reads them" in understanding.paragraph()
    assert read(tmp_path, layout="folders")[1].class_counts == {"cat": 4, "dog": 4}
    write(tmp_path, {"path": paths[:3], "label": list("xyx")}, "labels.csv")
    refused(tmp_path, "lists 3 of the 8 recordings in class folders .* --layout folders .* or --layout table")
    assert len(read(tmp_path, layout="table")[0]) == 3
    write(tmp_path, {"path": [*paths[:6], "gone.wav"], "label": list("xyxyxyx")}, "labels.csv")
    refused(tmp_path, "names 1 of 7 files that do not exist, first 'gone.wav'; mend it, or give --layout folders")


def test_settings_that_would_do_nothing_are_refused(tmp_path):
    touch(tmp_path, "dog/a.wav", "cat/a.wav")
    refused(tmp_path, "holds no table, which --group_column asks for", group_column="speaker")
    refused(tmp_path, "holds no table, which --layout table asks for", layout="table")
    refused(tmp_path, "--label_column is for tables; leave it out", layout="folders", label_column=["x"])
    refused(tmp_path, "--layout tables is unknown; expected folders or table", layout="tables")


def test_numbers_of_rows_and_of_tracks_are_no_names_of_files(folder):
    write(folder, {"": list("012345"), **rows(track=list("012012"))})
    refused(folder, "column track could be it: give --group_column track")
    clips, _ = read(folder, group_column="track")
    assert [Path(clip.path).name for clip in clips] == NAMES


def test_texts_that_are_no_tables_do_not_stand_in_the_way(tmp_path):
    touch(tmp_path, *(f"audio/{name}" for name in NAMES))
    (tmp_path / "README.txt").write_text("My recordings, made in May.\nThey are, all of them, loud.\n")
    (tmp_path / "package.json").write_text('{"title": "x", "licence": "y"}')
    (tmp_path / "audio/0.wav.json").write_text('{"path": "audio/0.wav", "label": "x"}')
    _, understanding = read(tmp_path)
    assert understanding.class_counts == {"audio": 6} and "README.txt: not readable as" in understanding.paragraph()
    touch(tmp_path, "loose.wav", *NAMES)
    refused(tmp_path, "0.wav lies in .* itself, so it has no label")


def test_groups_that_differ_in_spelling_are_named(folder):
    write(folder, rows(group=["Ann", "ann", "Bob", "bob ", "cy", "di"]))
    assert "groups 'Ann' and 'ann', 'Bob' and 'bob' differ in case" in read(folder)[1].paragraph()


def test_what_an_audit_writes_is_read_as_it_was(tmp_path):
    touch(tmp_path, "Speech, man/0.wav", "Speech, man/1.wav", "a;b/0.wav", "b/0.wav", "b/ann/1.wav", "a;b/ann/1.wav")
    clips = read(tmp_path)[0]
    write_clips(index_of(clips), tmp_path / "elsewhere" / "usable.csv")
    again, understanding = read(tmp_path / "elsewhere" / "usable.csv")
    assert [(clip.clip_id, clip.labels, clip.group) for clip in again] == [
        (clip.clip_id, clip.labels, clip.group) for clip in clips
    ]
    assert not understanding.groups_known and "4 rows have none" in understanding.groups


def test_names_alone_are_enough_where_folders_are_no_classes(tmp_path):
    names = [f"{number}-{label}.wav" for number, label in enumerate(HEARD)]
    touch(tmp_path, *(f"audio/fold{number % 2}/{name}" for number, name in enumerate(names)))
    write(tmp_path, {"slice_file_name": names, "class": HEARD}, "metadata/all.csv")
    clips, understanding = read(tmp_path)
    assert [Path(clip.path).name for clip in clips] == names and "by their names alone" in understanding.layout
    touch(tmp_path, f"audio/fold9/{names[0]}")
    refused(tmp_path, "names 1 of 6 files that do not exist, first '0-dog.wav' in line 2")


def test_names_alone_are_not_taken_for_a_table_beside_class_folders(tmp_path):
    touch(tmp_path, *(f"{label}/{number}.wav" for number, label in enumerate(HEARD)))
    write(tmp_path, {"filename": NAMES, "tempo": [1] * 6, "label": HEARD}, "features.csv")
    refused(tmp_path, "features.csv names 3 of 6 files .* --layout folders .* or --layout table")
    assert read(tmp_path, layout="folders")[1].class_counts == {"cat": 3, "dog": 3}
    assert "by their names alone" in read(tmp_path, layout="table")[1].layout
