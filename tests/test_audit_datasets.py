"""The audit of datasets reads recordings in containers and on the Hub in place."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sound_containers import contained, placed, written
from test_audit import clip, cut_off, opposed, recording, write

from hf_audio.audit import to_listen
from hf_audio.audit.findings import audit_clips
from hf_audio.audit.page import audit_corpus
from hf_audio.data.index.table import index_of
from hf_audio.errors import InputError

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "audit_corpus.py"


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Nine good recordings, a broken, a silent and a truncated one, one whose channels cancel, and a copy as FLAC."""
    folder = tmp_path_factory.mktemp("recordings")
    paths = [write(folder / f"{number}.wav", recording(number, 1.0)) for number in range(9)]
    (folder / "text.wav").write_text("no sound")
    paths += [folder / "text.wav", write(folder / "zeros.wav", np.zeros(8_000))]
    paths += [cut_off(folder / "cut.wav", 0.9), write(folder / "opposed.wav", opposed(recording(20)))]
    soundfile.write(folder / "copy.wav", recording(3, 1.0), 16_000, format="FLAC")
    made = [clip(path, "xy"[number % 2]) for number, path in enumerate([*paths, folder / "copy.wav"])]
    return [*made[:4], *made[5:], made[4]]  # not sorted by name


ORDER = [7, 0, *range(8, 14), *range(1, 7)]


@pytest.fixture(scope="module")
def expected(clips):
    """The findings in the same recordings as files, in a different order from that in the containers."""
    return audit_clips(index_of([clips[row] for row in ORDER]), num_workers=1)


def told(findings):
    return [(one.clip_id, one.finding, one.detail, one.other) for one in findings]


@pytest.mark.parametrize("kind", ["parquet", "arrow", "tar"])
def test_findings_equal_those_in_files(clips, expected, tmp_path, kind, monkeypatch):
    monkeypatch.setattr("hf_audio.audit.workers.RUN_BYTES", 100_000)
    moved, files = contained(clips, kind, clips_a_file=6)
    written(files, tmp_path)
    moved = placed(moved, str(tmp_path))
    found = audit_clips(index_of([moved[row] for row in ORDER]), num_workers=1)
    assert len({one.finding for one in expected}) >= 6
    assert told(found) == told(expected)


def test_a_recording_on_the_hub_is_fetched_once_over_all_audits(clips, expected, hub, tmp_path):
    moved, files = contained(clips, "parquet", clips_a_file=6)
    labels = {f"data/train-{number:05d}.parquet": content for number, content in enumerate(files.values())}
    commit = hub.create("datasets", "alice/heard", labels, private=True).resolve().oid
    held = placed(moved, f"hf://datasets/alice/heard@{commit}")
    index = index_of([held[row] for row in ORDER])
    store = tmp_path / "facts.jsonl"
    found = audit_clips(index, store=store, num_workers=1, token=hub.token("alice"))
    assert told(found) == told(expected)
    hub.log.clear()
    assert audit_clips(index, store=store, num_workers=1, token=hub.token("alice")) == found
    assert not hub.log.requests and hub.token("alice") not in store.read_text()


def test_a_page_plays_recordings_of_a_dataset(clips, hub, tmp_path, monkeypatch, capsys):
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq
    from datasets import Audio, Features, Value

    rows = {
        "audio": [{"bytes": Path(one.path).read_bytes(), "path": one.clip_id} for one in clips],
        "label": [one.labels[0] for one in clips],
    }
    file = io.BytesIO()
    features = Features({"audio": Audio(), "label": Value("string")})
    pq.write_table(pa.table(rows, features.arrow_schema), file, row_group_size=4)
    hub.create("datasets", "alice/page", {"data/train-00000-of-00001.parquet": file.getvalue()})
    monkeypatch.setattr(to_listen, "MAX_TAKEN", 4)
    monkeypatch.setattr("hf_audio.audit.page.MAX_TAKEN", 4)
    argv = ["--dataset", "alice/page", "--output_dir", str(tmp_path / "out"), "--num_workers", "1"]
    monkeypatch.setattr(sys, "argv", ["audit_corpus.py", *argv])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    shown = capsys.readouterr().out
    assert "Read the dataset alice/page at commit" in shown and "broken            error           1" in shown
    page = (tmp_path / "out/index.html").read_text(encoding="utf-8")
    sources = set(re.findall(r'"address":"(recordings/[^"#]+)"', page))
    assert "Audit of alice/page" in page and len(sources) == 4
    assert "The first 4 playable recordings" in page
    found = {name: soundfile.info(tmp_path / "out" / name).format for name in sources}
    assert {Path(name).suffix: kind for name, kind in found.items()} == {".wav": "WAV", ".flac": "FLAC"}
    with pytest.raises(InputError, match=r"--write_csv .*usable.csv needs recordings that are files on this machine"):
        audit_corpus(None, None, tmp_path / "out", dataset="alice/page", write_csv=tmp_path / "usable.csv")
    with pytest.raises(InputError, match="--data_dir would have no effect here"):
        audit_corpus("folder", tmp_path, tmp_path / "out", dataset="alice/page")
