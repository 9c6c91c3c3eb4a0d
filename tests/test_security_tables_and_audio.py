"""Tables and recordings of strangers: no cell is a formula, nothing is waited for, nothing fills the memory."""

from __future__ import annotations

import csv
import io
import random
from pathlib import Path

import pytest

from hf_audio import InputError
from hf_audio.data.tables import csv_text, read_table, written_rows

FORMULAS = (
    "=HYPERLINK(0)", "+x", "-a.wav", "@SUM(1)", "'=a", "''=a", "\t=1", "\r=1", " =1", "a;=cmd|' /C calc'!A0",
    "\uff1dcmd", "-1;=1", "a\n=1", "--1", "-1+1",
)  # fmt: skip
HARMLESS = ("-1.5", "+3", "-", "-inf", "1e-5", "a-b=c.wav", "'a'", "it's", "a, -b", "violin;piano", "", "-1e-05")


def written(path: Path, rows: list) -> Path:
    path.write_text(csv_text([["clip_id", "note"], *rows]), encoding="utf-8", newline="")
    return path


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_no_cell_is_a_formula_to_a_spreadsheet_whatever_its_separator(delimiter):
    text = csv_text([["clip_id", "note"], *([value, f"b{value}"] for value in FORMULAS)])
    cells = [cell for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) for cell in row]
    assert [cell for cell in cells if cell.lstrip(" ")[:1] in tuple("=+-@\uff1d\t\r")] == []


@pytest.mark.parametrize("value", FORMULAS)
def test_a_formula_is_marked_as_text(value):
    assert csv_text([[value]]) != csv_text([["x"]]).replace("x", value)


@pytest.mark.parametrize("value", HARMLESS)
def test_what_is_no_formula_is_written_as_it_is(value):
    assert next(csv.reader(io.StringIO(csv_text([[value, "x"]]), newline="")))[0] == value


def test_numbers_stay_numbers():
    assert csv_text([[-1.5, -3, None, float("-inf")]]) == "-1.5,-3,,-inf\n"


def test_what_was_written_is_read_back_exactly(tmp_path):
    draw = random.Random(0)
    values = ["".join(draw.choices("'=+-@;,\t\r\n\" a1.", k=draw.randint(1, 8))) for _ in range(3000)]
    rows = [[value, "x"] for value in (*FORMULAS, *HARMLESS, *values)]
    found = list(written_rows(written(tmp_path / "t.csv", rows)))
    assert [row["clip_id"] for row in found] == [value for value, _ in rows]


def test_column_names_are_read_back_as_they_were(tmp_path):
    (tmp_path / "t.csv").write_text(csv_text([["clip_id", "=drum", "-x"], ["a", 1, 2]]))
    assert list(written_rows(tmp_path / "t.csv")) == [{"clip_id": "a", "=drum": "1", "-x": "2"}]
    assert read_table(tmp_path / "t.csv")[0] == ["clip_id", "=drum", "-x"]


def test_tables_that_people_edit_are_read_without_the_marks_too(tmp_path):
    _, rows = read_table(written(tmp_path / "t.csv", [["=a.wav", "-"], ["+x", "'quoted'"]]))
    assert [row for _, row in rows] == [{"clip_id": "=a.wav", "note": "-"}, {"clip_id": "+x", "note": "'quoted'"}]


def test_a_row_of_another_length_is_damage(tmp_path):
    (tmp_path / "t.csv").write_text("clip_id,note\na\n")
    with pytest.raises(InputError, match="line 2 has 1 values for 2 columns"):
        list(written_rows(tmp_path / "t.csv"))
