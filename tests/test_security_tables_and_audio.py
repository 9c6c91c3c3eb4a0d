"""Third-party tables and recordings: no cell becomes a formula, nothing blocks, nothing fills the memory."""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import os
import random
import struct
from pathlib import Path

import pytest
import test_esc50
import test_fma
import test_medleydb
import test_nsynth
from tone_corpus import CARD, HOP_S, LABELS, WINDOW_S, tone_clips

from hf_audio import InputError
from hf_audio.audit.fact_store import FactStore
from hf_audio.corpora import find_corpus
from hf_audio.data.building import clip_windows
from hf_audio.data.building.build import build_features
from hf_audio.data.index.label_overrides import ClipLabels, read_overrides
from hf_audio.data.index.table import Clip, index_of, rows_of
from hf_audio.data.recordings import audio
from hf_audio.data.recordings.audio import MAX_SAMPLES, AudioError, read_audio
from hf_audio.data.tables import csv_text, read_table, written_rows
from hf_audio.files import read_yaml
from hf_audio.kinds._kaldi_fbank import KaldiFbank
from hf_audio.label_quality.agreement import label_agreement
from hf_audio.terminal import named_logger, progress, show

FORMULAS = (
    "=HYPERLINK(0)", "+x", "-a.wav", "@SUM(1)", "'=a", "''=a", "\t=1", "\r=1", " =1", "a;=cmd|' /C calc'!A0",
    "\uff1dcmd", "-1;=1", "a\n=1", "--1", "-1+1",
)  # fmt: skip
HARMLESS = ("-1.5", "+3", "-", "-inf", "1e-5", "a-b=c.wav", "'a'", "it's", "a, -b", "violin;piano", "", "-1e-05")


def written(path: Path, rows: list) -> Path:
    path.write_text(csv_text([["clip_id", "note"], *rows]), encoding="utf-8", newline="")
    return path


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_no_cell_is_a_formula_whatever_the_separator_of_a_spreadsheet(delimiter):
    text = csv_text([["clip_id", "note"], *([value, f"b{value}"] for value in FORMULAS)])
    cells = [cell for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) for cell in row]
    assert [cell for cell in cells if cell.lstrip(" ")[:1] in tuple("=+-@\uff1d\t\r")] == []


@pytest.mark.parametrize("value", FORMULAS)
def test_a_formula_is_marked_as_text(value):
    assert csv_text([[value]]) != csv_text([["x"]]).replace("x", value)


@pytest.mark.parametrize("value", HARMLESS)
def test_other_values_are_written_unchanged(value):
    assert next(csv.reader(io.StringIO(csv_text([[value, "x"]]), newline="")))[0] == value


def test_numbers_stay_numbers():
    assert csv_text([[-1.5, -3, None, float("-inf")]]) == "-1.5,-3,,-inf\n"


def test_written_values_are_read_back_exactly(tmp_path):
    draw = random.Random(0)
    values = ["".join(draw.choices("'=+-@;,\t\r\n\" a1.", k=draw.randint(1, 8))) for _ in range(3000)]
    rows = [[value, "x"] for value in (*FORMULAS, *HARMLESS, *values)]
    found = list(written_rows(written(tmp_path / "t.csv", rows)))
    assert [row["clip_id"] for row in found] == [value for value, _ in rows]


def test_column_names_are_read_back_exactly(tmp_path):
    (tmp_path / "t.csv").write_text(csv_text([["clip_id", "=drum", "-x"], ["a", 1, 2]]))
    assert list(written_rows(tmp_path / "t.csv")) == [{"clip_id": "a", "=drum": "1", "-x": "2"}]
    assert read_table(tmp_path / "t.csv")[0] == ["clip_id", "=drum", "-x"]


def test_formula_marks_are_also_removed_from_user_tables(tmp_path):
    _, rows = read_table(written(tmp_path / "t.csv", [["=a.wav", "-"], ["+x", "'quoted'"]]))
    assert [row for _, row in rows] == [{"clip_id": "=a.wav", "note": "-"}, {"clip_id": "+x", "note": "'quoted'"}]


def test_a_row_of_another_length_is_reported_as_damage(tmp_path):
    (tmp_path / "t.csv").write_text("clip_id,note\na\n")
    with pytest.raises(InputError, match="line 2 has 1 values for 2 columns"):
        list(written_rows(tmp_path / "t.csv"))


# Files that should be small and regular


def pipe_in_place_of(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("name", "corpus", "table"),
    [
        ("folder", None, "labels.csv"),
        ("esc50", test_esc50.make_tree, "esc50.csv"),
        ("fma", test_fma.make_tree, "tracks.csv"),
        ("nsynth", test_nsynth.make_tree, "examples.json"),
    ],
)
def test_a_pipe_in_place_of_a_table_is_never_waited_for(tmp_path, name, corpus, table):
    if corpus is None:
        (tmp_path / table).write_text("")
    else:
        corpus(tmp_path)
    pipe_in_place_of(next(tmp_path.rglob(table)))
    with contextlib.suppress(InputError):  # NSynth continues with its other parts
        assert list(rows_of(find_corpus(name).index(tmp_path)))


def test_a_pipe_in_place_of_corrections_is_never_waited_for(tmp_path):
    os.mkfifo(tmp_path / "overrides.csv")
    with pytest.raises(InputError, match="is not a regular file"):
        read_overrides(tmp_path / "overrides.csv")


def test_a_huge_table_is_not_read(tmp_path):
    with open(tmp_path / "labels.csv", "wb") as file:
        file.truncate(10**13)
    with pytest.raises(InputError, match="has 10,000,000,000,000 bytes, but files of its kind have at most"):
        read_table(tmp_path / "labels.csv")


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in itertools.pairwise("abcdefghijkl")
)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (LAUGHS, "has an alias"),
        ("a: &a [*a]\n", "has an alias"),
        ("a: " + "[" * 100_000, "nested more than 10 deep"),
        ("a: 2020-13-45\n", "has an invalid date or number"),
        ("!!python/object/apply:os.system ['true']\n", "is not YAML: could not determine a constructor"),
        ("- a\n", "must contain lines of `name: value`, found a list"),
        ("a: " + "x" * 2000, "has 2,003 bytes, but files of its kind have at most 1,000"),
    ],
    ids=["laughs", "itself", "deep", "date", "object", "list", "long"],
)
def test_yaml_is_plain_and_small(tmp_path, content, sentence):
    (tmp_path / "a.yaml").write_text(content)
    most_bytes = 1000 if "x" * 2000 in content else 1 << 20
    with pytest.raises(InputError, match=sentence) as caught:
        read_yaml(tmp_path / "a.yaml", most_bytes)
    assert "\n" not in str(caught.value)


def test_yaml_of_a_corpus_has_no_aliases_either(tmp_path):
    test_medleydb.make_tree(tmp_path)
    next(tmp_path.rglob("*_METADATA.yaml")).write_text(LAUGHS + "stems: {S01: {instrument: *l}}\n")
    with pytest.raises(InputError, match="has an alias"):
        find_corpus("medleydb").index(tmp_path)


@pytest.mark.parametrize("time", ["1e12", "1e300"])
def test_a_huge_time_does_not_fill_the_memory(tmp_path, time):
    test_medleydb.make_tree(tmp_path)
    next(tmp_path.rglob("*_ACTIVATION_CONF.lab")).write_text(f"time,S01\n0.0,1.0\n{time},1.0\n")
    with pytest.raises(InputError, match="is not a table of activations"):
        find_corpus("medleydb").index(tmp_path)


def test_invalid_records_of_an_audit_are_refused(tmp_path):
    for written in ("{}\n", "[" * 100_000 + "\n", '{"key": "[2]"}\n', "x" * (5 << 20)):
        (tmp_path / "facts.jsonl").write_text(written)
        with pytest.raises(InputError, match="is not a record of an audit"):
            FactStore(tmp_path / "facts.jsonl").examine(index_of([]))
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "facts.jsonl").unlink()
    (tmp_path / "facts.jsonl").symlink_to(tmp_path / "mine")
    with pytest.raises(InputError, match="is a link, and files are not written through links"):
        FactStore(tmp_path / "facts.jsonl").examine(index_of([]))
    assert (tmp_path / "mine").read_text() == "mine"


def test_a_very_long_name_is_compared_quickly():
    with pytest.raises(InputError, match="Unknown corpus"):
        find_corpus("esc" * 1_000_000)


# Recordings


def long_wav(path: Path, hours: float, sample_rate: int) -> Path:
    """A sparse 8-bit WAV file that takes no space on the disk; all samples are -1."""
    num_bytes = int(hours * 3600 * sample_rate)
    header = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", num_bytes + 36, b"WAVE", b"fmt ", 16, 1, 1, sample_rate,
                         sample_rate, 1, 8, b"data", num_bytes)  # fmt: skip
    with open(path, "wb") as file:
        file.write(header)
        file.truncate(len(header) + num_bytes)
    return path


@pytest.mark.parametrize(
    ("hours", "file_rate", "rate"), [(10, 44_100, 16_000), (20, 1_000, 16_000), (3, 44_100, 96_000)]
)
def test_a_recording_too_long_for_memory_is_refused_before_it_is_decoded(tmp_path, hours, file_rate, rate):
    path = long_wav(tmp_path / "long.wav", hours, file_rate)
    with pytest.raises(AudioError) as caught:
        read_audio(path, rate)
    most_h = MAX_SAMPLES / max(file_rate, rate) / 3600
    assert caught.value.reason == (
        f"too long: {hours:.1f} h, expected at most {most_h:.1f} h; cut it, or list stretches of it with start_s and "
        "end_s"
    )
    assert len(read_audio(path, rate, start_s=3600.0, end_s=3601.0)) == rate


def test_the_maximum_length_in_stereo_is_half_as_long(tmp_path):
    path = long_wav(tmp_path / "long.wav", 2, 44_100)
    with pytest.raises(AudioError, match="too long"):
        read_audio(path, 44_100, stereo=True)


def test_a_recording_too_long_for_memory_is_excluded_with_its_reason(tones, tmp_path, monkeypatch):
    for module in (audio, clip_windows):
        monkeypatch.setattr(module, "MAX_SAMPLES", 1_000_000)  # fewer than in one call of the extractor
    clips = tone_clips(tones)
    too_long = Clip(long_wav(tmp_path / "=long.wav", 20, 1_000), ("low",), "long", "=long.wav", split="train")
    index = index_of([*clips, too_long])
    folder = build_features(
        index, LABELS, tmp_path / "features", KaldiFbank(), window_s=WINDOW_S, hop_s=HOP_S, card=CARD, num_workers=1,
    )  # fmt: skip
    assert b"'=long.wav" in (folder / "excluded.csv").read_bytes()
    ((excluded, reason),) = ((row["clip_id"], row["reason"]) for row in written_rows(folder / "excluded.csv"))
    assert excluded == "=long.wav" and reason.startswith("too long: 20.0 h")


# Terminals


@pytest.mark.parametrize("name", ["a\x1b[2Jb", "a\rb", "a\u202eb", "a\x9bb"])
def test_names_contain_no_control_sequences_on_a_terminal(name, caplog, capsys):
    named_logger("hf_audio.test").warning("%s is left out", name)
    show(f"| {name} |")
    for _ in progress([1], desc=name):
        pass
    written = capsys.readouterr()
    for text in (caplog.text, written.out, written.err):
        assert ascii(name)[1:-1].encode().decode("ascii") in text and name not in text


def test_a_name_cannot_forge_a_line_of_a_log(caplog):
    named_logger("hf_audio.test").warning("%s is left out", "a.wav\nERROR all is lost")
    assert caplog.messages == [r"a.wav\nERROR all is lost is left out"]


def test_names_in_printed_tables_forge_no_line():
    name = 'a\nFORGED | \x1b[2J <b>\u202e"'
    table = label_agreement(*[{"clip": ClipLabels((name,))}] * 2).as_text()
    assert not [line for line in table.splitlines() if line.startswith("FORGED")] and "\x1b" not in table
