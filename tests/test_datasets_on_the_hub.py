"""Datasets on the Hub: revisions, configurations, denied access, broken connections, and how much is read."""

from __future__ import annotations

import numpy as np
import pytest
from datasets import ClassLabel, Value
from small_datasets import GENRES, dataset, gtzan_like, parquet, tone, write
from test_datasets_as_corpora import read, refused

# The Hub


def test_denied_access_and_damage_are_reported(hub, monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    files = {"data/train-00000-of-00001.parquet": parquet(gtzan_like())}
    hub.create("datasets", "alice/secret", files, private=True)
    refused("alice/secret", "Dataset alice/secret does not exist on the Hub, or this token cannot read it: check")
    assert len(read("alice/secret", token=hub.token("alice"))[0]) == 12
    hub.create("datasets", "alice/gated", files).gated = "auto"
    refused("alice/gated", "alice/gated is a gated dataset: request access to it on its Hub page")
    refused("alice/nothing", "Dataset alice/nothing does not exist on the Hub")
    refused("nothing", "nothing is neither a local folder nor a Hub repository of the form user/name")
    hub.create("datasets", "alice/plain", files)
    refused("alice/plain", "has no revision v9", revision="v9")
    hub.create("datasets", "alice/broken", {"data/train-00000-of-00001.parquet": b"PAR1" + b"x" * 100 + b"PAR1"})
    refused("alice/broken", "data/train-00000-of-00001.parquet of alice/broken is damaged")


def test_a_renamed_dataset_is_read_under_its_new_name(hub):
    hub.create("datasets", "alice/old", {"data/train-00000-of-00001.parquet": parquet(gtzan_like())})
    hub.storage.move("datasets", "alice/old", "alice/new")
    clips, found = read("alice/old")
    assert clips[0].path.startswith("hf://datasets/alice/new@") and found.card.source == "alice/new"
    assert "alice/old is now called alice/new" in found.understanding.paragraph()


def test_a_revision_is_fixed(hub):
    repo = hub.create("datasets", "alice/moves", {"data/train-00000-of-00001.parquet": parquet(gtzan_like(6))})
    first = repo.resolve().oid
    repo.commit({"data/train-00000-of-00001.parquet": parquet(gtzan_like(9))})
    assert len(read("alice/moves")[0]) == 9
    clips, found = read("alice/moves", revision=first)
    assert len(clips) == 6 and found.card.revision == first and f"@{first}/" in clips[0].path


def test_a_dataset_script_is_refused_and_the_hubs_parquet_copy_is_read(hub):
    script = {"script.py": b"raise SystemExit('never run')", "data/genres.tar.gz": b"x"}
    repo = hub.create("datasets", "alice/script", script)
    refused("alice/script", "script.py.*no longer supports: ask its authors for Parquet.*refs/convert/parquet")
    made = parquet(gtzan_like())
    files = {"default/train/0000.parquet": made, "other/partial-test/0000.parquet": made}
    repo.commit(files, branch="refs/convert/parquet")
    clips, _ = read("alice/script", revision="refs/convert/parquet")
    assert len(clips) == 12 and clips[0].path.endswith("/default/train/0000.parquet")
    clips, _ = read("alice/script", revision="refs/convert/parquet", dataset_config_name="other")
    assert clips[0].path.endswith("/other/partial-test/0000.parquet")


CONFIGS = b"""---
configs:
- config_name: small
  data_files:
  - split: train
    path: a/*.parquet
- config_name: large
  data_files:
  - split: train
    path: [a/*.parquet, b/*.parquet]
---
"""


def test_configurations_come_from_the_card(hub):
    files = {"a/1.parquet": parquet(gtzan_like(3)), "b/1.parquet": parquet(gtzan_like(3)), "README.md": CONFIGS}
    hub.create("datasets", "alice/configs", files)
    refused("alice/configs", "has 2 configurations .large, small.; choose one, e.g. --dataset_config_name small")
    refused(
        "alice/configs",
        "Unknown configuration of alice/configs 'smal': did you mean 'small'",
        dataset_config_name="smal",
    )
    assert len(read("alice/configs", dataset_config_name="small")[0]) == 3
    clips, found = read("alice/configs", dataset_config_name="large")
    assert len(clips) == 6 and "configuration large" in found.understanding.paragraph()
    assert clips[0].clip_id == "train/000000", "file names that are not unique are not used"


@pytest.mark.parametrize(
    "pattern", ["../*.parquet", "/etc/*", "hf://datasets/bob/x/*.parquet", "https://x/y.parquet", "zip://a::b.zip"]
)
def test_a_card_cannot_refer_to_files_elsewhere(tmp_path, pattern):
    head = f"---\nconfigs:\n- config_name: default\n  data_files: '{pattern}'\n---\n"
    write(tmp_path, {"a.parquet": parquet(gtzan_like(3)), "README.md": head})
    refused(tmp_path, "refers to files elsewhere")


def test_opening_reads_no_sound(hub):
    random = np.random.default_rng(0)
    made = dataset(
        {"label": ClassLabel(names=GENRES)},
        audio=[{"bytes": random.bytes(20_000), "path": None} for _ in range(60)],
        label=[row % 3 for row in range(60)],
    )
    files = {f"data/train-{number:05d}-of-00008.parquet": parquet(made, rows_a_group=30) for number in range(8)}
    hub.create("datasets", "alice/large", files)
    hub.log.clear()
    clips, _ = read("alice/large")
    received = sum(entry.sent for entry in hub.log.requests if ".parquet" in entry.path or entry.origin == "storage")
    assert len(clips) == 480
    assert received < 0.25 * sum(map(len, files.values()))


def test_broken_connections_are_retried_and_reported_if_they_stay_broken(hub, monkeypatch):
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda seconds: None)
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    files = {"data/train-00000-of-00001.parquet": parquet(gtzan_like()), "README.md": b"---\nlicense: mit\n---\n"}
    hub.create("datasets", "alice/shaky", files)
    hub.faults.add("GET", "/api/datasets/alice/shaky", "503", times=2)
    hub.faults.add("GET", "/resolve/.*/README.md", "503", times=1)
    hub.faults.add("GET", "/blobs/", "drop_after", after_bytes=100, times=1)
    hub.faults.add("GET", "/blobs/", "reset", after_bytes=50, times=1)
    assert len(read("alice/shaky")[0]) == 12
    hub.faults.add("GET", "/blobs/", "drop_after", after_bytes=100, times=100)
    refused("alice/shaky", "The connection to the Hub was lost while reading alice/shaky")


def test_control_characters_of_a_dataset_are_escaped(hub):
    made = dataset({"label": Value("string")}, label=["a\x1b[2J", "b\u202e"])
    files = {"data/train-00000-of-00001.parquet": parquet(made), "README.md": b'---\npretty_name: "x\\eb"\n---\n'}
    hub.create("datasets", "alice/hostile", files)
    _, found = read("alice/hostile")
    paragraph = found.understanding.paragraph()
    assert "\x1b" not in paragraph and "\\x1b[2J 1" in paragraph and "\u202e" not in paragraph


def test_texts_too_large_for_memory_are_refused(tmp_path):
    long = dataset({"label": Value("string"), "note": Value("string")}, label=["a", "b"], note=["x" * (2 << 20)] * 2)
    write(tmp_path / "a", {"train.parquet": parquet(long)})
    refused(tmp_path / "a", "has a string of 2,097,152 bytes in its rows, expected at most 1,048,576")
    named = dataset({"label": Value("string")}, label=["a" * 2_000, "b"])
    write(tmp_path / "b", {"train.parquet": parquet(named)})
    refused(tmp_path / "b", "has 2 different values, the longest with 2,000 characters, which are not classes")


def test_files_listed_twice_are_refused_and_excerpts_of_a_file_are_a_group(tmp_path):
    twice = "file_name,label\na.wav,x\na.wav,y\n"
    card = "---\nconfigs:\n- config_name: default\n  data_files: '**'\n---\n"
    write(tmp_path, {"a.wav": tone(1), "metadata.csv": twice, "README.md": card})
    refused(tmp_path, "lists 'a.wav#0-' twice; give several labels of one clip in one row")
    write(tmp_path, {"metadata.csv": "file_name,label,start_s,end_s\na.wav,x,0,0.1\na.wav,y,0.1,0.2\n"})
    clips, _ = read(tmp_path)
    assert [clip.group for clip in clips] == ["a.wav"] * 2 and clips[1].clip_id == "a.wav#0.1-0.2"
    assert [(clip.start_s, clip.end_s) for clip in clips] == [(0.0, 0.1), (0.1, 0.2)]
