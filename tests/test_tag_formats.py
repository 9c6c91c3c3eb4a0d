"""Tags as text, compared exactly: every format, with names that would forge lines or be formulas."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest

from hf_audio.data.index.labels import MULTI_LABEL, LabelSpace
from hf_audio.tagging.formats import FORMATS
from hf_audio.tagging.settings import TagSettings
from hf_audio.tagging.sounds import Recording
from hf_audio.tagging.tags import Tags

HIGH, LOW = 2.0, -2.0  # logits of the scores .881 and .119


def tags_of(names=("bell", "hum"), name="a.wav", top_k=None) -> Tags:
    """Tags of four windows of 1 s: the first class in the first half, the second class in the last quarter."""
    logits = np.array([[HIGH, LOW], [HIGH, LOW], [LOW, LOW], [LOW, HIGH]], np.float32)
    settings = TagSettings(1.0, 1.0, 0.5, top_k, 0.0, "as given")
    return Tags(Recording(name), LabelSpace(names, MULTI_LABEL), settings, np.arange(4.0), 1.0, logits, 3661.5)


def whole(name: str, *many: Tags) -> str:
    form = FORMATS[name]
    return form.begin + form.between.join(map(form.text, many)) + form.end


def test_table():
    assert whole("table", tags_of(), tags_of(name="b.wav", top_k=1)) == (
        "a.wav  3661.50 s\n  0.500 ##########.......... bell\n  0.269 #####............... hum\n"
        "     0.00 -    2.00 s  0.881 bell\n     3.00 - 3661.50 s  0.881 hum\n\n"
        "b.wav  3661.50 s\n  0.500 ##########.......... bell\n"
        "     0.00 -    2.00 s  0.881 bell\n     3.00 - 3661.50 s  0.881 hum\n"
    )


def test_csv():
    rows = list(csv.reader(io.StringIO(whole("csv", tags_of(top_k=1), tags_of(("=A1", "hum"), "+cmd.wav")))))
    assert rows[0] == ["file", "part", "start_s", "end_s", "label", "score"]
    assert rows[1] == ["a.wav", "recording", "0.000", "3661.500", "bell", "0.500000"]
    assert rows[2:4] == [
        ["a.wav", "segment", "0.000", "2.000", "bell", "0.880797"],
        ["a.wav", "segment", "3.000", "3661.500", "hum", "0.880797"],
    ]
    assert rows[4][0] == "'+cmd.wav" and rows[4][4] == "'=A1"


def test_json():
    (one, other) = json.loads(whole("json", tags_of(), tags_of(name="b.wav")))
    assert one["scores"] == [{"label": "bell", "score": 0.5}, {"label": "hum", "score": 0.268941}]
    assert one["segments"][0] == {"label": "bell", "start_s": 0.0, "end_s": 2.0, "score": 0.880797}
    assert one["timeline"][3] == {
        **{"start_s": 3.0, "end_s": 4.0},
        "scores": [{"label": "hum", "score": 0.880797}, {"label": "bell", "score": 0.119203}],
    }
    assert other["file"] == "b.wav" and json.loads(whole("json")) == []
    lines = whole("jsonl", tags_of(name="a\nb.wav"), tags_of()).splitlines()
    assert [json.loads(line)["file"] for line in lines] == ["a\nb.wav", "a.wav"]


def test_labels_for_audacity():
    assert whole("audacity", tags_of(("bell\nx\ty", "hum"))) == (
        "0.000000\t2.000000\tbell\\nx\\ty\n3.000000\t3661.500000\thum\n"
    )


def test_subtitles():
    assert whole("srt", tags_of(("a --> b", "hum"))) == (
        "1\n00:00:00,000 --> 00:00:02,000\na -> b (0.88)\n\n2\n00:00:03,000 --> 01:01:01,500\nhum (0.88)\n"
    )


@pytest.mark.parametrize("name", ["table", "audacity", "srt"])
def test_names_contain_no_control_sequences(name):
    text = whole(name, tags_of(("\x1b[2J", "\u202ehum"), "\x1b]0;x\x07.wav"))
    assert "\x1b" not in text and "\u202e" not in text
