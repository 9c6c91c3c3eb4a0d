"""Parallel, interrupted and failed builds give the same bytes in the end, and repeat no work."""

from __future__ import annotations

import filecmp
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from filelock import FileLock
from test_feature_building import files, stamps
from tone_corpus import CountingFbank, DyingFbank, build

from hf_audio.data.building import build as feature_building
from hf_audio.errors import InputError

REPO_ROOT = Path(__file__).resolve().parents[1]


def run_apart(forks, target: str, *arguments: Path | int | bool) -> int:
    """Calls a function of tone_corpus in a fork, and returns the exit status."""
    called = f"tone_corpus.{target}({', '.join(map(repr, arguments))})"
    return forks.run(f"import tone_corpus; from pathlib import PosixPath; {called}").returncode


def assert_same(folder: Path, other: Path) -> None:
    assert files(folder) == files(other)
    plans = [json.loads((one / "plan.json").read_text()) for one in (folder, other)]
    assert plans[0] | {"file times": ""} == plans[1] | {"file times": ""}
    others = [name for name in files(folder) if name != "plan.json"]
    _, different, errors = filecmp.cmpfiles(folder, other, others, shallow=False)
    assert not different and not errors


def built_shards(folder: Path) -> dict[str, int]:
    """Finished shards of an unfinished build, with their modification times."""
    notes = {path.stem for path in folder.glob(".build/*-of-*.json")}
    return {name: stamp for name, stamp in stamps(folder).items() if Path(name).stem in notes and "data/" in name}


def test_worker_processes_and_ranks_give_the_same_bytes(tones, tone_features, tmp_path):
    assert_same(build(tones, tmp_path / "two workers", num_workers=2), tone_features)
    barrier, folder = threading.Barrier(3, timeout=60), tmp_path / "three ranks"
    ranks = [
        threading.Thread(
            target=build,
            args=(tones, folder),
            kwargs={"ranks": feature_building.Ranks(rank, 3, barrier.wait)},
        )
        for rank in range(3)
    ]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join()
    assert_same(folder, tone_features)


def test_workers_are_started_only_if_there_is_enough_work(tones, tone_features, tmp_path, monkeypatch):
    """104 s of sound is too little for workers with log-mel features, but not with features as slow as real time."""
    monkeypatch.setattr(feature_building, "num_cores", lambda: 2)
    monkeypatch.setattr(CountingFbank, "batches_here", 0)
    assert_same(build(tones, tmp_path / "slow", CountingFbank(), num_workers=None), tone_features)
    assert CountingFbank.batches_here == 0, "workers must do all of the work"
    monkeypatch.setattr(CountingFbank, "times_real_time", 1000.0)
    assert_same(build(tones, tmp_path / "fast", CountingFbank(), num_workers=None), tone_features)
    assert CountingFbank.batches_here >= 10


@pytest.mark.parametrize("renames", [1, 2, 11, 21, 22, 25])
def test_a_build_killed_at_any_rename_is_resumed_to_the_same_result(tones, tone_features, tmp_path, forks, renames):
    """Rename 1 is the plan, 2 to 21 are shards and their notes in turn, 22 to 24 other files, and 25 the manifest."""
    for before in (True, False):
        folder = tmp_path / f"features_{before}"
        assert run_apart(forks, "build_and_die", tones, folder, renames, before) == -signal.SIGKILL
        done = renames - before
        assert (folder / "manifest.json").exists() == (done >= 25)
        kept = built_shards(folder)
        assert len(kept) == min(max(done - 1, 0) // 2, 10)
        build(tones, folder)
        assert_same(folder, tone_features)
        assert {name: stamps(folder)[name] for name in kept} == kept


def test_a_killed_build_leaves_no_workers_and_is_resumed(tones, tone_features, tmp_path, forks):
    folder = tmp_path / "features"
    code = (
        "import sys; from pathlib import Path; from tone_corpus import SlowFbank, build; "
        "build(Path(sys.argv[1]), Path(sys.argv[2]), SlowFbank(), num_workers=2)"
    )
    process = forks.start(code, tones, folder)
    deadline = time.monotonic() + 180
    while len(list(folder.glob(".build/*-of-*.json"))) < 3:
        assert time.monotonic() < deadline and process.poll(0.02) is None
    workers = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    assert len(workers) >= 2
    assert not psutil.wait_procs(workers, timeout=20)[1], "workers outlived their parent"
    kept = built_shards(folder)
    assert 3 <= len(kept) < 10 and not (folder / "manifest.json").exists()
    build(tones, folder, num_workers=2)
    assert_same(folder, tone_features)
    assert {name: stamps(folder)[name] for name in kept} == kept


def test_two_builds_cannot_use_one_folder_at_once(tones, tone_features, tmp_path):
    folder = tmp_path / "features"
    (folder / ".build").mkdir(parents=True)
    with FileLock(folder / ".build/lock"), pytest.raises(InputError, match="Another process is building features in"):
        build(tones, folder)
    assert_same(build(tones, folder), tone_features)


def test_a_finished_dataset_is_returned_at_once(tones, tmp_path, capfd, monkeypatch):
    folder = build(tones, tmp_path / "features")
    assert "features" in capfd.readouterr().err  # the progress bar
    before = stamps(folder)
    monkeypatch.setattr(feature_building, "ShardBuilder", None)  # building would fail
    assert build(tones, folder) == folder
    assert stamps(folder) == before
    assert capfd.readouterr().err == ""


def test_a_dying_worker_is_reported(tones, tmp_path):
    with pytest.raises(InputError, match=r"worker process died, .*fewer than 2 workers"):
        build(tones, tmp_path / "features", DyingFbank(), num_workers=2)


def test_strict_refuses_files_that_an_earlier_build_left_out(tones, tmp_path, forks):
    folder = tmp_path / "features"
    target = tones / "low_001.wav"
    sound, times_ns = target.read_bytes(), (target.stat().st_atime_ns, target.stat().st_mtime_ns)
    try:
        target.write_bytes(b"\0" * len(sound))  # same size, so the plan is the same
        assert run_apart(forks, "build_and_die", tones, folder, 21, False) == -signal.SIGKILL
        with pytest.raises(InputError, match=r"low_001\.wav is unreadable"):
            build(tones, folder, strict=True)
    finally:
        target.write_bytes(sound)
        os.utime(target, ns=times_ns)


# Errors of the disk


@pytest.mark.parametrize("num_workers", [1, 2])
def test_a_failed_write_is_reported_and_the_build_can_be_resumed(tones, tone_features, tmp_path, forks, num_workers):
    """The limit on file sizes lies between training shards and the test split's shard, whose write fails with EFBIG."""
    sizes = {path.name: path.stat().st_size for path in tone_features.glob("data/*")}
    largest = max(size for name, size in sizes.items() if name.startswith("train")) + 1000
    assert largest < sizes["test-00000-of-00001.parquet"]
    folder, answer = tmp_path / "features", tmp_path / "answer"
    assert run_apart(forks, "build_with_largest_file", tones, folder, largest, num_workers, answer) == 0
    assert answer.read_text().startswith(f"Cannot write features to {folder}: File too large; free some space or")
    assert not list(folder.rglob("*.tmp"))
    kept = built_shards(folder)
    assert len(kept) >= 8 if num_workers == 1 else kept
    build(tones, folder)
    assert_same(folder, tone_features)
    assert {name: stamps(folder)[name] for name in kept} == kept


@pytest.mark.skipif(sys.platform != "linux", reason="drops root's capabilities with a Linux system call")
def test_a_folder_without_write_permission_is_refused(tones, tmp_path, forks):
    parent, answer = tmp_path / "not mine", tmp_path / "answer"
    parent.mkdir(mode=0o555)
    assert run_apart(forks, "build_without_privileges", tones, parent / "f", answer) == 0
    assert answer.read_text().startswith(f"Cannot write features to {parent / 'f'}: Permission denied; free some space")
    assert list(parent.iterdir()) == []


def test_a_file_in_place_of_the_folder_is_refused(tones, tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(InputError, match=r"Cannot write features to .*taken"):
        build(tones, tmp_path / "taken")


# Ranks


def test_ranks_wait_for_each_other_beyond_the_timeout_of_their_group(tones, tone_features, tmp_path, forks):
    forks.ranks(2, REPO_ROOT / "tests" / "rank_run.py", tones, tmp_path / "features")
    assert_same(tmp_path / "features", tone_features)
