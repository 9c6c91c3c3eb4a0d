"""The model card: metadata that the Hub parses, and code that runs exactly as printed."""

from __future__ import annotations

import contextlib
import io
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from huggingface_hub import ModelCard
from training_run import build_tiny_features, sound, tiny_model
from transformers import AutoModelForAudioClassification

from hf_audio.analysis.evaluation import evaluate_model
from hf_audio.data.index.labels import MULTI_LABEL, SINGLE_LABEL
from hf_audio.data.loading.features_dataset import load_features
from hf_audio.data.recordings.audio import read_audio
from hf_audio.kinds._kaldi_fbank import KaldiFbank
from hf_audio.models.audio_spectrogram_transformer import ast_from_checkpoint
from hf_audio.models.lora import add_lora
from hf_audio.models.origin import origin_of
from hf_audio.models.timm_network import import_timm
from hf_audio.models.usage import Usage
from hf_audio.predictor import Predictor
from hf_audio.publishing.model_card import write_model_card
from hf_audio.training import AudioTrainer, Classification, training_arguments

REPO = "someone/tiny-sounds"


@pytest.fixture(scope="module", params=[MULTI_LABEL, SINGLE_LABEL])
def run(request, tmp_path_factory):
    """A run of each task, ready to publish: features, folder, report."""
    root = tmp_path_factory.mktemp("card")
    features = load_features(build_tiny_features(root / "features", request.param))
    arguments = training_arguments(root / "run", report_to="none", use_cpu=True, max_steps=8, learning_rate=3e-3)
    trainer = AudioTrainer(tiny_model(features), arguments, Classification(features))
    trainer.train_resumable()
    report = evaluate_model(trainer, features, root / "run", command="accelerate launch recipes/ast_folder.py")
    return features, root / "run", report


@pytest.fixture
def recording(tmp_path) -> Path:
    """1.1 s at 44.1 kHz in stereo: two windows of 0.4 s and a remainder."""
    random = np.random.default_rng(3)
    samples = np.stack([sound(0, 3.0, random), sound(2, 3.0, random)], axis=1)[: int(44_100 * 1.1)]
    soundfile.write(tmp_path / "recording.wav", samples, 44_100)
    return tmp_path / "recording.wav"


def code_blocks(card: Path, model_id: str, folder: Path, recording: Path) -> list[str]:
    """The Python code of a card, with the names of the model and the recording replaced by their paths."""
    blocks = re.findall(r"```python\n(.*?)```", card.read_text(), re.S)
    assert all(f'"{model_id}"' in block for block in blocks)
    return [block.replace(model_id, str(folder)).replace("recording.wav", str(recording)) for block in blocks]


def execute(code: str) -> tuple[dict, str]:
    """The variables that the code sets, and what it prints."""
    printed, variables = io.StringIO(), {}
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "model card", "exec"), variables)
    return variables, printed.getvalue()


def test_metadata_is_what_the_hub_reads(run):
    features, folder, report = run
    path = write_model_card(folder, report, repo_id=REPO, dataset_id="someone/tiny-fbank", license="apache-2.0")
    card = ModelCard.load(path)
    data = card.data
    assert (data.license, data.library_name, data.pipeline_tag) == (
        "apache-2.0",
        "transformers",
        "audio-classification",
    )
    assert data.datasets == ["someone/tiny-fbank"] and data.base_model is None and data.model_name == "tiny-sounds"
    assert {"hf_audio", "audio-classification"} <= set(data.tags)
    found = {result.metric_name: result for result in data.eval_results}
    scores = report["results"]["model"]["test"]
    assert found["macro F1"].metric_value == pytest.approx(scores["f1_macro"], abs=1e-4)
    assert found["mAP"].metric_value == pytest.approx(scores["mean_average_precision"], abs=1e-4)
    assert {result.dataset_split for result in data.eval_results} == {"test"}
    assert {result.dataset_type for result in data.eval_results} == {"someone/tiny-fbank"}
    assert ("micro F1" if features.labels.is_multi_label else "accuracy") in found
    assert not re.search(r"{{|{%|None|nan", card.text), "a placeholder of the template is left"


def test_the_text_has_scores_data_and_settings(run):
    features, folder, report = run
    text = write_model_card(folder, report, repo_id=REPO).read_text()
    for row in report["rows"].values():
        assert f"| {row} |" in text
    for name in report["plots"]:
        assert f"(plots/{name})" in text and (folder / "plots" / name).exists()
    for note in report["notes"]:
        assert f"> {note}" in text
    assert "accelerate launch recipes/ast_folder.py" in text
    assert "No license was chosen" in text and "CC0" in text
    assert "As an adapter" not in text
    assert all(name in text for name in features.labels.names)
    assert ("threshold" in text) == features.labels.is_multi_label
    assert not re.search(r"\n\n\n", text), "there are two empty lines in a row"


def test_unknown_groups_are_not_claimed(run, tmp_path):
    _, folder, report = run
    assert report["data"]["group_disjoint"] is True
    shutil.copytree(folder, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints"))
    corpus = {**report["data"]["corpus"], "groups_known": False}
    path = write_model_card(tmp_path / "run", {**report, "data": {**report["data"], "corpus": corpus}})
    assert "No grouping of the recordings (by singer, song or session) is known" in path.read_text()
    assert "is in more than one split." not in path.read_text()


def test_code_for_one_window_equals_the_model(run, recording):
    features, folder, report = run
    card = write_model_card(folder, report, repo_id=REPO)
    variables, printed = execute(code_blocks(card, REPO, folder, recording)[0])
    assert {score["label"] for score in variables["scores"]} == set(features.labels.names)
    assert printed.strip()
    samples = read_audio(recording, 16_000)[: features.extractor.max_length * 160 + 240]
    inputs = features.extractor(samples, sampling_rate=16_000, return_tensors="pt")
    with torch.no_grad():
        logits = AutoModelForAudioClassification.from_pretrained(folder).eval()(**inputs).logits[0].numpy()
    wanted = dict(zip(features.labels.names, features.labels.probabilities(logits), strict=True))
    assert {score["label"]: score["score"] for score in variables["scores"]} == pytest.approx(wanted, abs=1e-4)


# Below a frame, one frame, odd lengths below and above a window, a remainder just below and above half a hop, several
LENGTHS = ((160, 16_000), (399, 16_000), (401, 16_000), (2_201, 8_000), (6_399, 16_000), (6_483, 16_000))
LENGTHS += ((9_639, 16_000), (9_801, 16_000), (30_011, 44_100), (48_510, 44_100), (21_777, 16_000))


def test_code_for_long_recordings_equals_the_evaluation(run, tmp_path):
    """Windows, hop, remainder, padding and resampler are those of feature building, for recordings of odd lengths."""
    features, folder, report = run
    card = write_model_card(folder, report, repo_id=REPO)
    model = AutoModelForAudioClassification.from_pretrained(folder).eval()
    extractor, labels = features.extractor, features.labels
    random = np.random.default_rng(4)
    for num_samples, rate in LENGTHS:
        recording = tmp_path / "recording.wav"
        samples = sound(0, 1.4, random) + 0.1 * sound(1, 1.4, random)
        samples = np.tile(samples, 3)[:num_samples]
        soundfile.write(recording, samples, rate, subtype="FLOAT")
        variables, printed = execute(code_blocks(card, REPO, folder, recording)[1])
        heard = read_audio(recording, 16_000)
        heard = np.pad(heard, (0, max(0, 400 - len(heard))))
        ((*windows,),) = KaldiFbank(num_mel_bins=32).windows(
            [heard], report["data"]["window_s"], report["data"]["hop_s"]
        )
        values = torch.zeros(len(windows), extractor.max_length, 32)
        for value, (_, window) in zip(values, windows, strict=True):
            value[: len(window)] = torch.from_numpy(window)
        with torch.no_grad():
            logits = model((values - extractor.mean) / (2 * extractor.std)).logits.mean(dim=0)
        assert len(variables["windows"]) == len(windows)
        np.testing.assert_allclose(variables["logits"], logits, atol=1e-4)
        probabilities = labels.probabilities(logits.numpy())
        np.testing.assert_allclose(variables["scores"], probabilities, atol=1e-4)
        threshold = report["results"]["model"]["test"].get("threshold")
        decided = [name for name, score in zip(labels.names, probabilities, strict=True) if score >= (threshold or 2)]
        assert printed.strip() == (str(decided) if threshold else labels.names[probabilities.argmax()])
        usage = Usage(threshold, report["data"]["window_s"], report["data"]["hop_s"])
        timed = Predictor(model, extractor, usage=usage).waveform(samples.astype(np.float32), rate)
        np.testing.assert_allclose(timed.scores, probabilities, atol=1e-4)


def test_several_labels_are_scored_by_sigmoid_at_the_call(run):
    """transformers before 5.23 ignores a function that is passed when the pipeline is made."""
    features, folder, report = run
    text = write_model_card(folder, report, repo_id=REPO).read_text()
    call = 'scores = classifier({"raw": sound, "sampling_rate": 16000}, top_k=3'
    sigmoid = ', function_to_apply="sigmoid"' if features.labels.is_multi_label else ""
    assert f"{call}{sigmoid})\n" in text
    assert f'classifier = pipeline("audio-classification", model="{REPO}")\n' in text
    page = (Path(__file__).parents[1] / "docs" / "using.md").read_text()
    assert 'classifier({"raw": sound, "sampling_rate": 16000}, function_to_apply="sigmoid")' in page


def test_a_card_begins_with_what_to_install(run):
    _, folder, report = run
    text = write_model_card(folder, report, repo_id=REPO).read_text()
    install = '```\npip install "transformers>=4.48" torch soundfile soxr\n```\n\n```python\n'
    assert install in text
    imported = set(re.findall(r"^(?:import|from) (\w+)", "".join(re.findall(r"```python\n(.*?)```", text, re.S)), re.M))
    assert imported == {"numpy", "soundfile", "soxr", "torch", "transformers"}  # numpy is a dependency of the others


def test_the_threshold_is_in_the_models_config(run):
    features, folder, report = run
    config = AutoModelForAudioClassification.from_pretrained(folder).config
    threshold = report["results"]["model"]["test"].get("threshold")
    assert getattr(config, "decision_threshold", None) == threshold
    assert (config.window_s, config.hop_s) == (report["data"]["window_s"], report["data"]["hop_s"])
    assert (threshold is not None) == features.labels.is_multi_label


@pytest.mark.parametrize("run", [MULTI_LABEL], indirect=True)
def test_code_runs_without_hf_audio(run, recording, forks_without_hf_audio):
    """In a process that cannot import hf_audio."""
    _, folder, report = run
    card = write_model_card(folder, report, repo_id=REPO)
    code = code_blocks(card, REPO, folder, recording)
    done = forks_without_hf_audio.run(f"{code[0]}\n{code[1]}", cwd=folder)
    assert done.returncode == 0, done.errors[-2000:]
    assert len(done.output.strip().splitlines()) == 2


def test_a_local_run_is_named_after_its_folder(run):
    _, folder, report = run
    card = ModelCard.load(write_model_card(folder, report))
    assert card.data.model_name == folder.name
    assert f'model="{folder.name}"' in card.text
    assert str(folder.parent) not in card.text, "the card has a local path"


def test_code_for_the_adapter_equals_the_merged_model(run, tmp_path):
    pytest.importorskip("peft")
    features, _, report = run
    base, folder = tmp_path / "base", tmp_path / "run"
    tiny_model(features, seed=1).save_pretrained(base)
    features.extractor.save_pretrained(base)
    # Like a real checkpoint: another window length and other classes, so only the adapter can give the right logits
    size = (3 * features.extractor.max_length, 32)
    ast_from_checkpoint(str(base), features.labels, *size).save_pretrained(base)
    adapted = add_lora(ast_from_checkpoint(str(base), features.labels, features.extractor.max_length, 32), rank=2)
    arguments = training_arguments(folder, report_to="none", use_cpu=True, max_steps=4, learning_rate=1e-2)
    trainer = AudioTrainer(adapted, arguments, Classification(features))
    trainer.train_resumable()
    report = evaluate_model(trainer, features, folder)
    assert report["model"]["adapter"] == "lora" and report["model"]["base_model"] == "base"
    assert report["model"]["num_trainable_parameters"] < report["model"]["num_parameters"]

    card = write_model_card(folder, report, repo_id=REPO)
    assert "lora" in ModelCard.load(card).data.tags
    assert "(adapter/README.md)" in card.read_text()
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "adapter" / "README.md").read_text(), re.S)
    code = code.replace('"REPO"', repr(str(folder))).replace('"base"', repr(str(base)))
    variables, _ = execute(code)
    merged = AutoModelForAudioClassification.from_pretrained(folder).eval()
    values = torch.randn(2, features.extractor.max_length, 32)
    with torch.no_grad():
        torch.testing.assert_close(variables["model"].eval()(values).logits, merged(values).logits, atol=1e-4, rtol=0)


def test_a_base_model_on_the_hub_is_in_the_metadata(run, hub, tmp_path):
    _, _, report = run
    name = "MIT/ast-finetuned-audioset-10-10-0.4593"
    report = {**report, "model": {**report["model"], "base_model": name}}
    card = ModelCard.load(write_model_card(tmp_path, report, repo_id=REPO))
    assert card.data.base_model == name and card.data.base_model_relation == "finetune"
    assert f"fine-tuned from [{name}]({hub.endpoint}/{name})" in card.text


def test_weights_of_timm_are_credited(run, hub, tmp_path):
    """A model that started from ImageNet weights was not trained from scratch; they have a license and authors."""
    _, _, report = run
    network = import_timm().create_model("resnet18.a1_in1k", pretrained=False)
    network.pretrained_weights, network.name_or_path = network.pretrained_cfg, ""
    report = {**report, "model": {**report["model"], **origin_of(network)}}
    card = ModelCard.load(write_model_card(tmp_path, report, repo_id=REPO))
    assert card.data.base_model == "timm/resnet18.a1_in1k" and card.data.base_model_relation == "finetune"
    text = " ".join(card.text.split())
    link = f"[timm/resnet18.a1\\_in1k]({hub.endpoint}/timm/resnet18.a1_in1k)"
    assert f"It was fine-tuned from {link}" in text.replace("a1_in1k]", "a1\\_in1k]") and "from scratch" not in text
    assert "The weights it was fine-tuned from" in text and ": apache-2.0, by the authors of [https" in text
    assert "arXiv:2110.00476" in text
