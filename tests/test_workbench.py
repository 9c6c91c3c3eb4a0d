"""The workbench in a real Chromium: clicks and keys label clips, and hf_audio reads the table that it downloads."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

from browser import Page

from hf_audio.data.index.label_overrides import ClipLabels, correct_labels, labels_cell, read_overrides
from hf_audio.data.index.labels import SINGLE_LABEL, LabelSpace
from hf_audio.data.index.table import Clip, index_of, rows_of
from hf_audio.data.tables import csv_text, names_in_cell
from hf_audio.figures.workbench import MAX_CASES, Case, Judged, workbench_page

HOSTILE = (
    "</script><script>document.pwned=1</script>",
    "<img src=x onerror='document.pwned=1'>",
    '=HYPERLINK("x"); "y"',
    "a\u202eb\x00\n,'\"&;|",
    "-",
    "@sum",
)
CLASSES = (*HOSTILE, "cello", "violin", "viola")


def clip_id(number: int) -> str:
    return f"{HOSTILE[number % 3]}/{number:02d}.wav"


def case(number: int, **values) -> Case:
    given = (CLASSES[number % len(CLASSES)],)
    values = {"suggested": ("violin",), "confidence": round(0.95 - 0.05 * number, 2), "tags": given} | values
    return Case(clip_id(number), given, facts=[HOSTILE[1]], **values)


def page_of(cases: list[Case], *, title: str = HOSTILE[0], **values) -> str:
    judged = {"name": HOSTILE[0], "clip_ids": [one.clip_id for one in cases], "classes": CLASSES}
    judged |= {"is_multi_label": False} | values
    return workbench_page(title, [HOSTILE[1]], Judged(**judged), ["group"], cases)


def corrections(page: Page) -> tuple[Path, dict[str, ClipLabels]]:
    """The downloaded table, as hf_audio reads it."""
    page.click("#download")
    table = page.downloaded()
    return table, read_overrides(table)


def test_clips_are_labeled_by_mouse_and_keys(opened, tmp_path):
    sounds = [("one", "a%20b.wav"), ("two", "a%20b.wav#t=0.5,1")]
    cases = [case(0, sounds=sounds), *(case(number) for number in range(1, 7)), case(7, suggests_drop=True)]
    page = opened(page_of(cases))
    page.press(" ")
    page.until("!document.querySelectorAll('#sounds audio')[0].paused")
    page.press(" ")
    page.until("!document.querySelectorAll('#sounds audio')[1].paused")
    page.press("g")  # 0: labels are right
    page.press("s")  # 1: as suggested
    page.click("#drop")  # 2
    page.press("c")  # 3: corrected to the typed class
    page.type("CELL")
    page.press("Enter")
    page.press("ArrowDown")  # 4 stays undecided
    page.press("c")  # 5: a new class needs more than Enter
    page.type("theremin")
    page.press("Enter")
    assert "Shift and Enter create it" in page.value("find('#hint').textContent")
    page.press("Enter", modifiers=8)
    page.press("k")
    assert page.value("current.id") == clip_id(5)
    page.press("j")
    page.value("find('#class').blur()")
    page.click("#chips button:nth-of-type(3)")  # 6: a class from the list
    page.press("s")  # 7: the suggestion is to drop it

    table, found = corrections(page)
    assert table.name.endswith("-overrides.csv") and "<" not in table.name
    chosen = page.value("labelsOf(byId.get(cases[6].id))")
    assert found == {
        clip_id(0): ClipLabels((HOSTILE[0],)),
        clip_id(1): ClipLabels(("violin",)),
        clip_id(2): ClipLabels((), is_left_out=True),
        clip_id(3): ClipLabels(("cello",)),
        clip_id(5): ClipLabels(("theremin",)),
        clip_id(6): ClipLabels(tuple(chosen)),
        clip_id(7): ClipLabels((), is_left_out=True),
    }
    decisions = [row["decision"] for row in csv.DictReader(table.open(encoding="utf-8", newline=""))]
    assert decisions == ["kept", "corrected", "dropped", "corrected", "corrected", "corrected", "dropped"]
    assert page.value("find('#progress').textContent") == "Decided: 7 (1 kept, 4 corrected, 2 dropped)."

    page.go(tmp_path / "index.html")  # decisions are kept when it is opened again
    assert page.value("correctionsText()") == table.read_text(encoding="utf-8")
    page.press("u")
    assert page.value("decided.size") == 6
    page.value("window.confirm = () => true")
    page.click("#forget-all")
    assert page.value("localStorage.getItem(data.key)") == "[]"
    page.click("#download")
    assert page.value("find('#said').textContent") == "Nothing is decided yet."


def test_confident_suggestions_are_accepted_at_once_and_trained_with(opened):
    page = opened(page_of([case(number) for number in range(7)]))
    page.press("g")
    select = "find('#{0}').value = '{1}'; find('#{0}').dispatchEvent(new Event('input'))"
    page.value(select.format("minimum", "0.75"))
    page.value("find('#surely').value = '0.8'")
    page.click("#accept-all")
    table, found = corrections(page)
    assert list(found) == [clip_id(number) for number in range(4)] and found[clip_id(3)].labels == ("violin",)
    page.value(select.format("state", "undecided"))
    assert page.value("shown().length") == 1, "the clip at 0.75"
    page.value(select.format("state", ""))
    page.value(select.format("minimum", "0") + ";" + select.format("tag", "cello"))
    assert page.value("shown().map(one => one.id)") == [clip_id(6)]
    labels = LabelSpace(CLASSES, SINGLE_LABEL)
    clips = [Clip("x.wav", (name,), f"g{at}", clip_id(at), split="train") for at, name in enumerate(CLASSES)]
    after = list(rows_of(correct_labels(index_of(clips), labels, table).clips))
    assert [one.labels[0] for one in after] == [HOSTILE[0], *["violin"] * 3, *CLASSES[4:]]


def test_several_labels_and_unknown_ones_are_set_one_by_one(opened):
    cases = [case(0, unknown=("viola",)), case(1, suggested=(), unknown=("viola", "cello"))]
    page = opened(page_of(cases, is_multi_label=True, is_partial=True))
    page.press("c")
    for name in ("viola", "-", HOSTILE[0], "cello", "cello"):  # unknown, absent, present, and one toggled twice
        page.type(name)
        page.press("Enter")
    page.type("violin")
    for state in ("present", "unknown", "absent", "present", "unknown"):
        page.click("#chips button")
        assert page.value("find('#chips button').className").split()[0] == state
    page.value("find('#class').blur()")
    page.press("j")
    page.press("s")
    _, found = corrections(page)
    assert found == {
        clip_id(0): ClipLabels(("viola", "-"), ("violin",)),
        clip_id(1): ClipLabels((), ("viola", "cello")),
    }


def test_names_that_differ_only_in_case_are_two_classes(opened):
    page = opened(page_of([case(0)], classes=("Zero", "zero")))
    page.press("c")
    page.type("zero")
    page.press("Enter")
    assert page.value("labelsOf(cases[0])") == ["zero"]


def test_a_table_can_be_continued_and_a_wrong_one_is_refused(opened, tmp_path):
    page = opened(page_of([case(number) for number in range(3)]))
    page.press("d")
    rows = [[clip_id(1), "@sum", "x"], ["elsewhere.wav", "-", ""], ["=x.wav", "cello", ""]]
    (tmp_path / "old.csv").write_text(csv_text([["clip_id", "label", "reason"], *rows]), encoding="utf-8")
    page.choose_file("#import", tmp_path / "old.csv")
    assert page.until("find('#said').textContent") == "3 clips were loaded from old.csv."
    _, found = corrections(page)
    assert found == {
        clip_id(0): ClipLabels((), is_left_out=True),
        clip_id(1): ClipLabels(("@sum",)),
        "elsewhere.wav": ClipLabels((), is_left_out=True),
        "=x.wav": ClipLabels(("cello",)),
    }
    assert "and 2 clips on other pages" in page.value("find('#progress').textContent")
    for content, sentence in (
        ("", "The file is empty"),
        ("name,label\nx,y\n", "The file has columns name, label; expected clip_id and labels."),
        ("clip_id;labels\nx;a|b\n", "Line 2 gives clip x 2 labels, and every clip here has exactly one."),
        ("clip_id,label\nx,a\nx,b\n", "Line 3: clip x occurs twice."),
        ("clip_id,label\nx,a,b\n", "Line 2 has 3 values for 2 columns."),
        ('clip_id,label\n"x,a\n', "Line 2 has a quotation mark that is never closed."),
        ('clip_id,labels\nx,"[1]"\n', "is not a JSON list of names"),
        ("clip_id,labels,unknown\nx,a,b\n", "has unknown classes, but in these data all"),
    ):
        (tmp_path / "wrong.csv").write_text(content)
        page.value("find('#said').textContent = ''")
        page.choose_file("#import", tmp_path / "wrong.csv")
        said = page.until("find('#said').textContent")
        assert said.startswith("wrong.csv was not loaded: ") and sentence in said
    assert page.value("decided.size") == 4


def test_cells_are_written_as_python_writes_them(opened):
    page = opened(page_of([case(0)]))
    names = [
        *HOSTILE,
        "+1",
        "-0.5e3",
        "-x",
        "'=a",
        " = a",
        "a\t=b",
        "\uff1dx",
        "é",
        "[x",
        " padded ",
        "a;b",
        "inf",
        "-inf",
    ]
    lists = [*([one] for one in names), names, [], ["a", "-"]]
    cells = page.value(f"{json.dumps(lists)}.map(namesCell)")
    for cell, one in zip(cells, lists, strict=True):
        assert names_in_cell(cell) == tuple(one) and cell.startswith("[") == labels_cell(one).startswith("[")
    rows = [["clip_id", "labels"], *(list(pair) for pair in zip(names, cells, strict=False))]
    assert page.value(f"csvText({json.dumps(rows)})") == csv_text(rows)
    read = page.value(f"csvRows(csvText({json.dumps(rows)}))[1]")
    assert [row["labels"] for _, row in read] == [cell for _, cell in rows[1:]]


def test_commands_quote_typed_values_as_one_word(opened):
    page = opened(page_of([case(0)], features="feature_sets/mine"))
    assert "python scripts/compare_overrides.py feature_sets/mine " in page.value("find('#commands').textContent")
    page.value("find('#fields input[name=data]').focus()")
    page.type("my $(rm) isn't")
    assert r"--data_dir 'my $(rm) isn'\''t' --label_overrides" in page.value("find('#commands').textContent")
    assert " -- " not in page.value("find('#commands').textContent")
    page.value("find('#fields input[name=flags]').focus()")
    page.type("--corpus irmas")
    said = page.value("find('#commands').textContent")
    assert "isn'\\''t' --corpus irmas --label_overrides" in said and "--seeds 3 -- --corpus irmas" in said
    assert "--dataset NAME" in page_of([case(0)], data="NAME", data_flag="--dataset").replace("{data}", "NAME")


def test_a_page_has_a_maximum_size_and_escapes_text():
    assert page_of([case(0)] * (MAX_CASES + 5)).count('"drops":') == MAX_CASES
    page = page_of([case(3)], title=HOSTILE[3])
    assert page.count("<script") == 2 and HOSTILE[0] not in page
    assert "<h1>a\\u202eb\\x00\\n," in page and "\u202e" not in page, "JSON escapes it too"


def test_pages_of_the_same_clips_share_decisions():
    def key(page: str) -> str:
        return re.search(r'"key":"([^"]+)"', page)[1]

    cases = [case(0), case(1)]
    assert key(page_of(cases)) == key(page_of(cases[::-1], title="other", classes=("cello",)))
    assert key(page_of(cases)) != key(page_of(cases[:1]))
