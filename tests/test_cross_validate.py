"""scripts/cross_validate.py leaves out every group once, prints mean and standard deviation, and repeats no run."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from corpus_trees import write_sound
from datasets import Value
from small_datasets import dataset, parquet

from hf_audio import InputError, corpus_clips, parse_recipe
from hf_audio.data.index.table import rows_of
from hf_audio.repeated_runs import RepeatedRuns

ROOT = Path(__file__).parents[1]
QUICK = ("--max_steps", "2", "--per_device_train_batch_size", "4", "--report_to", "none", "--num_workers", "1")


@pytest.fixture
def cross_validate(forks, tmp_path) -> Callable[..., str]:
    """Runs the script in a fork, and each fold in a fork of that; returns its output, or its errors if not `ok`."""

    def run(*argv: str, ok: bool = True) -> str:
        env = {**os.environ, "PYTHONPATH": str(ROOT), "ACCELERATE_USE_CPU": "true"}
        result = forks.run(ROOT / "tests" / "forked_runs.py", "cross_validate.py", *argv, env=env, cwd=tmp_path)
        assert (result.returncode == 0) == ok, result.output[-2000:] + result.errors[-2000:]
        return result.output if ok else result.errors

    return run


@pytest.fixture
def recordings(tmp_path) -> Path:
    """Two classes, each with two speakers."""
    rows = ["path,label,group"]
    for number, name in enumerate(("high", "low")):
        for speaker in ("ann", "bob"):
            for take in range(3):
                path = f"{name}_{speaker}_{take}.wav"
                write_sound(tmp_path / "data" / path, 0.6, take, [900.0 - 600.0 * number], 16_000)
                rows.append(f"{path},{name},{speaker}")
    (tmp_path / "data" / "labels.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "data"


def test_each_speaker_is_left_out_once(cross_validate, recordings, tmp_path):
    job = (str(ROOT / "recipes" / "cnn_folder.py"), "--data_dir", str(recordings), "--leave_out", "groups")
    job += ("--output_dir", "runs", "--", *QUICK)
    printed = cross_validate(*job)
    reports = {name: json.loads((tmp_path / "runs" / name / "report.json").read_text()) for name in ("ann", "bob")}
    for report in reports.values():
        assert report["data"]["splits"]["test"] | {"label_counts": 0, "source_rates": 0} == {
            "num_shards": 1,
            "num_windows": 6,
            "num_clips": 6,
            "num_groups": 1,
            "label_counts": 0,
            "source_rates": 0,
        }
        assert report["training"]["steps"] == 2, "flags after -- are for the recipe"
    scores = [report["results"]["model"]["test"]["accuracy"] for report in reports.values()]
    table = (tmp_path / "runs" / "folds.md").read_text()
    assert table in printed + "\n"
    expected = f"| **mean (sd), this model** |  | {statistics.mean(scores):.3f} ({statistics.stdev(scores):.3f}) |"
    assert expected in table and "| ann | 6 |" in table and "linear baseline (mean and standard deviation)" in table

    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("report.json")}
    assert cross_validate(*job).strip().endswith(table.strip())
    assert stamps == {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("report.json")}

    other = tmp_path / "other"
    shutil.copytree(recordings, other)
    write_sound(other / "high_ann_0.wav", 0.7, 9, [500.0], 16_000)
    said = cross_validate(job[0], "--data_dir", str(other), *job[3:], ok=False)
    assert "ann holds another run, which differs in: data_dir" in said and "recordings; give another" in said
    assert said.count("error: ") == 1 and "Traceback" not in said
    said = cross_validate(*job, "--seed", "5", ok=False)
    assert "ann holds another run" in said and "seed was 42 and is now 5" in said and "--output_dir" in said
    assert stamps == {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("report.json")}
    (tmp_path / "runs" / "ann.json").unlink()
    assert "with the facts about its run does not" in cross_validate(*job, ok=False)


def test_a_corpus_without_folds_is_refused(cross_validate, recordings):
    job = (str(ROOT / "recipes" / "cnn_folder.py"), "--data_dir", str(recordings))
    said = cross_validate(*job, ok=False)
    assert "has 0 folds, expected two or more" in said and said.count("error: ") == 1


def called(monkeypatch, folder, rows, *flags):
    """The script, its recipe's values, the recipe and the options of a call for a folder with this table."""
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    recipe = str(ROOT / "recipes" / "cnn_folder.py")
    monkeypatch.setattr(sys, "argv", ["cross_validate.py", recipe, "--data_dir", str(folder), *flags])
    script, values = runpy.run_path(str(ROOT / "scripts" / "cross_validate.py")), runpy.run_path(recipe)["VALUES"]
    return script, values, recipe, script["parse_options"]()


def test_folds_are_drawn_if_the_corpus_has_none(tmp_path, monkeypatch):
    """With the flags of all runs, every speaker is tested on once."""
    rows = ["path,label,group"]
    for name in ("high", "low"):
        for speaker in ("ann", "bob", "cy", "di"):
            (tmp_path / f"{name}_{speaker}.wav").touch()
            rows.append(f"{name}_{speaker}.wav,{name},{speaker}")
    script, values, recipe, options = called(monkeypatch, tmp_path, rows, "--num_folds", "2")
    chosen = script["left_out"](RepeatedRuns(recipe, options.data_flags), options)
    assert list(chosen) == ["fold 1 of 2", "fold 2 of 2"]
    assert script["folder_names"](list(chosen)) == ["fold_1_of_2", "fold_2_of_2"]
    tested = []
    for flags in chosen.values():
        prepared = corpus_clips(parse_recipe(values, argv=[*options.data_flags, *flags]).data)
        clips = list(rows_of(prepared.clips))
        tested += sorted({clip.group for clip in clips if clip.split == "test"})
        assert {clip.labels[0] for clip in clips if clip.split == "test"} == {"high", "low"}
    assert sorted(tested) == ["ann", "bob", "cy", "di"]


def test_inner_folds_divide_the_training_clips_of_each_fold(tmp_path, monkeypatch):
    rows = ["path,label,group,split"]
    for name in ("high", "low"):
        for number in range(8):
            (tmp_path / f"{name}_{number}.wav").touch()
            rows.append(f"{name}_{number}.wav,{name},{number},fold{number % 2}")
    script, values, recipe, options = called(monkeypatch, tmp_path, rows, "--inner", "2")
    outer = script["left_out"](RepeatedRuns(recipe, options.data_flags), options)
    chosen = script["with_inner_folds"](outer, options.inner)
    assert list(chosen) == [f"fold{fold}, inner {inner} of 2" for fold in (0, 1) for inner in (1, 2)]
    for name, flags in chosen.items():
        prepared = corpus_clips(parse_recipe(values, argv=[*options.data_flags, *flags]).data)
        clips = list(rows_of(prepared.clips))
        assert {int(clip.group) % 2 for clip in clips} == {1 - int(name[4])}, "the tested fold is left out"
        assert {clip.split for clip in clips} == {"train", "test"} and "INNER FOLD" in prepared.card.protocol


def test_all_folds_of_a_dataset_on_the_hub_read_one_commit(hub, monkeypatch):
    """The dataset's folds are used. A commit between two folds has no effect."""
    rows = [{"label": "ab"[row % 2], "fold": row // 4, "speaker": row // 2} for row in range(12)]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    made = dataset({name: Value("string" if name == "label" else "int64") for name in columns}, **columns)
    repo = hub.create("datasets", "alice/voices", {"train.parquet": parquet(made)})
    recipe = str(ROOT / "recipes" / "cnn_folder.py")
    monkeypatch.setattr(sys, "argv", ["cross_validate.py", recipe, "--", "--dataset", "alice/voices"])
    script, values = runpy.run_path(str(ROOT / "scripts" / "cross_validate.py")), runpy.run_path(recipe)["VALUES"]
    options = script["parse_options"]()
    runs = RepeatedRuns(recipe, options.recipe_flags)
    chosen = script["left_out"](runs, options)
    decides, commit = runs.decides(chosen["1"]), repo.resolve().oid
    repo.commit({"train.parquet": parquet(made, 0, 8)})
    assert list(chosen) == ["0", "1", "2"] and runs.decides(chosen["1"]) == decides
    assert runs.flags == ["--dataset", "alice/voices", "--dataset_revision", commit]
    tested = []
    for flags in chosen.values():
        clips = rows_of(corpus_clips(parse_recipe(values, argv=[*runs.flags, *flags]).data).clips)
        tested += [clip.clip_id for clip in clips if clip.split == "test"]
    assert sorted(tested) == sorted(f"{row}.wav" for row in range(12))
    options.leave_out = "groups"
    assert list(script["left_out"](runs, options)) == [str(number) for number in range(6)]


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--num_folds", "1"), "--num_folds must be 2 or more, found 1"),
        (("--", "--inner_folds", "2", "--inner_fold", "1"), "--inner_folds comes after --"),
        (("--num_folds", "2", "--inner", "1"), "--inner must be 2 or more, found 1"),
        (("--num_folds", "2", "--leave_out", "groups"), "both determine the test sets"),
        (("--", "--fold", "3"), "--fold comes after --"),
        (("--", "--dataset", "../features"), "--dataset contains features, which are already split"),
        (("--", "--num_epochs", "3"), "Unknown flag '--num_epochs'"),
        (
            ("--num_epochs", "3"),
            "has no --num_epochs 3: put flags of the recipe last, after --, as in -- --num_epochs 3",
        ),
    ],
)
def test_unsuitable_flags_are_refused_at_once(flags, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["cross_validate.py", str(ROOT / "recipes" / "cnn_folder.py"), *flags])
    for name in ("features", "here"):
        (tmp_path / name).mkdir()
    (tmp_path / "features" / "manifest.json").write_text("{}")
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(InputError, match=sentence):
        runpy.run_path(str(ROOT / "scripts" / "cross_validate.py"))["main"]()
    assert list((tmp_path / "here").iterdir()) == []


def test_names_get_different_folders():
    folder_names = runpy.run_path(str(ROOT / "scripts" / "cross_validate.py"))["folder_names"]
    names = folder_names(["fold1", "a b", "a_b", "A_B"])
    assert names[0] == "fold1" and len({name.casefold() for name in names}) == 4


def test_groups_named_like_flags_or_parent_folders_are_only_names(tmp_path, monkeypatch):
    groups = ("--push_to_hub", "--hub_model_id=evil/x", "..", "../../x", "-", "x" * 300)
    rows = ["path,label,group"]
    for group in range(len(groups)):
        for name in ("high", "low"):
            (tmp_path / f"{name}_{group}.wav").touch()
            rows.append(f"{name}_{group}.wav,{name},{groups[group]}")
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    recipe = str(ROOT / "recipes" / "cnn_folder.py")
    words = ["cross_validate.py", recipe, "--data_dir", str(tmp_path), "--leave_out", "groups"]
    monkeypatch.setattr(sys, "argv", words)
    script, values = runpy.run_path(str(ROOT / "scripts" / "cross_validate.py")), runpy.run_path(recipe)["VALUES"]
    options = script["parse_options"]()
    chosen = script["left_out"](RepeatedRuns(recipe, options.data_flags), options)
    assert sorted(chosen) == sorted(groups)
    for group, flags in chosen.items():
        parsed = parse_recipe(values, argv=[*options.data_flags, *flags])
        assert parsed.data.test_groups == [group]
        assert not parsed.push_to_hub and parsed.training.hub_model_id is None
    for name in script["folder_names"](list(chosen)):
        assert not name.startswith(".") and "/" not in name and len(name) < 120
