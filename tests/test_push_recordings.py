"""Recordings pushed as a dataset to the tests' own Hub, and read with `datasets` only."""

import csv
import io
import json
import os
import runpy
import sys
from pathlib import Path

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from corpus_trees import TREES, write_sound
from huggingface_hub import DatasetCard

import hf_audio
from hf_audio import InputError
from hf_audio.data.recordings.audio import read_audio
from hf_audio.data.sharing import plan, shards
from hf_audio.parsing import parse_settings
from hf_audio.publishing import hub as publishing_hub

pytestmark = pytest.mark.timeout(90)
RATE = 22_050
UNDECODED = datasets.Audio(decode=False)


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    monkeypatch.setattr(publishing_hub, "MIN_WAIT_S", 0.01)
    monkeypatch.setattr(publishing_hub, "MAX_WAIT_S", 0.05)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def share(*argv: object) -> str:
    kinds = (hf_audio.CorpusConfig, hf_audio.ShareConfig)
    return hf_audio.share_corpus(*parse_settings(*kinds, values={}, argv=list(map(str, argv))))


def load(name: str | Path, **options) -> datasets.DatasetDict:
    found = datasets.load_dataset(str(name), **options)
    return found.cast_column("audio", UNDECODED)


@pytest.fixture(scope="module")
def speakers(tmp_path_factory) -> Path:
    """Two words by four speakers with an official split, as FLAC, WAV and MP3; metadata; a file that is no audio."""
    root = tmp_path_factory.mktemp("speakers")
    rows = [["path", "label", "group", "split", "age", "room"]]
    for number, word in enumerate(("yes", "no")):
        for speaker, split in (("ann", "train"), ("bob", "train"), ("cy", "validation"), ("di", "test")):
            ending = {"ann": "flac", "bob": "mp3"}.get(speaker, "wav")
            path = root / f"{speaker}-{word}.{ending}"
            write_sound(path, 0.8, number, [300.0 * (number + 1)], RATE)
            rows.append([path.name, word, speaker, split, str(30 + number), "" if speaker == "cy" else "kitchen"])
    (root / "broken.wav").write_bytes(b"nothing")
    rows.append(["broken.wav", "yes", "ann", "train", "30", "hall"])
    (root / "words.csv").write_text("".join(",".join(row) + "\n" for row in rows))
    return root


@pytest.fixture
def many(tmp_path, monkeypatch) -> Path:
    """24 recordings, and shards that hold only a few."""
    monkeypatch.setattr(plan, "SHARD_BYTES", 300_000)
    return TREES["folder"](tmp_path / "many")


def test_recordings_arrive_with_all_their_metadata(hub, token, speakers):
    url = share("--data_dir", speakers, "--hub_dataset_id", "words", "--license", "cc-by-4.0")
    assert url == f"{hub.endpoint}/datasets/alice/words"
    repo = hub.repo("datasets", "alice/words")
    assert repo.paths() == [
        *("README.md", "data/test-00000-of-00001.parquet", "data/train-00000-of-00001.parquet"),
        *("data/validation-00000-of-00001.parquet", "excluded.csv"),
    ]
    found = load("alice/words")
    assert {name: len(rows) for name, rows in found.items()} == {"train": 4, "validation": 2, "test": 2}
    assert found["train"].features == datasets.Features(
        {
            "clip_id": datasets.Value("string"),
            "audio": UNDECODED,
            "label": datasets.ClassLabel(names=["no", "yes"]),
            "group": datasets.Value("string"),
            "age": datasets.Value("int64"),
            "room": datasets.Value("string"),
        }
    )
    rows = {row["clip_id"]: row for its in found.values() for row in its}
    row = rows["di-no.wav"]
    assert (row["label"], row["group"], row["age"], row["room"]) == (0, "di", 31, "kitchen")
    assert rows["cy-yes.wav"]["room"] is None
    assert {name: row["audio"]["path"] for name, row in rows.items()} == {
        name: Path(name).stem + {".wav": ".flac"}.get(Path(name).suffix, Path(name).suffix) for name in rows
    }
    for name, row in rows.items():
        expected, _ = soundfile.read(speakers / name)
        np.testing.assert_array_equal(soundfile.read(io.BytesIO(row["audio"]["bytes"]))[0], expected)
    assert list(csv.reader(io.StringIO(repo.read("excluded.csv").decode())))[1][0] == "broken.wav"
    card = DatasetCard(repo.read("README.md").decode())
    assert (card.data.license, card.data.pretty_name) == ("cc-by-4.0", "words")
    assert card.data.task_categories == ["audio-classification"]
    assert "| train | 4 | 3 s | 2 |" in card.text and "--dataset alice/words" in card.text
    assert "1 recording could not be used" in card.text and "{%" not in card.text and "{{" not in card.text
    assert "| `audio` | the audio file: FLAC, MP3; 22,050 Hz |" in card.text


def test_the_dataset_is_read_without_hf_audio(hub, token, speakers, forks_without_hf_audio, tmp_path):
    share("--data_dir", speakers, "--hub_dataset_id", "alice/alone")
    card = hub.repo("datasets", "alice/alone").read("README.md").decode()
    lines = card.partition("```python\n")[2].partition("```")[0]
    code = (
        lines
        + "stream = load_dataset('alice/alone', split='train', streaming=True)\n"
        + "stream = stream.cast_column('audio', Audio(decode=False))\n"
        + "print(labels, sound.shape, sample_rate, len(list(stream)))"
    )
    done = forks_without_hf_audio.run(code, cwd=tmp_path)
    assert done.returncode == 0, done.errors
    assert done.output.endswith("2) 22050 4\n") and "['" in done.output


def test_stretches_are_cut(hub, token, tmp_path):
    root = TREES["solo"](tmp_path / "solo")
    share("--corpus", "solo", "--data_dir", root, "--hub_dataset_id", "alice/solo", "--license", "cc0-1.0")
    rows = {row["clip_id"]: row for row in load("alice/solo", split="train")}
    cut = next(row for row in rows.values() if row["cut_start_s"] is not None)
    assert (cut["cut_start_s"], cut["cut_end_s"]) == (0.2, 1.5) and cut["audio"]["path"].endswith(".flac")
    copy = tmp_path / "copy.flac"
    copy.write_bytes(cut["audio"]["bytes"])
    expected = read_audio(root / "cello/concert 0.wav", 16_000, 0.2, 1.5)
    np.testing.assert_array_equal(read_audio(copy, 16_000), expected)
    with pytest.raises(InputError, match=r"1 of 8 clips are stretches of their files.*leave out --audio_format origin"):
        share("--corpus", "solo", "--data_dir", root, "--output_dir", tmp_path / "o", "--audio_format", "original")


def test_folds_are_a_column(tmp_path):
    root = TREES["esc50"](tmp_path / "esc50")
    share("--corpus", "esc50", "--data_dir", root, "--output_dir", tmp_path / "out")
    rows = load(tmp_path / "out")
    assert list(rows) == ["train"] and sorted(set(rows["train"]["fold"])) == [f"fold{number}" for number in range(1, 6)]
    assert len(set(rows["train"]["group"])) == 10 and len(rows["train"]) == 20
    text = (tmp_path / "out/README.md").read_text()
    assert (
        "The column `fold` contains the official folds: fold1, fold2, fold3, fold4, fold5." in text
        and "| fold | official fold |" in text
    )


def test_partial_labels_have_a_mask(tmp_path):
    root = TREES["openmic"](tmp_path / "openmic")
    share("--corpus", "openmic", "--data_dir", root, "--output_dir", tmp_path / "out")
    rows = load(tmp_path / "out")
    names = rows["train"].features["labels"].feature.names
    for row in rows["train"]:
        known = {name for name, is_known in zip(names, row["mask"], strict=True) if is_known}
        assert {names[label] for label in row["labels"]} <= known
        assert ("trumpet" in known) == (int(row["clip_id"].split("_")[0].split("/")[-1]) % 2 == 0)
    assert "`mask` is true for each class that was annotated" in (tmp_path / "out/README.md").read_text()


def test_few_shards_are_on_the_disk_at_once_unless_they_are_kept(hub, token, many, tmp_path, monkeypatch):
    monkeypatch.setattr("hf_audio.publishing.recordings.COMMIT_BYTES", 1)
    most, written = 0, shards.RecordingShards.build

    def build(self, *args):
        nonlocal most
        done = written(self, *args)
        most = max(most, len(list((self.folder / "data").glob("*.parquet"))))
        return done

    monkeypatch.setattr(shards.RecordingShards, "build", build)
    share("--data_dir", many, "--hub_dataset_id", "alice/many", "--num_workers", 1)
    total = len([path for path in hub.repo("datasets", "alice/many").paths() if path.startswith("data/")])
    assert total >= 4 and most <= 2 and not list(Path("pushes/alice--many/data").iterdir())
    share("--data_dir", many, "--hub_dataset_id", "alice/many", "--output_dir", tmp_path / "kept")
    assert len(list((tmp_path / "kept/data").iterdir())) == total
    assert len(load(tmp_path / "kept")["train"]) == 24


def test_row_groups_are_small_and_their_pages_indexed(many, tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "SHARD_BYTES", 1 << 30)
    monkeypatch.setattr(shards, "ROW_GROUP_BYTES", 200_000)
    share("--data_dir", many, "--output_dir", tmp_path / "out")
    metadata = pq.read_metadata(tmp_path / "out/data/train-00000-of-00001.parquet")
    sizes = [metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups)]
    assert len(sizes) > 3 and max(sizes) < 300_000
    assert metadata.row_group(0).column(0).has_offset_index


def test_the_script(tmp_path, many, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["push_corpus.py", "--data_dir", str(many), "--output_dir", str(tmp_path / "out")])
    runpy.run_path(str(Path(__file__).parents[1] / "scripts" / "push_corpus.py"), run_name="__main__")
    shown = capsys.readouterr().out
    assert "Read class folders: 24 clips" in shown and shown.endswith(f"{tmp_path / 'out'}\n")
    monkeypatch.setattr(sys, "argv", ["push_corpus.py", "--data_dir", str(many)])
    with pytest.raises(SystemExit):
        runpy.run_path(str(Path(__file__).parents[1] / "scripts" / "push_corpus.py"), run_name="__main__")
    assert "The dataset has no destination" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        share("--help")
    assert "--hub_dataset_id" in (shown := capsys.readouterr().out) and "--audio_format" in shown


def test_nothing_about_this_machine_is_published(hub, token, speakers, tmp_path):
    share("--data_dir", speakers, "--hub_dataset_id", "alice/clean", "--hub_token", token, "--output_dir", "kept")
    repo = hub.repo("datasets", "alice/clean")
    for path in repo.paths():
        content = repo.read(path)
        for secret in (str(tmp_path), str(speakers), token, os.path.expanduser("~")):
            assert secret.encode() not in content, path
    assert token not in json.dumps([path.read_text() for path in Path("kept/.build").glob("*.json")])
    rows = pq.read_table(Path("kept/data/train-00000-of-00001.parquet"))
    assert all("/" not in row["path"] for row in rows["audio"].to_pylist())


def test_a_token_in_a_table_is_not_published(tmp_path):
    for name in ("a", "b"):
        write_sound(tmp_path / f"in/{name}.wav", 0.5, 1, [300.0], RATE)
    (tmp_path / "in/t.csv").write_text("path,label,note\na.wav,x,hf_" + "a" * 34 + "\nb.wav,y,\n")
    with pytest.raises(InputError, match="Column note contains a Hugging Face token"):
        share("--data_dir", tmp_path / "in", "--output_dir", tmp_path / "out")


def test_markup_in_names_is_escaped(tmp_path):
    name = "<script>|`x`\n# Head".replace("\n", " ")
    for label in (name.replace("/", ""), "b"):
        for number in range(2):
            write_sound(tmp_path / f"in/{label}/{number}.wav", 0.5, number, [300.0], RATE)
    share("--data_dir", tmp_path / "in", "--output_dir", tmp_path / "out")
    text = (tmp_path / "out/README.md").read_text()
    assert "<script>" not in text.partition("\n---\n")[2] and "\\<script\\>" in text
    assert load(tmp_path / "out")["train"].features["label"].names[0] == name
