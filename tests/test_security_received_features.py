"""A feature folder from someone else, pushed under one's own name: only if `load_features` would read it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hostile_features import edit_index, edit_json, edit_rows, first_row, shard_of, write_shard
from huggingface_hub import ModelCard
from training_run import trainer_of

from hf_audio import InputError
from hf_audio.analysis.evaluation import evaluate_model
from hf_audio.data.index.labels import SINGLE_LABEL
from hf_audio.data.loading.features_dataset import check_features, load_features
from hf_audio.publishing.dataset_card import write_dataset_card
from hf_audio.publishing.model_card import write_model_card
from hf_audio.publishing.push import push_features

ELSEWHERE = "http://127.0.0.1:9/image.png"
OTHER = {"name": "Noises", "license": "CC BY-NC-SA 3.0", "may_redistribute": False}
OTHER |= {"citation": "Someone: Noises.", "homepage": "", "protocol": "", "groups_known": True, "understood": ""}
OTHER |= {"source": "", "revision": ""}


@pytest.fixture
def folder(tiny_folders, tmp_path) -> Path:
    return Path(shutil.copytree(tiny_folders[SINGLE_LABEL], tmp_path / "received"))


def with_addresses(folder: Path) -> None:
    table = pq.read_table(shard_of(folder))
    images = [{"bytes": None, "path": ELSEWHERE}] * len(table)
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    write_shard(folder, table.append_column("cover", pa.array(images, kind)))


def with_card(head: str):
    return lambda folder: (folder / "README.md").write_text(f"---\n{head}\n---\n# Features\n")


SPOILT = {
    "an extractor with foreign code": (
        lambda folder: edit_json(
            folder / "preprocessor_config.json", "auto_map", {"AutoFeatureExtractor": "evil/code--x.X"}
        ),
        "would make anyone who loads it run or load files",
    ),
    "a column of addresses": (with_addresses, "does not have the columns of its manifest: 'cover'"),
    "an image at an address": (
        lambda folder: edit_rows(folder, first_row("features", {"bytes": None, "path": ELSEWHERE})),
        "has an empty value in features",
    ),
    "a row of another group": (lambda folder: edit_rows(folder, first_row("group", "x")), "than index.parquet"),
    "a missing row": (lambda folder: edit_rows(folder, lambda rows: rows.pop()), "37 windows, expected 38"),
    "an index without a clip": (lambda folder: edit_index(folder, lambda rows: rows.pop()), "index.parquet lists"),
    "a card that reads other files": (
        with_card(f"configs:\n- config_name: default\n  data_files: {ELSEWHERE}"),
        "make `load_dataset` read files that are not this dataset's",
    ),
    "a card without valid YAML": (with_card("a: [b"), "has no valid YAML head"),
    **{
        f"a manifest whose {place} is {value!r}": (
            lambda folder, place=place, value=value: edit_json(folder / "manifest.json", place, value),
            rf"manifest\.json is damaged: {place.split('.')[0]}",
        )
        for place, value in (
            *((place, ...) for place in ("splits", "corpus", "corpus.license", "extractor", "label_names")),
            *((place, []) for place in ("splits", "corpus", "extractor", "splits.train.label_counts")),
            *(("splits.train", 3), ("splits.train.num_windows", "x"), ("window_s", "x"), ("label_names", 5)),
            *(("corpus.others", 5), ("corpus.others", [1]), ("corpus.others", [{}]), ("corpus.others", [OTHER] * 101)),
        )
    },
}


@pytest.mark.parametrize("what", SPOILT)
def test_features_that_cannot_be_loaded_are_not_pushed(hub, token, folder, what):
    spoil, said = SPOILT[what]
    spoil(folder)
    with pytest.raises(InputError, match=said):
        push_features(folder, "alice/received")
    assert ("datasets", "alice/received") not in hub.storage.repos


def test_a_complete_folder_is_accepted_without_copying_rows(folder, monkeypatch):
    monkeypatch.setattr("hf_audio.data.loading.shard_reader.ShardReader.download_and_prepare", None)
    check_features(folder)


def test_a_card_written_by_its_owner_is_kept(hub, token, folder):
    write_dataset_card(folder, "alice/received")
    card = (folder / "README.md").read_text() + "\nMine.\n"
    (folder / "README.md").write_text(card)
    push_features(folder, "alice/received")
    assert hub.repo("datasets", "alice/received").read("README.md").decode() == card


def test_cards_have_the_license_of_every_source(folder, tmp_path):
    edit_json(folder / "manifest.json", "corpus.others", [OTHER])
    features = load_features(folder)
    assert features.manifest["corpus"]["others"] == [OTHER]
    trainer = trainer_of(features, tmp_path / "run", arguments={"max_steps": 1, "save_strategy": "no"})
    write_model_card(tmp_path / "run", evaluate_model(trainer, features, tmp_path / "run", settings={}, command="x"))
    for card in (tmp_path / "run" / "README.md", write_dataset_card(folder)):
        assert "Noises" in ModelCard.load(card).text and "CC BY-NC-SA 3.0" in ModelCard.load(card).text
