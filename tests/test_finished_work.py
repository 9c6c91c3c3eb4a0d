"""Finished work is recognized by the facts that determined it, and differences are named."""

from __future__ import annotations

import json
import os
import shutil

import pytest

from hf_audio import InputError
from hf_audio.finished_work import claim, differences, digest, digest_of_files, digest_of_folder


def test_the_same_facts_claim_the_same_work_and_differences_are_named(tmp_path):
    path = tmp_path / "fold.json"
    facts = {"window_s": 3.0, "channels": ("left", "right"), "clips": digest(["a", "b"])}
    claim(path, "The run", facts, "choose another folder")
    written = path.stat().st_mtime_ns
    claim(path, "The run", facts, "choose another folder")
    assert path.stat().st_mtime_ns == written and json.loads(path.read_text())["channels"] == ["left", "right"]
    others = {**facts, "window_s": 2.0, "clips": digest(["a", "c"])}
    with pytest.raises(InputError) as error:
        claim(path, "The run", others, "choose another folder")
    assert str(error.value) == "The run differs in: clips, window_s was 3.0 and is now 2.0; choose another folder"
    assert json.loads(path.read_text())["window_s"] == 3.0, "the stored facts must not change"


def test_a_fact_on_only_one_side_is_a_difference():
    assert differences({"a": 1, "b": None}, {"a": 1}) == []
    assert differences({"a": 1}, {"a": 1, "b": 2}) == ["b was None and is now 2"]
    assert differences({"a": 1, "b": 2}, {"a": 1}) == ["b was 2 and is now None"]
    assert differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}) == ["a.c was 2 and is now 3"]


def test_long_values_are_shown_where_they_differ():
    steps = [f"Step{number}(probability=0.5, snr_db=({number}.0, 40.0))" for number in range(20)]
    before = f"Compose(steps=({', '.join(steps)}))"
    (words,) = differences({"augmentation": before}, {"augmentation": before.replace("(15.0, 40.0)", "(15.0, 20.0)")})
    was, now = words.removeprefix("augmentation was ... ").split(" ... and is now ... ")
    assert was.startswith("Step15(probability=0.5, snr_db=(15.0, 40.0))")
    assert now.startswith("Step15(probability=0.5, snr_db=(15.0, 20.0))") and len(words) < 220


def test_rewritten_recordings_count_as_different(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(b"1234")
    before = digest_of_files([path])
    assert digest_of_files([str(path)]) == before
    os.utime(path, (1, 1))
    assert digest_of_files([path]) != before
    path.unlink()
    assert digest_of_files([path]) != before


def test_a_model_is_identified_by_its_weights_in_any_folder(tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"weights")
    before = digest_of_folder(model)
    (model / "checkpoints" / "checkpoint-1").mkdir(parents=True)
    (model / "checkpoints" / "checkpoint-1" / "model.safetensors").write_bytes(b"others")
    (model / "report.json").write_text("{}")
    shutil.copytree(model, tmp_path / "copy")
    assert digest_of_folder(model) == digest_of_folder(tmp_path / "copy") == before
    (model / "model.safetensors").write_bytes(b"WEIGHTS")
    assert digest_of_folder(model) != before
