"""Recipes with --features_on_device: published models give the evaluated scores, from folders and streams."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hostile_features import put_on
from test_model_card import code_blocks, execute
from training_run import CLASSES, build_tiny_features, sound, tiny_model
from transformers import pipeline

import hf_audio
from hf_audio import Predictor, load_features, parse_settings
from hf_audio.analysis.model_average import average_models
from hf_audio.classical_models.window_vectors import open_network
from hf_audio.config import DataConfig, FeatureConfig
from hf_audio.config.acting import require_acting
from hf_audio.data.index.labels import SINGLE_LABEL
from hf_audio.data.loading.computed_features import computed_features
from hf_audio.errors import InputError
from hf_audio.kinds._kaldi_fbank import KaldiFbank
from hf_audio.kinds.waveform import Waveform
from hf_audio.models.spectrogram_pretraining import pretraining_model
from hf_audio.publishing.handlers.network import EndpointHandler
from hf_audio.training import AudioTrainer, Pretraining, training_arguments
from hf_audio.windows import SampleWindows
from hf_audio.workflows import run_network

RATE = 16_000
VALUES = {
    "output_dir": "unset",
    "corpus": "folder",
    "model": "ast-mini",
    "features_on_device": True,
    "num_mel_bins": 32,
    "per_device_train_batch_size": 8,
    "report_to": "none",
    "eval_strategy": "no",
    "save_strategy": "no",
    "max_steps": 2,
    "num_workers": 1,
    "disable_tqdm": True,
    "wave_noise_probability": 0.5,
    "time_mask_s": 0.03,
}
LENGTHS = (3_001, 6_400, 6_555, 9_733, 12_960, 16_123)  # one short, others ending within and between frames


def refusal(argv: list[str], capsys) -> str:
    """The error of a recipe that is refused."""
    with pytest.raises(SystemExit):
        run_network(VALUES, argv=argv)
    return capsys.readouterr().err.splitlines()[-1]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """16-bit recordings of odd lengths, in folders by split and class."""
    folder, random = tmp_path_factory.mktemp("corpus"), np.random.default_rng(0)
    for split, number in (("train", 6), ("test", 2)):
        for kind, name in enumerate(CLASSES):
            (folder / split / name).mkdir(parents=True)
            for index in range(number):
                samples = sound(kind, 1.1, random)[: LENGTHS[(3 * index + kind) % len(LENGTHS)]]
                soundfile.write(folder / split / name / f"{index}.wav", samples, RATE, subtype="PCM_16")
    return folder


@pytest.fixture(scope="module")
def run(corpus, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    windows = ["--window_s", "0.4", "--hop_s", "0.13"]
    run_network(VALUES, argv=["--data_dir", str(corpus), "--output_dir", str(folder), *windows])
    return folder


def test_the_report_distinguishes_stored_from_computed_features(run):
    report = json.loads((run / "report.json").read_text())
    assert report["data"]["extractor"]["kind"] == "fbank"
    assert report["data"]["stored"] == {"kind": "waveform", "sampling_rate": RATE}
    assert report["settings"]["features"]["features_on_device"] is True
    assert report["settings"]["waveform_augment"]["wave_noise_probability"] == 0.5
    assert "Noise(" in report["training"]["settings"]["augmentation"]
    card = (run / "README.md").read_text()
    assert "| augmentation | Noise" in card and "| loss | cross-entropy" in card, "settings that acted"
    config = json.loads((run / "config.json").read_text())
    assert (config["window_s"], config["hop_s"], config["cut_as"]) == (0.4, 0.13, "waveform")
    assert SampleWindows(**config["sample_windows"]) == (6400, 2080, 400, 1)
    stored = load_features(run / "features")
    assert stored.kind.name == "waveform", "the dataset must be usable for waveform models too"


def test_everything_published_gives_the_evaluated_scores(run, corpus):
    """Checks card, handler, Predictor and tagger with all recordings, and the pipeline with those of one window."""
    features = computed_features(load_features(run / "features"), KaldiFbank(num_mel_bins=32))
    predictor, tagger, handler = Predictor.load(str(run)), hf_audio.load(str(run)), EndpointHandler(str(run))
    assert predictor.extractor.to_dict() == features.extractor.to_dict()
    classify = pipeline("audio-classification", model=str(run))
    scores = predictor.scores(features, "test")
    names, probabilities = features.labels.names, features.labels.probabilities(scores.logits)
    clips = list(dict.fromkeys(features.splits["test"]["clip_id"]))
    assert len(clips) == 6
    for clip_id, logits, wanted in zip(clips, scores.logits, probabilities, strict=True):
        recording = corpus / clip_id
        variables, _ = execute(code_blocks(run / "README.md", run.name, run, recording)[1])
        np.testing.assert_allclose(variables["logits"], logits, atol=1e-4)
        samples, rate = soundfile.read(recording, dtype="float32")
        np.testing.assert_allclose(predictor.waveform(samples, rate).logits.mean(axis=0), logits, atol=1e-4)
        expected = pytest.approx(dict(zip(names, wanted.tolist(), strict=True)), abs=1e-4)
        assert {one["label"]: one["score"] for one in handler({"inputs": recording.read_bytes()})} == expected
        assert dict(tagger(str(recording)).scores) == expected
        if len(samples) <= 6400:
            assert {one["label"]: one["score"] for one in classify(samples, top_k=3)} == expected


def test_all_readers_of_a_runs_dataset_compute_the_models_features(run, tmp_path):
    """For `hf-audio evaluate`, a classical model's --network, and an average of models."""
    sound, report = load_features(run / "features"), json.loads((run / "report.json").read_text())
    scores = Predictor.load(str(run)).scores(sound, "test")
    accuracy = np.mean(scores.logits.argmax(axis=1) == scores.targets.argmax(axis=1))
    assert accuracy == report["results"]["model"]["test"]["accuracy"]
    network = open_network(str(run), None)
    assert network.predictor.embeddings(network.features, "test").values.shape == (len(sound.splits["test"]), 128)
    shutil.copytree(run, tmp_path / "copy")
    averaged = average_models([str(run), str(tmp_path / "copy")], sound)
    assert averaged.features.kind.name == "fbank"
    np.testing.assert_allclose(averaged.predictor().scores(averaged.features, "test").logits, scores.logits, atol=1e-5)


def test_a_stored_dataset_on_the_hub_is_streamed(hub, token, tmp_path, capsys):
    folder = build_tiny_features(tmp_path / "sound", SINGLE_LABEL, extractor=Waveform())
    name = put_on(hub, "alice/sound", folder)
    argv = ["--dataset", name, "--output_dir", str(tmp_path / "run")]
    flags = ["--features", "spectrogram", "--sample_rate", "16000", "--n_fft", "512", "--hop_samples", "160"]
    run_network(VALUES, argv=[*argv, *flags])
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["training"]["settings"]["streaming"] is True and report["data"]["source"] == name
    assert json.loads((tmp_path / "run" / "preprocessor_config.json").read_text())["mean"][0] < -20
    without = ["--overwrite_run", "--features_on_device", "false", "--num_mel_bins", "128"]
    said = refusal([*argv, *without], capsys)
    assert "needs fbank: add --features_on_device" in said


def test_pretraining_reads_computed_features(tmp_path):
    sound = load_features(build_tiny_features(tmp_path / "sound", SINGLE_LABEL, extractor=Waveform()))
    features = computed_features(sound, KaldiFbank(num_mel_bins=32))
    model = pretraining_model(tiny_model(features), objective="masked", seed=0)
    arguments = training_arguments(tmp_path / "run", max_steps=2, report_to="none", use_cpu=True, disable_tqdm=True)
    trainer = AudioTrainer(model, arguments, Pretraining(features))
    trainer.train_resumable()
    assert trainer.evaluate()["eval_loss"] > 0


def test_it_is_refused_where_nothing_is_trained_on_it(tmp_path, capsys):
    argv = ["--data_dir", str(tmp_path), "--features_on_device"]
    with pytest.raises(InputError, match="--features_on_device would have no effect here"):
        parse_settings(DataConfig, FeatureConfig, values={}, argv=argv)
    flags = ["--data_dir", str(tmp_path), "--output_dir", str(tmp_path / "run"), "--features", "waveform"]
    said = refusal([*flags, "--wave_polarity_probability", "0.5"], capsys)
    assert "--wave_polarity_probability would have no effect here" in said
    values = {"features_on_device": True, "wave_polarity_probability": 0.0, "normalization": "clip"}
    require_acting(["wave_polarity_probability", "wave_gain_probability"], values | {"wave_gain_probability": 0.0})
    said = refusal([*flags, "--num_mel_bins", "128", "--model", "wav2vec2-mini"], capsys)
    assert said.startswith(
        "error: waveform features cannot be computed on a device: give --features fbank or spectrogr"
    )
