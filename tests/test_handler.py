"""handler.py of a published model, called as by Inference Endpoints: the answers of hf_audio, without hf_audio."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from compatibility import report_of
from model_cases import CASES, Instance
from tagging_models import USAGE, changing_sound, save_classifier, write_sound

import hf_audio
from hf_audio.data.index.labels import MULTI_LABEL, SINGLE_LABEL
from hf_audio.errors import InputError
from hf_audio.publishing.handler import is_requirements
from hf_audio.publishing.handlers.request import request_of, scores_of
from hf_audio.publishing.model_card import write_model_card
from hf_audio.publishing.push import push_model

ENDPOINT = """
import importlib.util, json, sys
sys.modules["hf_audio"] = None  # an endpoint does not have it
from pathlib import Path
from huggingface_hub import snapshot_download
found = {}
for name, requests in json.load(open(sys.argv[1])).items():
    folder = snapshot_download(name)
    spec = importlib.util.spec_from_file_location("handler", folder + "/handler.py")
    handler = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(handler)
    endpoint, found[name] = handler.EndpointHandler(folder), []
    for data in requests:
        if isinstance(data.get("inputs"), dict) and "file" in data["inputs"]:
            data["inputs"] = Path(data["inputs"]["file"]).read_bytes()
        try:
            found[name].append(endpoint(data))
        except ValueError as error:
            found[name].append(str(error))
print(json.dumps(found))
"""
MODELS = {"cnn": MULTI_LABEL, "ast_stock": SINGLE_LABEL, "stereo_cnn": MULTI_LABEL, "wav2vec2_stock": SINGLE_LABEL}
BAD = {
    "not audio": ({"inputs": base64.b64encode(b"no sound").decode()}, "The recording cannot be read"),
    "nothing": ({"inputs": None}, "inputs must be the bytes of a recording"),
    "not base64": ({"inputs": "no base64!"}, "is text but not valid base64"),
    "not ASCII": ({"inputs": "\u00e9"}, "is text but not valid base64"),
    "incomplete base64": ({"inputs": "QUJ"}, "is text but not valid base64"),
    "an empty text": ({"inputs": ""}, "inputs must be the bytes of a recording"),
    "another object": ({"inputs": {"samples": [0.1]}}, "found dict"),
    "another key": ({"input": "QUJD"}, "A request must be {"),
    "an additional key": ({"inputs": "QUJD", "options": {"top_k": 2}}, "optional; found inputs, options"),
    "too many samples": ({"inputs": {"array": [0.1] * 10_000, "sampling_rate": 1}}, "more than the maximum of 120,000"),
    "parameters": ({"inputs": "", "parameters": {"device": 1}}, "Valid parameters are top_k"),
    "a list of parameters": ({"inputs": "", "parameters": [1]}, "Valid parameters are top_k"),
    "a fractional top_k": ({"inputs": "", "parameters": {"top_k": 1.5}}, "Valid parameters are top_k"),
    "a sampling rate as text": (
        {"inputs": {"array": [0.1], "sampling_rate": "x"}},
        "A recording must have finite samples",
    ),
    "a huge sampling rate": (
        {"inputs": {"array": [0.1], "sampling_rate": 10**30}},
        "A recording must have finite samples",
    ),
    "channels last": ({"inputs": {"array": [[0.1, 0.1]] * 9, "sampling_rate": 8000}}, "found an array with 9 channels"),
    "samples as text": ({"inputs": {"array": ["a"], "sampling_rate": 8000}}, "A recording must have finite samples"),
}


def published(folder: Path, name: str, task: str, hub) -> Path:
    """Saves a model with its card in the folder, and pushes it to the Hub."""
    save_classifier(folder, name, task)
    instance = Instance(next(case for case in CASES if case.name == name), "linear", task)
    tagger = hf_audio.load(folder)
    report = report_of(instance, tagger.predictor.model, tagger.predictor.extractor, USAGE)
    write_model_card(folder, report, repo_id=f"alice/{name}")
    push_model(folder, f"alice/{name}", token=hub.token("alice"))
    return folder


def test_endpoints_answer_as_hf_audio_does(hub, token, tmp_path, forks_without_hf_audio):
    stereo = np.stack([changing_sound(2.2), changing_sound(2.2, seed=8)], axis=1)
    soundfile.write(tmp_path / "stereo.flac", stereo, 44_100)
    files = [write_sound(tmp_path / "a.wav", 1.37), write_sound(tmp_path / "b.wav", 0.02), tmp_path / "stereo.flac"]
    folders = {name: published(tmp_path / name, name, task, hub) for name, task in MODELS.items()}
    samples = changing_sound(0.9)
    requests = [{"inputs": {"file": str(path)}} for path in files]
    requests.append({"inputs": base64.b64encode(files[0].read_bytes()).decode(), "parameters": {"top_k": 2}})
    requests.append({"inputs": {"array": samples.tolist(), "sampling_rate": 16_000}})
    requests += [data for data, _ in BAD.values()]
    (tmp_path / "requests.json").write_text(json.dumps({f"alice/{name}": requests for name in MODELS}))
    done = forks_without_hf_audio.run(ENDPOINT, "requests.json", cwd=tmp_path)
    assert done.returncode == 0, done.errors[-3000:]
    answers = json.loads(done.output.splitlines()[-1])
    for name, folder in folders.items():
        tagger = hf_audio.load(folder)
        wanted = [tagger(path).scores for path in files]
        wanted += [dict(list(wanted[0].items())[:2]), tagger(samples, 16_000).scores]
        for found, expected in zip(answers[f"alice/{name}"][: len(wanted)], wanted, strict=True):
            assert [one["label"] for one in found] == list(expected), name
            np.testing.assert_allclose([one["score"] for one in found], list(expected.values()), atol=1e-4)
        for found, (_, sentence) in zip(answers[f"alice/{name}"][-len(BAD) :], BAD.values(), strict=True):
            assert sentence in found and "\n" not in found
    paths = set(hub.repo("models", "alice/cnn").paths())
    assert {"handler.py", "requirements.txt", "README.md", "config.json"} <= paths


@pytest.mark.parametrize("name", ["handler.py", "requirements.txt"])
def test_a_foreign_handler_is_not_published(hub, token, tmp_path, name):
    folder = save_classifier(tmp_path / "cnn", "cnn")
    (folder / name).write_text("import os\n" if name.endswith(".py") else "soundfile\nevil-package\n")
    with pytest.raises(InputError, match=r"handler\.py of this version|lists packages that hf_audio does not need"):
        push_model(folder, "alice/code")
    assert ("models", "alice/code") not in hub.storage.repos


def test_logits_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="are not finite"):
        scores_of(np.array([0.0, np.nan]), "sigmoid")


@pytest.mark.parametrize("data", [None, b"RIFF", ["inputs"], {}])
def test_invalid_requests_are_refused(data):
    with pytest.raises(ValueError, match=r"^A request must be \{.inputs.: \.\.\., .*; found "):
        request_of(data, "sigmoid")


def test_requirements_may_only_name_packages_of_our_cards():
    assert is_requirements(b"transformers>=4.48\ntorch\nsoundfile\nsoxr\ntimm>=1.0.26\nscikit-learn==1.7.0\n")
    for line in ("evil", "torch @ https://evil/x", "-r other.txt", "soxr; evil", "scikit-learn==1 --index-url=x"):
        assert not is_requirements(line.encode())
