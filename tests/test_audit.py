"""The audit finds every defect with its reason, tells copies from similar recordings, and no file stops it."""

from __future__ import annotations

import csv
import dataclasses
import re
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import soundfile
from dying_examiner import examine_or_die

from hf_audio.audit import workers
from hf_audio.audit.fact_store import FactStore
from hf_audio.audit.findings import Finding, audit_clips, usable_clips
from hf_audio.audit.page import MAX_CLIPS, audit_corpus
from hf_audio.corpora.folder import index
from hf_audio.data.index.label_overrides import correct_labels
from hf_audio.data.index.labels import LabelSpace
from hf_audio.data.index.table import Clip, index_of, rows_of
from hf_audio.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
RATE = 16_000


def recording(seed: int, duration_s: float = 3.0) -> np.ndarray:
    """Notes of random pitch, length and loudness in noise. No two seeds share a melody."""
    random = np.random.default_rng(seed)
    samples = 0.003 * random.standard_normal(round(duration_s * RATE))
    at = 0
    while at < len(samples):
        time_s = np.arange(min(random.integers(1500, 8000), len(samples) - at)) / RATE
        pitch_hz = random.uniform(100, 1500)
        note = sum(np.sin(2 * np.pi * pitch_hz * harmonic * time_s) / harmonic for harmonic in (1, 2, 3))
        samples[at : at + len(time_s)] += random.uniform(0.05, 0.3) * note * np.exp(-random.uniform(1, 8) * time_s)
        at += len(time_s)
    return samples


def write(path: Path, samples: np.ndarray, **options) -> Path:
    if not options:  # formats differ in how they round floating-point samples
        samples = np.round(np.clip(samples * 2**15, -(2**15), 2**15 - 1)).astype(np.int16)
    soundfile.write(path, samples, options.pop("rate", RATE), **options)
    return path


def clip(path: Path, label: str = "x", group: str = "", split: str | None = None) -> Clip:
    return Clip(path, (label,), group or path.name, path.name, split=split)


def opposed(samples: np.ndarray) -> np.ndarray:
    return np.stack([samples, -0.95 * samples], axis=1)


def not_a_number(path: Path) -> Path:
    return write(path, np.where(np.arange(RATE) == 99, np.nan, recording(1, 1.0)), subtype="FLOAT")


def cut_off(path: Path, share: float) -> Path:
    write(path, recording(round(100 * share)))
    path.write_bytes(path.read_bytes()[: round(share * path.stat().st_size)])
    return path


# file: what creates it, and the expected finding
DEFECTS = {
    "text.wav": (lambda path: path.write_text("no sound"), "broken", "unreadable: Format not recognised."),
    "nothing.wav": (lambda path: path.write_bytes(b""), "broken", "empty"),
    "gone.wav": (lambda path: None, "broken", "missing"),
    "link.wav": (lambda path: path.symlink_to("nowhere.wav"), "broken", "missing: a link that leads nowhere"),
    "nan.wav": (not_a_number, "broken", "non-finite samples"),
    "half.wav": (lambda path: cut_off(path, 0.5), "broken", r"unreadable: truncated after 1.50 of 3.00 s"),
    "nine tenths.wav": (lambda path: cut_off(path, 0.9), "cut off", "10% of the sound"),
    "most.ogg": (lambda path: cut_off(path, 0.7), "cut off", "the last page of the Ogg file is missing"),
    "zeros.wav": (lambda path: write(path, np.zeros(RATE)), "silent", "silent"),
    "opposite.wav": (
        lambda path: write(path, np.stack([recording(3), -recording(3)], axis=1), subtype="FLOAT"),
        "silent",
        "silent as mono: its channels cancel each other",
    ),
    "opposed.wav": (lambda path: write(path, opposed(recording(4))), "channels cancel", "dB quieter in mono"),
    "clipped.wav": (lambda path: write(path, np.clip(9 * recording(5), -1, 1)), "clipped", "at full scale"),
    "clipped 8.wav": (
        lambda path: write(path, np.clip(9 * recording(6), -1, 1), subtype="PCM_U8"),
        "clipped",
        "at full scale",
    ),
    "quiet.wav": (lambda path: write(path, 0.005 * recording(7), subtype="FLOAT"), "too quiet", r"peak -\d+ dB, RMS"),
    "pause.wav": (lambda path: write(path, np.pad(recording(8, 0.5), (0, 4 * RATE))), "mostly quiet", "% of the clip"),
    "left.wav": (
        lambda path: write(path, np.stack([recording(9), 0 * recording(9)], axis=1)),
        "dead channel",
        "1 of 2 channels",
    ),
    "offset.wav": (lambda path: write(path, 0.3 * recording(10) - 0.2), "offset", r"is -0\.2"),
    "called.wav": (lambda path: write(path, recording(11), format="MP3"), "wrong suffix", "MP3 file named .wav"),
    "long.wav": (lambda path: write(path, recording(12, 40.0)), "unlike the rest", "40 s long; the median"),
    "rate.wav": (lambda path: write(path, recording(13), rate=44_100), "unlike the rest", "44100 Hz, "),
}
STEREO = {"opposed.wav", "left.wav"}  # the other files are mono, so being stereo is a finding too


@pytest.fixture(scope="module")
def defects(tmp_path_factory) -> tuple[list[Clip], list[Finding]]:
    folder = tmp_path_factory.mktemp("defects")
    for name, (make, _, _) in DEFECTS.items():
        make(folder / name)
    good = [write(folder / f"good {number}.wav", recording(100 + number)) for number in range(30)]
    clips = [clip(path) for path in (*(folder / name for name in DEFECTS), *good)]
    return clips, audit_clips(index_of(clips), num_workers=2)


@pytest.mark.parametrize("name", DEFECTS)
def test_every_defect_is_found(defects, name):
    of_clip = [one for one in defects[1] if one.clip_id == name]
    _, finding, detail = DEFECTS[name]
    if name in STEREO:
        assert of_clip.pop().detail.startswith("2 channel(s), ")
    assert [one.finding for one in of_clip] == [finding] and re.search(detail, of_clip[0].detail), of_clip


def test_good_recordings_have_no_findings(defects):
    clips, findings = defects
    assert {one.clip_id for one in findings} == set(DEFECTS)
    unusable = {name for name, (_, finding, _) in DEFECTS.items() if finding in ("broken", "silent")}
    assert {one.clip_id for one in clips} - {
        one.clip_id for one in rows_of(usable_clips(index_of(clips), findings))
    } == unusable
    severities = [one.severity for one in findings]
    assert severities == sorted(severities, key=("error", "warning", "note").index), "errors come first"


COPIES = {
    "same.flac": lambda path, sound: write(path, sound),
    "small.mp3": lambda path, sound: write(path, sound, compression_level=0.9),
    "small.ogg": lambda path, sound: write(path, sound, compression_level=0.9),
    "quiet.wav": lambda path, sound: write(path, 0.1 * sound),
    "stereo.wav": lambda path, sound: write(path, np.stack([sound, sound], axis=1)),
    "cut.wav": lambda path, sound: write(path, sound[RATE // 2 :]),
    "late.wav": lambda path, sound: write(path, np.concatenate([np.zeros(7000), sound])),
    "everything.mp3": lambda path, sound: write(path, 0.4 * sound[5555:-3000]),
}


def test_processed_copies_are_found(tmp_path):
    clips = []
    for number, (name, make) in enumerate(COPIES.items()):
        sound = recording(number, 5.0)
        clips += [clip(write(tmp_path / f"{number}.wav", sound), group=f"g{number}")]
        make(tmp_path / name, sound)
        clips += [clip(tmp_path / name, group=f"g{number}")]
    clips += [clip(write(tmp_path / f"other {seed}.wav", recording(50 + seed, 5.0))) for seed in range(12)]
    findings = [one for one in audit_clips(index_of(clips), num_workers=1) if one.other]
    assert {(one.clip_id, one.other) for one in findings} == {
        (name, f"{number}.wav") for number, name in enumerate(COPIES)
    }
    assert {one.finding for one in findings if one.clip_id == "same.flac"} == {"duplicate"}
    assert {one.finding for one in findings if one.clip_id != "same.flac"} == {"near-duplicate"}
    assert {one.severity for one in findings} == {"warning"}


def test_copies_that_disagree_are_leaks(tmp_path):
    clips = []
    twins = {"split": [("x", "g", "train"), ("x", "g", "test")], "label": [("x", "g", None), ("y", "g", None)]}
    for seed, (name, pair) in enumerate({**twins, "group": [("x", "g", "train"), ("x", "h", "train")]}.items()):
        for suffix, facts in zip(("wav", "flac"), pair, strict=True):
            clips.append(clip(write(tmp_path / f"{name}.{suffix}", recording(seed)), *facts))
    clips.append(clip(write(tmp_path / "label.mp3", recording(1)), "z", "g"))
    leaks = {one.clip_id: one for one in audit_clips(index_of(clips), num_workers=1) if one.finding == "leak"}
    assert leaks["split.flac"].detail == "duplicate (the same samples) in two splits, train and test"
    assert leaks["label.flac"].detail == "duplicate (the same samples) with two labels, x and y"
    assert leaks["group.flac"].detail == "duplicate (the same samples) in two groups, g and h"
    assert re.fullmatch(r"near-duplicate \(\d+% similar\) with two labels, x and z", leaks["label.mp3"].detail)
    assert {one.severity for one in leaks.values()} == {"error"} and len(leaks) == 4


def test_excerpts_of_one_recording_are_no_copies(tmp_path):
    whole = clip(write(tmp_path / "long.wav", recording(0, 8.0)))
    stretches = [
        dataclasses.replace(whole, start_s=float(start_s), end_s=start_s + 5.0, clip_id=f"{start_s}")
        for start_s in (0, 0.3, 3)
    ]
    assert audit_clips(index_of(stretches), num_workers=1) == []


def test_similar_real_recordings_are_no_copies(shared_data, tmp_path):
    """ESC-10 contains one of these twice, under two names. The two copies' samples have a correlation of 0.97."""
    clips = list(rows_of(index(shared_data / "esc10")))
    twice = [one for one in clips if re.search(r"2-(28314|30322)-A", one.clip_id)]
    sneezes = [one for one in clips if "person_sneeze" in one.clip_id]
    chosen = [*twice, *sneezes[:15], *[one for one in clips[::10] if one not in twice and one not in sneezes]]
    findings = [one for one in audit_clips(index_of(chosen), num_workers=2) if one.other]
    assert [(one.finding, one.clip_id[-13:], one.other[-13:]) for one in findings] == [
        ("leak", "2-30322-A.ogg", "2-28314-A.ogg")
    ]


def test_a_file_that_crashes_the_decoder_is_found(tmp_path, monkeypatch):
    clips = [clip(write(tmp_path / f"{number}.wav", recording(number, 1.0))) for number in range(40)]
    monkeypatch.setattr(workers, "_examine", examine_or_die)
    findings = audit_clips(index_of(clips), num_workers=2)
    assert [(one.clip_id, one.finding, one.detail) for one in findings] == [
        ("3.wav", "broken", workers.CRASHED),
        ("25.wav", "broken", workers.CRASHED),
    ]


def test_a_killed_audit_is_resumed(tmp_path):
    clips = [clip(write(tmp_path / f"{number}.wav", recording(number, 1.0))) for number in range(20)]
    store = FactStore(tmp_path / "facts.jsonl")
    Path(clips[0].path).write_bytes(b"")
    findings = audit_clips(index_of(clips), store=store, num_workers=1)
    lines = store.path.read_bytes().splitlines(keepends=True)
    store.path.write_bytes(b"".join(lines[:12]) + lines[12][:100])
    assert audit_clips(index_of(clips), store=store.path, num_workers=1) == findings != []
    assert sorted(store.path.read_bytes().splitlines(keepends=True)) == sorted(lines)
    write(clips[0].path, recording(99, 1.0))
    store.path.write_bytes(b'{"key": "[1]"}\n' + store.path.read_bytes())  # from a version with other measurements
    assert audit_clips(index_of(clips), store=store.path, num_workers=1) == [], "a changed file is measured again"
    assert len(store.path.read_bytes().splitlines()) == 22


def class_folders(root: Path, count: int = 3) -> Path:
    """A good recording and a broken file per class, and one copy."""
    for number in range(count):
        (root / f"ü & <b>{number}").mkdir(parents=True)
        write(root / f"ü & <b>{number}" / "a #1 %20.wav", recording(number, 1.0))
        (root / f"ü & <b>{number}" / "broken.wav").write_bytes(b"?")
    write(root / "ü & <b>0" / "copy.flac", recording(1, 1.0))
    return root


def test_the_page_is_self_contained_and_plays_what_it_lists(tmp_path, capsys):
    root = class_folders(tmp_path / "recordings")
    findings = audit_corpus("folder", root, tmp_path / "out" / "audit", num_workers=1)
    rows = list(csv.DictReader((tmp_path / "out/audit/audit.csv").open(encoding="utf-8")))
    assert [Finding(**row) for row in rows] == findings and len(findings) == 4
    page = (tmp_path / "out/audit/index.html").read_text(encoding="utf-8")
    assert "http://" not in page and "https://" not in page and "<b>" not in page and str(tmp_path) not in page
    sources = re.findall(r'"address":"([^"]+)"', page)
    assert len(sources) == 5 and all((tmp_path / "out/audit" / unquote(source)).is_file() for source in sources)
    assert page.count("data:image/png;base64,") == 1, "broken files have no plot"
    assert page.count('"drops":true') == 4, "broken files and copies are suggested to be dropped"
    assert "broken            error           3" in (said := capsys.readouterr().out)
    assert "3 of 7 clips have no findings" in said


def test_a_single_label_part_of_a_multi_label_corpus_may_get_several_labels(tmp_path):
    (tmp_path / "IRMAS-TrainingData" / "cel").mkdir(parents=True)
    (tmp_path / "IRMAS-TrainingData" / "cel" / "[cel][nod][cla]0001__1.wav").write_bytes(b"?")
    audit_corpus("irmas", tmp_path, tmp_path / "out", num_workers=1)
    page = (tmp_path / "out/index.html").read_text()
    assert '"isMulti":true' in page, "although each clip here has one label"
    assert '"name":"flags"' in page and '"value":"--corpus irmas"' in page, "the shown flags read the audited corpus"


def test_useless_recordings_can_be_dropped_on_the_page(tmp_path, browser):
    root = class_folders(tmp_path / "recordings")
    audit_corpus("folder", root, tmp_path / "out", num_workers=1)
    page = browser.open(tmp_path / "out/index.html")
    page.value("find('#tag').value = 'broken'; find('#tag').dispatchEvent(new Event('input'))")
    page.click("#accept-all")
    page.value("find('#tag').value = 'leak'; find('#tag').dispatchEvent(new Event('input'))")
    page.click("tbody tr:not([hidden])")
    assert page.value("document.querySelectorAll('#sounds audio').length") == 2, "the copy and its original"
    page.press("s")
    page.click("#download")
    clips = index(root)
    names = LabelSpace(tuple(sorted({one.labels[0] for one in rows_of(clips)})), "single_label_classification")
    left = correct_labels(clips, names, page.downloaded()).clips["clip_id"].to_pylist()
    assert left == ["ü & <b>0/a #1 %20.wav", "ü & <b>0/copy.flac", "ü & <b>2/a #1 %20.wav"]
    assert page.complaints == []
    page.close()


def test_a_page_stays_small(tmp_path):
    root = tmp_path / "recordings" / "x"
    root.mkdir(parents=True)
    for number in range(MAX_CLIPS + 7):
        (root / f"{number}.wav").write_bytes(b"?")
    assert len(audit_corpus("folder", root.parent, tmp_path / "out", num_workers=1)) == MAX_CLIPS + 7
    page = (tmp_path / "out/index.html").read_text()
    assert page.count('"address":') == MAX_CLIPS and "7 more clips are in audit.csv" in page and len(page) < 200_000


def test_the_script_reports_counts_and_writes_usable_recordings(tmp_path, forks):
    root = class_folders(tmp_path / "recordings")
    options = ("--data_dir", root, "--num_workers", "1", "--strict", "--write_csv", tmp_path / "usable.csv")
    done = forks.run(ROOT / "scripts/audit_corpus.py", *options, "--output_dir", tmp_path / "out")
    assert done.returncode == 2 and "error: 3 of 7 clips cannot be used, first ü & <b>0/broken.wav" in done.errors
    assert "leak              error           1" in done.output
    usable = list(rows_of(index(tmp_path / "usable.csv")))
    assert [(one.labels, Path(one.path).name) for one in usable] == [
        (("ü & <b>0",), "a #1 %20.wav"),
        (("ü & <b>0",), "copy.flac"),
        (("ü & <b>2",), "a #1 %20.wav"),
    ]
    assert (tmp_path / "out/index.html").is_file()


def test_what_cannot_be_audited_is_refused(tmp_path):
    with pytest.raises(InputError, match="no clips to audit"):
        audit_clips(index_of([]))
    root = class_folders(tmp_path / "recordings")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=r"Cannot write .*file.*; choose another"):
        audit_corpus("folder", root, tmp_path / "file")
