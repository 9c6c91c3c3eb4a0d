"""Tables written by spreadsheets and programs: read, or refused in one sentence; nothing is lost silently."""

from __future__ import annotations

from pathlib import Path

import pytest

from hf_audio import InputError
from hf_audio.data.tables import csv_text, read_table

EXPECTED = [{"path": "a.wav", "label": "x"}, {"path": "c, d.wav", "label": "ü"}]
COMMAS = 'path,label\na.wav,x\n"c, d.wav",ü\n'
SEMICOLONS = "path;label\na.wav;x\nc, d.wav;ü\n"


def written(folder: Path, content: bytes) -> Path:
    (folder / "labels.csv").write_bytes(content)
    return folder / "labels.csv"


@pytest.mark.parametrize(
    "content",
    [
        COMMAS.encode(),
        COMMAS.encode("utf-8-sig"),
        COMMAS.replace("\n", "\r\n").encode(),
        COMMAS.replace("\n", "\r").encode(),
        COMMAS.replace("path,label", '"path", label ').encode(),
        COMMAS.replace("\n", "\n\n").encode(),
        COMMAS.rstrip().encode(),
        SEMICOLONS.encode("utf-8-sig"),
        SEMICOLONS.replace(";", "\t").encode(),
        SEMICOLONS.replace("\n", ";;\n").encode(),
        ("sep=;\r\n" + SEMICOLONS.replace("\n", "\r\n")).encode("utf-8-sig"),
    ],
)
def test_every_dialect_is_read(tmp_path, content):
    _, rows = read_table(written(tmp_path, content), required=("path", "label"))
    assert [{key: row[key] for key in ("path", "label")} for _, row in rows] == EXPECTED


def test_values_may_hold_line_ends_and_quotation_marks(tmp_path):
    columns, rows = read_table(written(tmp_path, b'path,note,label\na.wav,"two\r\nlines, ""quoted""",x\nb.wav,,y\n'))
    assert columns == ["path", "note", "label"]
    assert rows[0] == (3, {"path": "a.wav", "note": 'two\r\nlines, "quoted"', "label": "x"})
    assert rows[1] == (4, {"path": "b.wav", "note": "", "label": "y"})


def test_lines_are_counted_as_an_editor_counts_them(tmp_path):
    _, rows = read_table(written(tmp_path, b"sep=,\npath,label\na.wav,x\n\nb.wav,y\n"))
    assert [line for line, _ in rows] == [3, 5]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (COMMAS.encode("utf-16"), "is UTF-16 or not text at all; save it as CSV in UTF-8"),
        (COMMAS.encode("utf-16-be"), "is UTF-16 or not text at all"),
        (COMMAS.encode("latin-1"), "is not UTF-8 text; save it as UTF-8"),
        (b"PK\x03\x04\x14\x00\x06\x00", "is a spreadsheet or an archive, not text"),
        (b"", r"has columns \(none\) but needs path, label"),
        (b"\n\n", r"has columns \(none\) but needs path, label"),
        (b"path,label,label\na.wav,x,y\n", "has 2 columns called 'label'; rename or remove all but one"),
        (
            b"path,label\nc, d.wav,x\n",
            "line 2 has 3 values for 2 columns; put values that contain a separator in",
        ),
        (b'path,label\na.wav,"x\nb.wav,y\nc.wav,z\n', "has a quotation mark before line 4 that is never closed"),
        (b"path,label\na.wav," + 200_000 * b"x", "cannot be read as a table: field larger"),
    ],
)
def test_bad_tables_get_one_sentence(tmp_path, content, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        read_table(written(tmp_path, content), required=("path", "label"))
    assert "\n" not in str(caught.value)


def test_a_missing_table(tmp_path):
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(InputError, match="is not a regular file"):
        read_table(tmp_path)


def test_every_character_of_a_name_is_written_in_every_python():
    names = [chr(code) for code in range(128)]
    assert csv_text([("path", "label"), ("a\0.wav", "x")]) == "path,label\na\0.wav,x\n"
    assert all(name in csv_text([(name,)]) for name in names if name != chr(34))
