"""Planted label errors are found, shown, and corrected by the table that is written for --label_overrides."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import runpy
import sys
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import soundfile
from PIL import Image

from hf_audio import (
    DataConfig,
    InputError,
    build_corpus_features,
    compare_overrides,
    find_label_errors,
    load_features,
    read_clip_labels,
    write_label_errors,
)
from hf_audio.data.index.labels import LabelSpace
from hf_audio.label_quality.clip_vectors import ClipTable
from hf_audio.label_quality.errors import MIN_AGREEMENT, _errors_of_each_class, _errors_of_one_label, out_of_fold
from hf_audio.label_quality.override_comparison import compare_runs, without_test_clips
from hf_audio.label_quality.planted_errors import find_planted_errors, plant
from hf_audio.label_quality.sounds import sound_addresses
from hf_audio.metrics import WindowScores
from hf_audio.stored_scores import write_scores

ROOT = Path(__file__).parents[1]
PITCH_HZ = {"bell": 2400.0, "flute": 1000.0, "horn": 450.0, "tuba": 150.0}
NUM_CLIPS, SAMPLE_RATE = 200, 16_000
NAMES = sorted(PITCH_HZ)


def tone(names, seed: int) -> np.ndarray:
    """Half a second of the named classes' tones, each at its own pitch, in noise."""
    random = np.random.default_rng(seed)
    time_s = np.arange(SAMPLE_RATE // 2) / SAMPLE_RATE
    tones = [np.sin(2 * np.pi * PITCH_HZ[name] * random.uniform(0.8, 1.25) * time_s) for name in names]
    level = 0.2 * 10 ** (random.uniform(-6, 0) / 20)
    return level * sum(tones, np.zeros(len(time_s))) + 0.02 * random.standard_normal(len(time_s))


def flipped(names: tuple[str, ...], random: np.random.Generator) -> tuple[str, ...]:
    """One of several labels inverted: removed if present, added if absent."""
    name = NAMES[random.integers(len(NAMES))]
    return tuple(sorted({*names} ^ {name}))


def build(folder: Path, column: str) -> tuple[Path, dict[str, tuple[str, ...]], set[str]]:
    """Features of clips, a tenth of them labeled wrong; the true labels; and the ids of the wrong clips."""
    random = np.random.default_rng(1)
    corpus, rows, truth, wrong = folder / "my corpus", [], {}, set()
    planted = random.choice(NUM_CLIPS, NUM_CLIPS // 10, replace=False)
    corpus.mkdir()
    for number in range(NUM_CLIPS):
        names = (NAMES[number % 4],)
        if column == "labels":
            names = tuple(name for name in NAMES if random.random() < 0.45)
        path = f"ö {number:03d}.wav"
        soundfile.write(corpus / path, tone(names, number), SAMPLE_RATE)
        given = names
        if number in planted:
            given = flipped(names, random) if column == "labels" else (NAMES[(number + random.integers(1, 4)) % 4],)
            wrong.add(Path(path).name)
        truth[path] = names
        rows.append(f"{path},{';'.join(given)},g{number // 2},{'test' if number % 5 == 4 else 'train'}\n")
    rows = [re.sub(r",g\d+,", f",g{number // 10}-{number % 5},", row) for number, row in enumerate(rows)]
    (corpus / "labels.csv").write_text(f"path,{column},group,split\n" + "".join(rows), encoding="utf-8")
    data = DataConfig(data_dir=str(corpus), validation_fraction=0.1, num_workers=1)
    return build_corpus_features(data, folder / "features"), truth, wrong


@pytest.fixture(scope="module")
def one_label(tmp_path_factory):
    return build(tmp_path_factory.mktemp("one"), "label")


@pytest.fixture(scope="module")
def several_labels(tmp_path_factory):
    return build(tmp_path_factory.mktemp("several"), "labels")


@pytest.mark.parametrize(
    ("corpus", "hold_out", "least_precision", "least_recall"),
    [
        ("one_label", "groups", 0.9, 0.9),
        ("one_label", "clips", 0.9, 0.9),
        ("several_labels", "groups", 0.7, 0.8),
    ],
)
def test_planted_errors_are_found(request, corpus, hold_out, least_precision, least_recall):
    folder, truth, wrong = request.getfixturevalue(corpus)
    found = find_label_errors(load_features(folder), splits=["train", "validation", "test"], hold_out=hold_out)
    names = {error.row["clip_id"] for error in found.errors}
    hits = names & wrong
    assert found.num_checked == NUM_CLIPS and found.num_not_checked == 0
    assert len(hits) >= least_precision * len(names) and len(hits) >= least_recall * len(wrong)
    right = [error for error in found.errors if error.suggested == truth[error.row["clip_id"]]]
    assert len(right) >= least_precision * len(found.errors)
    assert found.agreement > 0.8
    assert all(error.confidence > error.quality for error in found.errors)


def test_planting_changes_known_labels_only():
    targets = np.eye(4, dtype=np.float32)[np.arange(200) % 4]
    planted, turned = plant(targets, 0.1, is_multi_label=False)
    assert len(planted) == 20 and (turned.sum(axis=1) == 1).all()
    np.testing.assert_array_equal(np.flatnonzero((turned != targets).any(axis=1)), planted)
    partial = np.where(np.arange(200)[:, None] % 2 == 0, targets, np.nan)
    partial[:, 0] = 1
    planted, turned = plant(partial, 0.5, is_multi_label=True)
    changed = (turned != partial) & ~np.isnan(partial)
    np.testing.assert_array_equal(np.isnan(turned), np.isnan(partial))
    np.testing.assert_array_equal(changed.sum(axis=1), np.isin(np.arange(200), planted))


@pytest.mark.parametrize("corpus", ["one_label", "several_labels"])
def test_planted_errors_measure_precision_and_recall(request, corpus):
    """A tenth is already wrong and counts against precision; of 16 more planted errors, most are found."""
    features = load_features(request.getfixturevalue(corpus)[0])
    draw, again, other = find_planted_errors(features, 0.1, seeds=(0, 0, 1))
    assert draw.num_planted == 16 and draw.recall > 0.6 and 0.3 < draw.precision < 0.9
    assert draw.num_found == len(draw.found.errors)
    assert draw == again != other, "one draw does not depend on another"
    with pytest.raises(InputError, match=r"--plant must be above 0 and at most 0\.5, found 0\.7"):
        find_planted_errors(features, 0.7)


def test_the_written_page_and_table_can_be_used(one_label, tmp_path):
    folder, truth, wrong = one_label
    features = load_features(folder)
    found = find_label_errors(features)
    checked = {clip_id for split in ("train", "validation") for clip_id in features.splits[split]["clip_id"]}
    assert found.num_checked == len(checked), "test labels are checked only on request"
    corpus = folder.parent / "my corpus"
    out = tmp_path / "out"
    num_sure = write_label_errors(found, features, out, data_dir=corpus, min_confidence=0.6, num_plots=3)

    with open(out / "label_errors.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(found.errors) and rows[0]["given"] != rows[0]["suggested"]
    assert [float(row["quality"]) for row in rows] == sorted(float(row["quality"]) for row in rows)
    overrides = read_clip_labels(out / "overrides.csv")
    sure = {row["clip_id"]: row for row in rows if float(row["confidence"]) >= 0.6}
    assert set(overrides) == set(sure) and num_sure == len(sure)
    assert all(one.labels == (sure[clip_id]["suggested"],) for clip_id, one in overrides.items())

    page = (out / "index.html").read_text(encoding="utf-8")
    assert f"{len(rows)} labels of {folder.parent.name} that are probably wrong" in page
    cases = json.loads(re.search(r'<script id="data"[^>]*>(.*?)</script>', page)[1])["cases"]
    assert [one["id"] for one in cases] == [row["clip_id"] for row in rows]
    assert "http://" not in page and "https://" not in page and str(tmp_path) not in page
    assert all((out / unquote(sound["address"])).is_file() for one in cases for sound in one["sounds"])
    assert all(len(one["sounds"]) == 1 for one in cases)
    plots = [one["plot"].removeprefix("data:image/png;base64,") for one in cases if one["plot"]]
    assert len(plots) == 3
    assert Image.open(io.BytesIO(base64.b64decode(plots[0]))).height == 128

    data = DataConfig(data_dir=str(corpus), num_workers=1, validation_fraction=0.0)
    data.label_overrides = str(out / "overrides.csv")
    fixed = read_clip_labels(build_corpus_features(data, tmp_path / "fixed"))
    still_wrong = {clip_id for clip_id in checked if fixed[clip_id].labels != truth[clip_id]}
    assert len(still_wrong) < 0.3 * len(wrong & checked)


def test_decisions_on_the_page_are_trained_with(one_label, browser, tmp_path):
    folder, _, _ = one_label
    features = load_features(folder)
    found = find_label_errors(features)
    write_label_errors(found, features, tmp_path, data_dir=folder.parent / "my corpus", min_confidence=0.6)
    page = browser.open(tmp_path / "index.html")
    page.press(" ")
    page.until("document.querySelector('#sounds audio').duration === 0.5")
    page.press("g")  # the first clip is right after all
    page.value("find('#surely').value = '0.6'")
    page.click("#accept-all")
    page.click("#download")
    table = page.downloaded()
    given, sure = found.errors[0].row["clip_id"], read_clip_labels(tmp_path / "overrides.csv")
    expected = sure | {given: read_clip_labels(folder)[given]}
    assert {name: one.labels for name, one in read_clip_labels(table).items()} == {
        name: one.labels for name, one in expected.items()
    }
    assert compare_overrides(features, table, seeds=2).is_noise
    assert page.complaints == []
    page.close()


def test_the_page_plays_the_clips_own_file_or_none(tmp_path):
    files = ("a#1.wav", "a.wav", "x/b.wav", "y/b.wav", "c.wav")
    for name in files:
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_bytes(b"")
    clip_ids = ("a#1.wav", "a#1.wav#0-2", "a.wav#0-2", "b", "c", "gone")
    rows = [{"clip_id": name, "start_s": 0.0, "end_s": None} for name in clip_ids]
    played = {name: unquote(one) for name, one in sound_addresses(rows, tmp_path / "data", tmp_path).items()}
    assert set(played) == {"a#1.wav", "a#1.wav#0-2", "a.wav#0-2", "c"}, "b is in two folders: neither is played"
    assert played["a#1.wav"] == played["a#1.wav#0-2"] == "data/a#1.wav"
    assert played["a.wav#0-2"] == "data/a.wav" and played["c"] == "data/c.wav"
    (tmp_path / "data" / "labels.csv").write_text("path,label")
    assert sound_addresses(rows, tmp_path / "data" / "labels.csv", tmp_path).keys() == played.keys()
    with pytest.raises(InputError, match=r"--data_dir .*gone does not exist: name the folder of the recordings"):
        sound_addresses(rows, tmp_path / "gone", tmp_path)


def test_predictions_of_runs_check_the_clips_they_tested_on(one_label, tmp_path):
    folder, truth, wrong = one_label
    features = load_features(folder)
    ids = np.array(list(dict.fromkeys(features.splits["test"]["clip_id"])))
    logits = np.log(
        [[0.91 if (name,) == truth[clip_id] else 0.03 for name in features.labels.names] for clip_id in ids]
    )
    keys, targets = np.arange(len(ids)), np.zeros_like(logits)
    scores = WindowScores(ids, ids, keys, np.zeros(len(ids)), logits.astype(np.float32), targets)
    write_scores(tmp_path, {"test": scores}, features.labels, 0.5, "test")
    tables = [tmp_path / "scores" / "clips.parquet"]
    found = find_label_errors(features, splits=["train", "validation", "test"], predictions=tables)
    tested = set(features.splits["test"]["clip_id"])
    assert {error.row["clip_id"] for error in found.errors} == wrong & tested
    assert found.num_checked == len(tested) and found.num_not_checked == NUM_CLIPS - len(tested)
    with pytest.raises(InputError, match=r"None of the 160 checked clips is in .*predictions of runs that were tested"):
        find_label_errors(features, predictions=tables)
    others = LabelSpace((*features.labels.names[:-1], "oboe"), features.labels.problem_type)
    write_scores(tmp_path, {"test": scores}, others, 0.5, "test")
    with pytest.raises(InputError, match=r"has other classes .*; expected scores of a run on the same classes"):
        find_label_errors(features, predictions=tables)
    tables[0].write_text("clip_id,oboe\na,0.5\n")
    with pytest.raises(InputError, match=r"clips.parquet is not scores/clips.parquet of a run"):
        find_label_errors(features, predictions=tables)


def test_a_class_with_one_group_cannot_be_checked(tmp_path):
    corpus = tmp_path / "corpus"
    rows = ["path,label,group,split"]
    for number in range(40):
        name = "lonely" if number < 4 else NAMES[number % 2]
        corpus.mkdir(exist_ok=True)
        soundfile.write(corpus / f"{number}.wav", tone((NAMES[number % 4],), number), SAMPLE_RATE)
        rows.append(f"{number}.wav,{name},{'solo' if name == 'lonely' else number},train")
    (corpus / "labels.csv").write_text("\n".join(rows))
    data = DataConfig(data_dir=str(corpus), validation_fraction=0.0, test_fraction=0.0, num_workers=1)
    found = find_label_errors(load_features(build_corpus_features(data, tmp_path / "features")))
    assert found.num_not_checked == 4 and found.num_checked == 36
    assert not any(error.given == ("lonely",) for error in found.errors)


def test_scores_before_and_after_corrections(one_label, tmp_path):
    folder, truth, wrong = one_label
    features = load_features(folder)
    test = set(features.splits["test"]["clip_id"])
    given = read_clip_labels(folder)
    right = {clip_id: ";".join(truth[clip_id]) for clip_id in wrong}
    shuffled = {
        clip_id: NAMES[(NAMES.index(one.labels[0]) + 1 + number % 3) % 4]
        for number, (clip_id, one) in enumerate(given.items())
        if clip_id not in test
    }
    tables = {"right": right, "harmful": shuffled}
    compared = {}
    for name, labels in tables.items():
        path = tmp_path / f"{name}.csv"
        path.write_text("clip_id,label\n" + "".join(f"{one},{label}\n" for one, label in labels.items()))
        compared[name] = compare_overrides(features, path, seeds=4)
    assert compared["harmful"].difference < -0.3 and not compared["harmful"].is_noise
    assert "significantly worse" in compared["harmful"].as_text()
    assert compared["right"].is_noise and abs(compared["right"].difference) < 0.1, (
        "few errors do not harm a linear model"
    )

    kept = read_clip_labels(without_test_clips(tmp_path / "right.csv", features, tmp_path / "train.csv"))
    assert set(kept) == wrong - test, "in a recipe too, test labels stay as they are"
    (tmp_path / "new.csv").write_text("clip_id,label\nö 000.wav,gong\nö 001.wav,gong\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"has new classes .gong.*cannot be compared"):
        compare_overrides(features, tmp_path / "new.csv")
    assert compare_runs("accuracy", [0.5, 0.6, 0.55], [0.6, 0.71, 0.64]).is_noise is False
    assert compare_runs("accuracy", [0.5, 0.6, 0.55], [0.6, 0.5, 0.57]).is_noise


@pytest.mark.parametrize("problem_type", ["single_label_classification", "multi_label_classification"])
def test_random_predictions_do_not_agree_with_the_labels(problem_type):
    """A clip has few of many classes, so always answering "absent" is nearly always right and must not count."""
    random, labels = np.random.default_rng(0), LabelSpace(tuple(f"c{number}" for number in range(30)), problem_type)
    targets = np.eye(30, dtype=np.float32)[random.integers(30, size=200)]
    clips = ClipTable([{"clip_id": str(n), "group": str(n), "split": "train"} for n in range(200)], targets)
    vectors = random.normal(size=(200, 8)).astype(np.float32)
    probabilities = out_of_fold(vectors, np.arange(200), clips, labels)
    find = _errors_of_each_class if labels.is_multi_label else _errors_of_one_label
    assert find(clips, probabilities, labels)[1] < MIN_AGREEMENT
    assert find(clips, 0.01 + 0.9 * targets, labels)[1] == 1.0


def test_one_class_has_no_wrong_labels():
    labels = LabelSpace(("bell",), "single_label_classification")
    clips = ClipTable([{"clip_id": str(n), "group": str(n)} for n in range(6)], np.ones((6, 1), dtype=np.float32))
    probabilities = out_of_fold(np.eye(6, dtype=np.float32), np.arange(6), clips, labels)
    with pytest.raises(InputError, match=r"1 class.*two or more groups; expected at least two"):
        _errors_of_one_label(clips, probabilities, labels)


def run_script(name: str, argv: list[str], monkeypatch, cwd: Path) -> None:
    monkeypatch.chdir(cwd)
    monkeypatch.setattr(sys, "argv", [f"scripts/{name}", *argv])
    runpy.run_path(str(ROOT / "scripts" / name), run_name="__main__")


def test_from_the_command_line(one_label, tmp_path, monkeypatch, capsys):
    folder, _, _ = one_label
    (tmp_path / "mine").symlink_to(folder)
    for features in ("mine", str(folder)):
        run_script("find_label_errors.py", [features, "--plots", "0"], monkeypatch, tmp_path)
    out = Path("label_errors") / folder.parent.name
    printed = capsys.readouterr().out
    assert "of 160 clips are probably mislabeled" in printed
    assert f"train with --label_overrides {out / 'overrides.csv'}" in printed and "too low" not in printed
    assert out.joinpath("index.html").is_file() and Path("label_errors/mine/index.html").is_file()
    run_script("compare_overrides.py", [str(folder), str(out / "overrides.csv"), "--seeds", "2"], monkeypatch, tmp_path)
    assert "accuracy, test labels as given, 2 seeds: before 0." in capsys.readouterr().out
    run_script("find_label_errors.py", [str(folder), "--plant", "0.1"], monkeypatch, tmp_path)
    assert "| draw | planted | found | precision | recall |" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        run_script("compare_overrides.py", [str(folder), "nowhere.csv"], monkeypatch, tmp_path)
    assert capsys.readouterr().err.endswith("nowhere.csv cannot be read: No such file or directory\n")


def test_spoken_digits_with_planted_errors(shared_data, tmp_path):
    random = np.random.default_rng(0)
    lines, wrong = ["path,label,group"], set()
    with open(shared_data / "fsdd" / "labels.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["group"] in ("jackson", "theo")][::2]
    for row in rows:
        label, path = row["label"], str(shared_data / "fsdd" / row["path"])
        if random.random() < 0.1:
            label = str((int(label) + random.integers(1, 10)) % 10)
            wrong.add(Path(path).name)
        lines.append(f"{path},{label},{row['path']}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    data = DataConfig(data_dir=str(tmp_path / "labels.csv"), validation_fraction=0.1, num_workers=1)
    features = load_features(build_corpus_features(data, tmp_path / "features"))
    found = find_label_errors(features, splits=["train", "test"])
    hits = wrong & {Path(error.row["clip_id"]).name for error in found.errors}
    assert len(hits) >= 0.7 * len(wrong) and len(hits) >= 0.7 * len(found.errors)
