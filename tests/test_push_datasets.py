"""Datasets that are pushed again with other labels or without unusable clips, read where they are."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pytest
from datasets import ClassLabel, Value
from small_datasets import GENRES, dataset, gtzan_like, parquet, tar, tone, write
from test_push_recordings import elsewhere, load, share  # noqa: F401 - a fixture

import hf_audio
from hf_audio import InputError
from hf_audio.data.sharing import plan
from hf_audio.preparation import corpus_clips

pytestmark = pytest.mark.timeout(90)
CARD = b"---\nlicense: cc-by-4.0\npretty_name: Genres\n---\n"


def of_the_hub(hub, name="alice/genres", **options):
    """12 recordings in two files; the last recording is no audio."""
    made = gtzan_like().to_pylist()
    made[11]["audio"]["bytes"] = b"no sound"
    made = pa.Table.from_pylist(made, gtzan_like().schema)
    files = {"data/train-00000-of-00002.parquet": parquet(made, 0, 7)}
    files |= {"data/train-00001-of-00002.parquet": parquet(made, 7), "README.md": CARD}
    return hub.create("datasets", name, files, **options)


def test_a_hub_dataset_with_corrected_labels_is_pushed_as_another(hub, token, tmp_path, monkeypatch):
    commit = of_the_hub(hub).resolve().oid
    monkeypatch.setattr(plan, "SHARD_BYTES", 20_000)
    table = write(tmp_path, {"better.csv": "clip_id,label\nblues.00000.wav,rock\n"}) / "better.csv"
    given = ("--dataset", "alice/genres", "--label_overrides", table, "--hub_dataset_id", "alice/better")
    share(*given)
    repo = hub.repo("datasets", "alice/better")
    assert 3 <= len([path for path in repo.paths() if path.startswith("data/")]) <= 7
    rows = load("alice/better", split="train")
    assert rows["clip_id"] == [f"{GENRES[row % 3]}.{row:05d}.wav" for row in range(11)], "the order of the source"
    names = rows.features["label"].names
    assert [names[label] for label in rows["label"]] == ["rock", *(GENRES[row % 3] for row in range(1, 11))]
    assert all(row["audio"]["path"].endswith(".flac") for row in rows)
    text = repo.read("README.md").decode()
    assert "11 recordings from Genres" in text and f"alice/genres at commit {commit[:10]}" in text
    assert b"rock.00011.wav,unreadable: Format not recognised." in repo.read("excluded.csv")
    hub.log.clear()
    share(*given)
    assert not hub.log.matching("PUT") and not hub.log.matching("POST", "/commit/")
    hub.repo("datasets", "alice/genres").commit({"more.txt": b"another commit"})
    with pytest.raises(InputError, match=r"differs in: places in datasets.*remove it to start again"):
        share(*given)


def test_a_dataset_pushed_again_has_the_same_clips(tmp_path):
    random = np.random.default_rng(0)
    sounds = [{"bytes": flac(random.uniform(-0.5, 0.5, 8_000)), "path": f"{row}.flac"} for row in range(8)]
    columns = {"label": [row % 2 for row in range(8)], "speaker": [f"s{row // 2}" for row in range(8)]}
    features = {"label": ClassLabel(names=["low", "high"]), "speaker": Value("string")}
    made = dataset(features, audio=sounds, **columns)
    root = write(tmp_path / "first", {"train.parquet": parquet(made, 0, 6), "test.parquet": parquet(made, 6)})
    share("--dataset", root, "--output_dir", tmp_path / "second")
    first, second = (
        corpus_clips(hf_audio.DataConfig(dataset=str(path), validation_fraction=0.3))
        for path in (root, tmp_path / "second")
    )
    columns = ["clip_id", "labels", "group", "split"]
    assert first.clips.select(columns).sort_by("clip_id").equals(second.clips.select(columns).sort_by("clip_id"))
    assert first.labels.names == ("low", "high") == second.labels.names
    stored = {row["clip_id"]: row["audio"]["bytes"] for its in load(tmp_path / "second").values() for row in its}
    assert stored == {sound["path"]: sound["bytes"] for sound in sounds}, "FLAC bytes are copied"


def flac(samples):
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, samples, 8_000, format="FLAC")
    return file.getvalue()


def test_tars_and_single_files_of_the_hub(hub, token, tmp_path):
    members = {}
    for number in range(4):
        members |= {f"{number}.wav": tone(number), f"{number}.cls": "ab"[number % 2].encode()}
    share("--dataset", write(tmp_path / "tars", {"train-0.tar": tar(members)}), "--output_dir", tmp_path / "out")
    assert load(tmp_path / "out")["train"]["clip_id"] == [f"{number}.wav" for number in range(4)]
    lines = "file_name,label,start_s,end_s\n0.wav,a,0,0.1\n0.wav,b,0.1,0.2\n1.wav,a,,\n"
    hub.create("datasets", "alice/files", {"metadata.csv": lines.encode(), "0.wav": tone(0), "1.wav": tone(1)})
    share("--dataset", "alice/files", "--output_dir", tmp_path / "cut")
    rows = {row["clip_id"]: row for row in load(tmp_path / "cut")["train"]}
    assert {name: row["cut_end_s"] for name, row in rows.items()} == {
        "0.wav#0-0.1": 0.1,
        "0.wav#0.1-0.2": 0.2,
        "1.wav#0-": None,
    }


def test_what_is_refused_before_any_row_is_read(hub, token, tmp_path, monkeypatch):
    of_the_hub(hub)
    hub.create("datasets", "alice/closed", {"data/train-00000-of-00001.parquet": parquet(gtzan_like())})
    hub.create("datasets", "alice/features", {"manifest.json": b"{}"})
    monkeypatch.setattr("hf_audio.preparation.read_corpora.read_dataset", None)

    def refusal(*argv):
        with pytest.raises(InputError) as error:
            share(*argv)
        assert "\n" not in str(error.value)
        return str(error.value)

    known, other = ("--dataset", "alice/genres"), ("--hub_dataset_id", "alice/other")
    assert "is also the dataset that is read: push to another" in refusal(*known, "--hub_dataset_id", "alice/genres")
    assert "alice/features contains features" in refusal(*known, "--hub_dataset_id", "alice/features")
    assert "alice/other would be public, but alice/closed is under 'unknown'" in refusal(
        "--dataset", "alice/closed", *other
    )
    assert "the license of alice/closed is stated by its card" in refusal(
        "--dataset", "alice/closed", *other, "--license", "mit"
    )
    assert "Unknown --audio_format 'mp3': expected one of: flac, original" in refusal(
        *known, *other, "--audio_format", "mp3"
    )
    assert "alice/genres and alice/closed cannot be shared together" in refusal(*known, "alice/closed", *other)
    assert "--data_dir would have no effect here" in refusal(*known, *other, "--data_dir", tmp_path)
    assert "--layout is for folders and tables" in refusal(*known, *other, "--layout", "table")
