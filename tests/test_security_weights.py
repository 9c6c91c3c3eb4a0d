"""Third-party weights: only safetensors next to the config, complete, within limits, and from one commit."""

from __future__ import annotations

import json
import os
import struct

import pytest
import torch
from safetensors.torch import load_file, save
from small_transformers import LABELS, files_of

from hf_audio.errors import InputError
from hf_audio.models.checkpoints import stock_from_checkpoint
from hf_audio.models.foreign_checkpoint import Checkpoint

EVIL = "evil/x"


def header(fields: dict, length: int | None = None) -> bytes:
    text = json.dumps(fields).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text


WEIGHT_ATTACKS = {
    "no header": {"model.safetensors": b"\x80\x04K\x01."},
    "empty": {"model.safetensors": b""},
    "a header of a terabyte": {"model.safetensors": header({}, 1 << 40)},
    "a header of a gigabyte": {"model.safetensors": header({}, 1 << 30)},
    "data beyond the end": {
        "model.safetensors": header({"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}})
    },
    "an overflowing shape": {
        "model.safetensors": header({"a": {"dtype": "F32", "shape": [1 << 62, 8], "data_offsets": [0, 0]}})
    },
    "a pickle only": {"pytorch_model.bin": b"\x80\x04K\x01."},
    "an index to elsewhere": {
        "model.safetensors.index.json": b'{"weight_map": {"a": "../../victim/model.safetensors"}}'
    },
    "an index to an absolute path": {"model.safetensors.index.json": b'{"weight_map": {"a": "/etc/a.safetensors"}}'},
    "an index to a pickle": {"model.safetensors.index.json": b'{"weight_map": {"a": "pytorch_model.bin"}}'},
    "an index to nothing": {"model.safetensors.index.json": b'{"weight_map": {"a": "b.safetensors"}}'},
    "an index of nothing": {"model.safetensors.index.json": b'{"weight_map": {}}'},
    "an index with a list": {"model.safetensors.index.json": b'{"weight_map": ["a"]}'},
    "an index of numbers": {"model.safetensors.index.json": b'{"weight_map": {"a": 1}}'},
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("attack", WEIGHT_ATTACKS)
@pytest.mark.parametrize("where", ["hub", "folder"])
def test_manipulated_weights_are_one_sentence(hub, checkpoints, attack, where, tmp_path):
    files = {name: one for name, one in files_of(checkpoints["wav2vec2"]).items() if name == "config.json"}
    files |= WEIGHT_ATTACKS[attack]
    name = EVIL if where == "hub" else str(tmp_path)
    if where == "hub":
        hub.create("models", EVIL, files=files)
    else:
        for path, content in files.items():
            (tmp_path / path).write_bytes(content)
    with pytest.raises(InputError, match="Cannot load checkpoint") as caught:
        stock_from_checkpoint(name, LABELS)
    assert "\n" not in str(caught.value)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("file", ["model.safetensors", "config.json"])
def test_a_pipe_in_place_of_a_file_is_not_waited_for(checkpoints, file, tmp_path):
    for name, content in files_of(checkpoints["wav2vec2"]).items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / file).unlink()
    os.mkfifo(tmp_path / file)
    with pytest.raises(InputError):
        stock_from_checkpoint(str(tmp_path), LABELS)


def test_sharded_weights_are_loaded(checkpoints, tmp_path):
    for name, content in files_of(checkpoints["hubert"]).items():
        (tmp_path / name).write_bytes(content)
    tensors = load_file(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    names = sorted(tensors)
    shards = {"a-00001-of-00002.safetensors": names[::2], "a-00002-of-00002.safetensors": names[1::2]}
    for file, part in shards.items():
        (tmp_path / file).write_bytes(save({name: tensors[name] for name in part}, {"format": "pt"}))
    index = {"weight_map": {name: file for file, part in shards.items() for name in part}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    one, two = (stock_from_checkpoint(str(name), LABELS) for name in (tmp_path, checkpoints["hubert"]))
    for name, weights in one.hubert.state_dict().items():
        assert torch.equal(weights, two.hubert.state_dict()[name])


def test_all_files_come_from_one_commit(hub, checkpoints):
    files = files_of(checkpoints["wav2vec2"])
    repo = hub.create("models", "evil/moving", files=files)
    checkpoint = Checkpoint("evil/moving")
    config = checkpoint.config
    repo.commit({"model.safetensors": b"changed since"})
    model, _ = checkpoint.load(config)
    assert torch.equal(
        model.wav2vec2.feature_extractor.conv_layers[0].conv.weight,
        load_file(f"{checkpoints['wav2vec2']}/model.safetensors")[
            "wav2vec2.feature_extractor.conv_layers.0.conv.weight"
        ],
    )
