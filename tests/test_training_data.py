"""A model stores digests of its training data; evaluating on these is refused unless the user allows it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from evaluated_corpus import as_dataset_files, build_corpus_features, save_evaluated, write_corpus

from hf_audio.commands import evaluate
from hf_audio.config import DataConfig
from hf_audio.data.loading.features_dataset import load_features
from hf_audio.data.loading.training_digests import FACTS, TRAINING_DATA, read_training_data, write_training_data
from hf_audio.errors import InputError
from hf_audio.judging import page
from hf_audio.judging.evaluation_data import features_data, recordings_data
from hf_audio.judging.training_data import check_training_data, training_overlap
from hf_audio.models.foreign_checkpoint import Checkpoint


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("trained") / "corpus")


@pytest.fixture(scope="module")
def features(corpus) -> Path:
    return build_corpus_features(corpus, corpus.parent / "features")


@pytest.fixture(scope="module")
def model(features) -> Path:
    folder = save_evaluated(features.parent / "cnn", features)
    write_training_data(folder, load_features(features))
    return folder


def overlap(model: Path, data):
    return training_overlap("cnn", Checkpoint(str(model)), data)


def test_digests_recognize_names_without_revealing_them(model):
    found = read_training_data(model / TRAINING_DATA)
    assert {part: len(its) for part, its in found.digests.items()} == {
        "train clips": 12,
        "train groups": 6,
        "validation clips": 6,
        "validation groups": 3,
    }
    assert found.holds("train clips", ["bell-0.wav", "bell-5.wav", "bell-0"]).tolist() == [True, False, False]
    assert found.holds("train groups", ["bell-0", "bell-2", "bell-0.wav"]).tolist() == [True, False, False]
    assert b"bell" not in (model / TRAINING_DATA).read_bytes() and found.corpus == "Sounds"


def test_training_clips_are_refused_in_every_form(corpus, features, model):
    data = features_data(features)
    assert overlap(model, data.chosen("test")) == ("", ())
    refused = overlap(model, data.chosen("train"))
    with pytest.raises(InputError, match=r"cnn was trained on 12 of these 12 clips \(.*\.wav \.\.\.\)"):
        check_training_data(refused, "cnn", data.chosen("train"), allow=False)
    (told,) = check_training_data(refused, "cnn", data.chosen("train"), allow=True)
    assert told.endswith(": the scores of cnn are inflated.")
    assert "validated on 6 of these 6 clips" in overlap(model, data.chosen("validation")).told[0]
    heard = recordings_data(DataConfig(data_dir=str(corpus), split_column_name="none"))
    assert "cnn was trained on 12 of these 30 clips" in overlap(model, heard.chosen()).refusal


def test_other_clips_of_a_training_group_are_refused_too(corpus, model, tmp_path):
    copy = shutil.copytree(corpus, tmp_path / "corpus")
    lines = (copy / "table.csv").read_text().splitlines()
    moved = [line.replace("bell-7.wav,bell,bell-3", "bell-7.wav,bell,bell-1") for line in lines if ",test," in line]
    (copy / "table.csv").write_text("\n".join([lines[0], *moved]))
    refusal = overlap(model, recordings_data(DataConfig(data_dir=str(copy))).chosen()).refusal
    assert "other clips of the groups of 1 of these 12 clips (bell-7.wav)" in refusal and "'bell-1'" in refusal


def test_validation_clips_that_were_trained_on_are_reported(corpus, model, tmp_path):
    copy = shutil.copytree(corpus, tmp_path / "corpus")
    table = (copy / "table.csv").read_text()
    (copy / "table.csv").write_text(table.replace("bell-0,train,", "bell-0,validation,"))
    found = overlap(model, recordings_data(DataConfig(data_dir=str(copy))).chosen("test"))
    assert not found.refusal and found.told[0].startswith("cnn was trained on 2 of the 8 validation clips: thresholds")


def test_the_card_of_a_third_party_model_names_its_data(hub, token, features, tmp_path):
    model = save_evaluated(tmp_path / "theirs", features)
    (model / "README.md").write_text("---\ndatasets:\n- alice/sounds\n- x/y\n---\n# Theirs\n")
    hub.create("datasets", "alice/sounds", as_dataset_files())
    data = recordings_data(DataConfig(dataset="alice/sounds")).chosen()
    assert "the card of cnn names alice/sounds as its training data" in overlap(model, data).refusal
    (model / "README.md").write_text("---\ndatasets: Alice/Sounds\n---\n# Theirs\n")
    assert "the card of cnn names Alice/Sounds" in overlap(model, data).refusal
    with pytest.raises(InputError, match="--embed_sounds needs recordings that are files on this machine, and alice/"):
        evaluate.main(["--model", str(model), "--dataset", "alice/sounds", "--embed_sounds"])
    (model / "README.md").write_text("---\ndatasets: [x/y]\n---\n")
    assert overlap(model, data) == ("", ())
    (model / "README.md").write_text("---\ndatasets: [\n---\n")
    refusal, (told,) = overlap(model, data)
    assert not refusal and "training data of cnn are unknown" in told


def test_the_command_refuses_training_data_unless_it_is_allowed(features, model, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(page, "write_page", lambda folder, *_, **__: folder / "index.html")
    flags = ["--model", str(model), "--dataset", str(features), "--output_dir", str(tmp_path / "found")]
    with pytest.raises(InputError, match="would be inflated: evaluate on another --split"):
        evaluate.main([*flags, "--split", "train"])
    with pytest.raises(InputError, match="--allow_training_data would have no effect here"):
        evaluate.main([*flags, "--allow_training_data"])
    evaluate.main([*flags, "--split", "train", "--allow_training_data"])
    assert "the scores of cnn are inflated" in capsys.readouterr().out


def test_an_invalid_list_of_training_data_is_one_sentence(model, tmp_path):
    path = tmp_path / TRAINING_DATA
    table = pq.read_table(model / TRAINING_DATA)
    facts = json.loads(table.schema.metadata[FACTS])
    hostile = {
        "columns": pa.table({"other": [1]}),
        "counts": table.slice(1),
        "texts": table.replace_schema_metadata({FACTS: json.dumps({**facts, "salt": 3})}),
        "packed": table,
    }
    for name, one in hostile.items():
        pq.write_table(one, path, compression="zstd" if name == "packed" else "none", use_dictionary=False)
        with pytest.raises(InputError, match="next to the model cannot be read as a list of its training data"):
            read_training_data(path)
    path.write_bytes(b"PAR1")
    with pytest.raises(InputError, match="cannot be read as a list of its training data"):
        read_training_data(path)
