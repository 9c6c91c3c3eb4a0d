"""ClassicalFeatureExtractor: librosa's values per step, standardization, padding, and publishing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch
from chord_sounds import RATE, music
from filelock import FileLock
from transformers import ASTConfig, ASTForAudioClassification

from hf_audio.extractors.classical import (
    FEATURE_NAMES,
    ClassicalFeatureExtractor,
    classical_features,
    spectral_entropies,
)
from hf_audio.extractors.compiled_librosa import librosa

USE_WITHOUT_HF_AUDIO = """
import json, sys
sys.modules["hf_audio"] = None  # users of a published model do not have it
import numpy as np
from transformers import AutoFeatureExtractor, pipeline
waveform = np.load(sys.argv[2])
extractor = AutoFeatureExtractor.from_pretrained(sys.argv[1], trust_remote_code=True)
values = extractor(waveform, sampling_rate=22_050, return_tensors="pt")["input_values"]
classifier = pipeline("audio-classification", model=sys.argv[1], trust_remote_code=True)
scores = classifier({"raw": waveform, "sampling_rate": 22_050})
print(json.dumps({"values": values.tolist(), "scores": {one["label"]: one["score"] for one in scores}}))
"""


# Values


def test_values_equal_those_of_librosas_functions():
    """Each of them computes a spectrum from the waveform, with librosa's defaults."""
    waveform = music()
    chroma = librosa.feature.chroma_stft(y=waveform, sr=RATE)
    parts = [
        librosa.feature.mfcc(y=waveform, sr=RATE, n_mfcc=20),
        chroma,
        librosa.feature.spectral_contrast(y=waveform, sr=RATE),
        librosa.feature.tonnetz(chroma=chroma, sr=RATE),
        librosa.feature.tempo(y=waveform, sr=RATE)[:, None],
        librosa.power_to_db(librosa.feature.melspectrogram(y=waveform, sr=RATE)),
    ]
    exact = np.concatenate([part.mean(axis=1) for part in parts])
    ours = classical_features(waveform, RATE)
    assert ours.dtype == np.float32 and ours.shape == (174,) == (len(FEATURE_NAMES),) == (len(set(FEATURE_NAMES)),)
    np.testing.assert_allclose(ours, exact, rtol=1e-5, atol=1e-5)


def test_names_describe_their_values():
    time_s = np.arange(8 * RATE) / RATE
    tone = (0.5 * np.sin(2 * np.pi * 440 * time_s)).astype(np.float32)
    named = dict(zip(FEATURE_NAMES, classical_features(tone, RATE), strict=True))
    chroma = {name: value for name, value in named.items() if name.startswith("chroma_")}
    assert max(chroma, key=chroma.get) == "chroma_A" and named["chroma_A"] > 0.95
    mel = [named[f"mel_{band}_db"] for band in range(128)]
    centers_hz = librosa.mel_frequencies(n_mels=130, fmax=RATE / 2)[1:-1]
    assert abs(centers_hz[int(np.argmax(mel))] - 440) < 20
    assert dict(zip(FEATURE_NAMES, classical_features(music(8.0), RATE), strict=True))["tempo_bpm"] == pytest.approx(
        120, abs=4
    )


@pytest.mark.parametrize("num_samples", [1, 2047, 2048, 5000])
def test_short_sounds_and_silence_give_numbers_without_warnings(num_samples):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for waveform in (music()[:num_samples], np.zeros(num_samples, np.float32)):
            assert np.isfinite(classical_features(waveform, RATE)).all()


# The extractor


@pytest.mark.parametrize(("seconds", "steps"), [(0.1, 1), (0.4, 1), (0.59, 1), (0.6, 2), (0.8, 2), (1.2, 3), (1.3, 3)])
def test_steps(seconds, steps):
    extractor = ClassicalFeatureExtractor(step_s=0.4)
    waveform = music(seconds)
    features = extractor.extract(waveform)
    assert features.shape == (steps, 174) and extractor.count_steps(len(waveform)) == steps
    for number, values in enumerate(features):
        stretch = waveform[number * 8820 : (number + 1) * 8820]
        np.testing.assert_array_equal(values, classical_features(stretch, RATE))


def test_standardized_then_padded_or_cut_to_the_number_of_steps():
    mean, std = np.linspace(-300, 50, 174), np.linspace(0.5, 30, 174)
    std[45] = 0.0  # the tempo was constant in training, so it is only centered
    settings = {"step_s": 0.4, "mean": mean.tolist(), "std": std.tolist()}
    raw = ClassicalFeatureExtractor(step_s=0.4).extract(music(1.2))
    exact = (raw - mean) / np.where(std == 0, 1, std)
    for num_steps in (2, 3, 5):
        extractor = ClassicalFeatureExtractor(num_steps=num_steps, **settings)
        values = extractor(music(1.2), sampling_rate=RATE, return_tensors="pt")["input_values"]
        assert values.shape == (1, num_steps, 174) and values.dtype == torch.float32
        np.testing.assert_allclose(values[0, :3], exact[:num_steps], rtol=1e-4, atol=1e-4)
        assert (values[0, 3:] == 0).all()
    batch = ClassicalFeatureExtractor(**settings)([music(1.2), music(0.4)], sampling_rate=RATE)["input_values"]
    assert batch.shape == (2, 3, 174) and (batch[1, 1:] == 0).all() and (batch[1, 0] != 0).any()


def test_spectral_entropies_tell_tones_from_noise():
    time_s = np.arange(RATE) / RATE
    tone, noise = np.sin(2 * np.pi * 1000 * time_s), np.random.default_rng(0).standard_normal(RATE)
    frame = round(0.1 * RATE)
    sound = np.concatenate([tone[: 5 * frame], noise[: 5 * frame]]).astype(np.float32)
    entropies = spectral_entropies(sound, frame, 10)
    assert entropies.shape == (10,) and (entropies[:5] < 0.2).all() and (entropies[5:] > 0.9).all()
    # the same by scipy, from shares of the power spectrum
    power = np.abs(np.fft.rfft(sound[-frame:] * np.hanning(frame))) ** 2
    assert entropies[9] == pytest.approx(scipy.stats.entropy(power) / np.log(len(power)), rel=1e-3)
    short = spectral_entropies(sound[: 3 * frame], frame, 10)
    np.testing.assert_allclose(short[3:], entropies[:3].mean(), rtol=1e-4)
    assert (spectral_entropies(np.zeros(RATE, np.float32), frame, 10) == 0).all()
    assert spectral_entropies(sound[:7], frame, 2).shape == (2,)


def test_all_forms_of_waveforms_are_accepted_and_others_refused():
    extractor, waveform = ClassicalFeatureExtractor(), music(0.5)
    wanted = extractor(waveform, sampling_rate=RATE)["input_values"]
    several = np.stack([waveform, waveform])
    for given in (waveform.tolist(), torch.from_numpy(waveform), [waveform], [waveform.tolist()], several[:1]):
        np.testing.assert_array_equal(extractor(given, sampling_rate=RATE)["input_values"], wanted)
    for given in (several, torch.from_numpy(several), list(several)):
        assert extractor(given, sampling_rate=RATE)["input_values"].shape == (2, 1, 174)
    with pytest.raises(
        ValueError, match=r"trained on audio sampled at 22050 Hz, but this audio is sampled at 16000 Hz"
    ):
        extractor(waveform, sampling_rate=16_000)
    for wrong in (np.zeros(0, np.float32), several[None]):
        with pytest.raises(ValueError, match="Expected mono waveforms of at least one sample, found arrays of shape"):
            extractor(wrong, sampling_rate=RATE)


def test_it_is_published_with_its_code(tmp_path, hub, forks_without_hf_audio):
    """Loaded in a process without hf_audio, alone and by the stock pipeline with a model of 16 steps."""
    mean, std = classical_features(music(), RATE), np.full(174, 2.5)
    extractor = ClassicalFeatureExtractor(step_s=0.1, num_steps=16, mean=mean, std=std)
    extractor.save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "classical.py",
        "compiled_librosa.py",
        "given_sound.py",
        "preprocessor_config.json",
    ]
    assert json.loads((tmp_path / "preprocessor_config.json").read_text())["auto_map"] == {
        "AutoFeatureExtractor": "classical.ClassicalFeatureExtractor"
    }
    config = ASTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    config.max_length, config.num_mel_bins, config.id2label = 16, 174, {0: "major", 1: "minor"}
    model = ASTForAudioClassification(config).eval()
    model.save_pretrained(tmp_path)
    np.save(tmp_path / "waveform.npy", music(1.7))
    process = forks_without_hf_audio.run(USE_WITHOUT_HF_AUDIO, tmp_path, tmp_path / "waveform.npy", cwd=tmp_path)
    assert process.returncode == 0, process.errors
    assert not hub.log.requests
    found = json.loads(process.output.splitlines()[-1])
    values = extractor(music(1.7), sampling_rate=RATE, return_tensors="pt")["input_values"]
    np.testing.assert_allclose(found["values"], values, rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        probabilities = model(values).logits.softmax(dim=-1)[0]
    assert found["scores"] == pytest.approx(
        dict(zip(["major", "minor"], probabilities.tolist(), strict=True)), abs=1e-5
    )


def test_processes_import_librosa_one_at_a_time(tmp_path):
    """Two simultaneous first imports write inconsistent files of numba, and using those crashes."""
    (tmp_path / "librosa").mkdir()
    (tmp_path / "librosa" / "__init__.py").write_text("print('imported')")  # fast: librosa takes 3 s
    (tmp_path / "librosa" / "beat.py").touch()
    code = (
        "import filelock, hf_audio.extractors; print('here', flush=True); import hf_audio.extractors.compiled_librosa"
    )
    path = os.pathsep.join((str(tmp_path), str(Path(__file__).parents[1])))
    env = os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": path}
    own = tmp_path / f"librosa-{os.getuid()}.d"
    own.mkdir(mode=0o700)
    with FileLock(own / "import.lock"):
        process = subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "here\n"
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=1.5)
    assert process.communicate(timeout=120)[0].strip() == "imported"
