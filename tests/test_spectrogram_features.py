"""Features of kind "spectrogram": stored, collated and published, they equal the extractor's output."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path

import datasets
import numpy as np
import pytest
import soundfile
import torch
from chord_sounds import RATE, music, stereo_music
from transformers import ASTConfig, ASTForAudioClassification, AutoFeatureExtractor, Wav2Vec2FeatureExtractor

from hf_audio.baselines import window_statistics
from hf_audio.config import FeatureConfig
from hf_audio.data.building.build import build_features
from hf_audio.data.index.labels import LabelSpace
from hf_audio.data.index.table import Clip, CorpusCard, index_of
from hf_audio.data.loading.feature_collator import FeatureCollator
from hf_audio.data.loading.features_dataset import check_same_extractor, load_features
from hf_audio.data.recordings.audio import AudioError, read_audio
from hf_audio.errors import InputError
from hf_audio.extractors.spectrogram import CHANNELS
from hf_audio.kinds._kaldi_fbank import KaldiFbank
from hf_audio.kinds._spectrogram_settings import Spectrogram
from hf_audio.kinds.waveform import Waveform, decode_waveform, encode_waveform
from hf_audio.preparation import window_extractor
from hf_audio.publishing.dataset_card import write_dataset_card

pytestmark = pytest.mark.timeout(60)
CARD = CorpusCard("Tones", license="CC0 1.0", may_redistribute=True)
LABELS = LabelSpace(("high", "low"), "single_label_classification")
ALL = {"sample_rate": RATE, "num_mel_bins": 32, "n_fft": 1024, "hop_samples": 256, "channels": CHANNELS}
USE_WITHOUT_HF_AUDIO = """
import json, sys
sys.modules["hf_audio"] = None  # users of a published model do not have it
import numpy as np
from transformers import AutoFeatureExtractor, pipeline
sound = np.load(sys.argv[2])
extractor = AutoFeatureExtractor.from_pretrained(sys.argv[1], trust_remote_code=True)
values = extractor(sound, sampling_rate=22_050, return_tensors="pt")["input_values"]
classifier = pipeline("audio-classification", model=sys.argv[1], trust_remote_code=True)
scores = classifier({"raw": sound[0], "sampling_rate": 22_050})
np.save(sys.argv[3], values.numpy())
print(json.dumps(scores))
"""


def _write(path: Path, sound: np.ndarray, rate: int = RATE, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, sound.T, rate, **options)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> list[Clip]:
    """Stereo files of 1.5 s, a mono one, one whose left and right channels cancel, and one of 0.6 s."""
    root = tmp_path_factory.mktemp("recordings")
    clips = []
    for number, split in enumerate(["train"] * 4 + ["validation", "test", "test"]):
        for name, pitch_hz in (("high", 2500.0), ("low", 250.0)):
            random = np.random.default_rng(number)
            tone = 0.3 * np.sin(2 * np.pi * pitch_hz * np.arange(round(1.5 * RATE)) / RATE)
            sound = np.stack([tone, 0.2 * tone]) + 0.01 * random.standard_normal((2, len(tone)))
            sound = {1: sound[0], 2: np.stack([sound[0], -sound[0]])}.get(number, sound)
            sound = sound[..., : round(0.6 * RATE)] if number == 6 else sound
            path = root / name / f"{number}.wav"
            _write(path, sound, subtype="FLOAT")
            clips.append(Clip(path, (name,), f"{name}{number}", f"{name}/{number}", split=split))
    return clips


def build(clips: list[Clip], folder: Path, extractor, **options) -> Path:
    options = {"window_s": 1.0, "hop_s": 0.5, "card": CARD, "num_workers": 1, **options}
    return build_features(index_of(clips), LABELS, folder, extractor, **options)


@pytest.fixture(scope="module")
def folder(corpus, tmp_path_factory) -> Path:
    return build(corpus, tmp_path_factory.mktemp("features") / "all", Spectrogram(**ALL))


def of_sound(features, rows) -> torch.Tensor:
    """The extractor's inputs for the sound of the windows."""
    sounds = []
    for row in rows:
        whole = read_audio(Path(row["path"]), RATE, stereo=True)
        start = round(row["start_s"] * RATE)
        sounds.append(whole[:, start : start + RATE])
    return features.extractor(sounds, sampling_rate=RATE, return_tensors="pt")["input_values"]


@pytest.mark.parametrize("normalization", ["dataset", "clip", "none"])
def test_batches_equal_the_extractors_inputs_for_the_same_windows(corpus, folder, tmp_path, normalization):
    if normalization != "dataset":
        folder = build(corpus, tmp_path / "f", Spectrogram(**ALL, normalization=normalization))
    features = load_features(folder, streaming=True)
    assert (features.kind.name, features.window_frames, features.num_windows("train")) == ("spectrogram", 87, 16)
    paths = {clip.clip_id: str(clip.path) for clip in corpus}
    rows = [{**row, "path": paths[row["clip_id"]]} for split in ("train", "test") for row in features.splits[split]]
    batch = FeatureCollator(features.extractor, features.labels)(rows)["input_values"]
    exact = of_sound(features, rows)
    assert batch.shape == exact.shape == (22, 7, 87, 32) and batch.dtype == torch.float32
    steps = torch.tensor([row["scales"] for row in rows])  # 8-bit steps in dB
    if normalization == "dataset":
        steps /= torch.tensor(features.extractor.std)
    elif normalization == "clip":
        deviations = torch.stack([torch.from_numpy(features.kind.decode(row)).std(dim=(0, 2)) for row in rows])
        steps /= deviations.clamp(min=1e-3)  # channels that cancel are silent in mono
    short = [number for number, row in enumerate(rows) if row["num_frames"] < 87]
    assert len(short) == 2 and rows[short[0]]["num_frames"] == 1 + round(0.6 * RATE) // 256
    tolerance = 0.55 * steps[:, :, None, None] + (0.02 if normalization == "clip" else 1e-3)
    assert ((batch - exact).abs() <= tolerance).all()
    is_padding = torch.arange(87) >= torch.tensor([row["num_frames"] for row in rows])[:, None]
    assert (batch.permute(0, 2, 1, 3)[is_padding] == features.extractor.padding_value).all()


def test_statistics_are_per_channel_over_the_training_windows(folder):
    features = load_features(folder)
    values = np.concatenate([features.kind.decode(row) for row in features.splits["train"]])
    assert values.shape == (16 * 87, 7, 32)
    np.testing.assert_allclose(features.extractor.mean, values.mean(axis=(0, 2)), atol=0.05)
    np.testing.assert_allclose(features.extractor.std, values.std(axis=(0, 2)), rtol=0.01)
    batch = FeatureCollator(features.extractor, features.labels)(list(features.splits["train"]))["input_values"]
    assert batch.mean(dim=(0, 2, 3)).abs().max() < 0.01
    assert window_statistics(features, "test")[0].shape == (6, 2 * 7 * 32)


def test_stereo_keeps_recordings_that_cancel_as_mono(corpus, folder, tmp_path):
    assert len((folder / "excluded.csv").read_text().splitlines()) == 1
    mono = build(corpus, tmp_path / "mono", Spectrogram(sample_rate=RATE))
    excluded = (mono / "excluded.csv").read_text()
    assert "high/2,silent as mono: its channels cancel each other" in excluded and excluded.count("\n") == 3
    features = load_features(mono)
    batch = FeatureCollator(features.extractor, features.labels)([features.splits["train"][0]])
    assert batch["input_values"].shape == (1, 44, 128)


def test_reading_files_in_stereo(tmp_path):
    sound = stereo_music(0.5)
    _write(tmp_path / "six.wav", np.concatenate([sound, np.zeros((4, sound.shape[1]))]), subtype="FLOAT")
    np.testing.assert_array_equal(read_audio(tmp_path / "six.wav", RATE, stereo=True), sound)
    _write(tmp_path / "mono.wav", sound[0])
    left, right = read_audio(tmp_path / "mono.wav", 16_000, 0.1, 0.3, stereo=True)
    np.testing.assert_array_equal(left, right)
    np.testing.assert_array_equal(left, read_audio(tmp_path / "mono.wav", 16_000, 0.1, 0.3))
    _write(tmp_path / "silent.wav", np.zeros((2, 5000)))
    with pytest.raises(AudioError, match="silent"):
        read_audio(tmp_path / "silent.wav", RATE, stereo=True)
    _write(tmp_path / "right.wav", np.stack([0 * sound[0], sound[1]]))
    assert np.abs(read_audio(tmp_path / "right.wav", 44_100, stereo=True)[0]).max() == 0


def test_the_card_shows_the_channels_and_its_code_reads_them(folder, monkeypatch):
    write_dataset_card(folder)
    card, names = (folder / "README.md").read_text(), {}
    assert "- channels: mel, left, right, harmonic" in card
    assert "{%" not in card and "7 spectrograms stacked vertically: mel, left, right, harmonic" in card
    assert "One window of each of 2 classes, from top to bottom: mel, left" in card
    monkeypatch.chdir(folder.parent)
    code = re.search(r"```python\n(.*?)```", card, re.DOTALL)[1]
    exec(code.replace('split="train"', 'split="train", streaming=True'), names)
    streamed = names["spectrograms"]
    exec(code, names)
    np.testing.assert_array_equal(names["spectrograms"], streamed)
    features = load_features(folder)
    row = features.splits["train"][0]
    np.testing.assert_allclose(names["spectrograms"], features.kind.decode(row).swapaxes(0, 1), atol=1e-4)
    assert names["labels"] == [LABELS.names[row["labels"][0]]]
    image = datasets.load_dataset(str(folder), split="test")[0]["features"]
    assert image.size == (87, 7 * 32) and image.mode == "L"


def test_it_can_be_pickled_and_builds_the_same_features(corpus, folder, tmp_path):
    extractor = pickle.loads(pickle.dumps(Spectrogram(**ALL)))
    assert extractor == Spectrogram(**ALL) and extractor.is_stereo and not Spectrogram().is_stereo
    again = build(corpus, tmp_path / "again", extractor)
    for path in folder.glob("data/*.parquet"):
        assert path.read_bytes() == (again / "data" / path.name).read_bytes()


def test_published_with_a_model_it_needs_no_hf_audio(folder, tmp_path, hub, forks_without_hf_audio):
    """Loaded in a process without hf_audio, alone and, with one channel, by the stock pipeline."""
    extractor = load_features(folder).extractor
    one = Spectrogram(n_fft=1024, num_mel_bins=32).to_feature_extractor(44, -40.0, 15.0)
    config = ASTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, num_mel_bins=32, max_length=44
    )
    sound = stereo_music(1.2)
    np.save(tmp_path / "sound.npy", sound)
    for name, published in (("several", extractor), ("one", one)):
        target = tmp_path / name
        ASTForAudioClassification(config).save_pretrained(target)
        published.save_pretrained(target)
        assert (target / "spectrogram.py").exists() and (target / "decomposition.py").exists()
    code = USE_WITHOUT_HF_AUDIO.replace("model=sys.argv[1]", "model=sys.argv[1].replace('several', 'one')")
    process = forks_without_hf_audio.run(code, "several", "sound.npy", "values.npy", cwd=tmp_path)
    assert process.returncode == 0, process.errors[-2000:]
    assert not hub.log.requests
    exact = extractor(sound, RATE)["input_values"]
    np.testing.assert_allclose(np.load(tmp_path / "values.npy"), exact, atol=1e-4)
    assert exact.shape == (1, 7, 87, 32) and len(json.loads(process.output.splitlines()[-1])) == 2
    loaded = AutoFeatureExtractor.from_pretrained(tmp_path / "several", trust_remote_code=True)
    check_same_extractor(extractor, loaded)


# Settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"channels": ("mel", "harmonics")}, r"Unknown channel 'harmonics': did you mean 'harmonic'\?"),
        ({"channels": ("mel", "mel")}, r"must name each channel once, found mel mel: give any of mel, left"),
        ({"channels": ()}, r"must name each channel once, found none"),
        ({"normalization": "clips"}, r"Unknown normalization 'clips': did you mean 'clip'\?"),
        ({"hop_samples": 4096}, r"--hop_samples must be from 1 to --n_fft \(2048\), .* found 4096: try 512"),
        ({"n_fft": 1023}, r"--n_fft must be an even number of samples, found 1023"),
        ({"sample_rate": 0}, r"must be positive, found 0 and 128"),
        (
            {"n_fft": 256, "hop_samples": 128},
            r"128 mel bins are too many for --n_fft 256 at 22050 Hz: \d+ .* --num_mel_bins (\d+) .* (\d+)$",
        ),
    ],
)
def test_wrong_settings_are_one_sentence(settings, message):
    with pytest.raises(InputError, match=message) as caught:
        Spectrogram(**settings)
    assert "\n" not in str(caught.value) and ". " not in str(caught.value)
    if "n_fft" in settings and settings["n_fft"] == 256:  # its advice works
        bins, n_fft = map(int, re.search(message, str(caught.value)).groups())
        Spectrogram(n_fft=256, hop_samples=128, num_mel_bins=bins), Spectrogram(n_fft=n_fft)
        with pytest.raises(InputError, match="too many"):
            Spectrogram(n_fft=256, hop_samples=128, num_mel_bins=bins + 1)


def test_settings_of_the_command_line():
    made = window_extractor(FeatureConfig(features="spectrogram", channels=["left", "right"], sample_rate=44_100))
    assert made == Spectrogram(44_100, channels=("left", "right")) and made.parameters["channels"] == ["left", "right"]
    assert window_extractor(FeatureConfig(normalization="none")) == KaldiFbank(normalization="none")
    assert window_extractor(FeatureConfig(features="waveform", sample_rate=96_000)) == Waveform(96_000)
    with pytest.raises(
        InputError, match=r"stored as FLAC, which supports 1 to 655350 Hz, found --sample_rate 700000: try"
    ):
        Waveform(700_000)
    with pytest.raises(InputError, match=r"--channels is for spectrogram features, but these are fbank"):
        window_extractor(FeatureConfig(channels=["mel"]))
    with pytest.raises(
        InputError, match=r"--normalization is for fbank or spectrogram features, but these are waveform"
    ):
        window_extractor(FeatureConfig(features="waveform", normalization="clip"))
    with pytest.raises(InputError, match=r"normalized per clip.*give --features spectrogram"):
        window_extractor(FeatureConfig(normalization="clip"))


def test_extractors_are_compared_by_all_settings_that_affect_values(folder):
    stored = load_features(folder).extractor
    check_same_extractor(stored, Spectrogram(**ALL).to_feature_extractor(5, 0.0, 1.0))
    for name, value in {"n_fft": 2048, "hop_samples": 128, "num_mel_bins": 16, "normalization": "clip"}.items():
        with pytest.raises(InputError, match=rf"\({name} is \w+, expected {value}\)"):
            check_same_extractor(stored, Spectrogram(**{**ALL, name: value}).to_feature_extractor(5, 0.0, 1.0))
    with pytest.raises(InputError, match=r"channels is \['mel', .*\], expected \['mel'\]"):
        check_same_extractor(stored, Spectrogram(**{**ALL, "channels": ("mel",)}).to_feature_extractor(5, 0.0, 1.0))
    with pytest.raises(InputError, match=r"are spectrogram \(spectrograms\), but the model reads log-mel spectrograms"):
        check_same_extractor(stored, KaldiFbank().to_feature_extractor(98, 0.0, 1.0))


# The other kinds


@pytest.mark.parametrize("settings", [{"sample_rate": 0}, {"sample_rate": 999}, {"num_mel_bins": 3}])
def test_fbank_has_a_minimum_sample_rate_and_number_of_bins(settings):
    with pytest.raises(InputError, match="--sample_rate of 1000 or more and --num_mel_bins 4 or more, found"):
        KaldiFbank(**settings)
    lowest = KaldiFbank(sample_rate=1000, num_mel_bins=4)
    assert lowest([torch.rand(1000)])[0].shape == (98, 4)


def test_fbank_that_is_not_normalized(corpus, tmp_path):
    extractor = pickle.loads(pickle.dumps(KaldiFbank(normalization="none")))
    assert extractor.parameters["normalization"] == "none" != KaldiFbank().parameters["normalization"]
    features = load_features(build([clip for clip in corpus if "/2" not in clip.clip_id], tmp_path / "f", extractor))
    assert features.extractor.do_normalize is False
    rows = list(features.splits["test"])
    batch = FeatureCollator(features.extractor, features.labels)(rows)["input_values"]
    for values, row in zip(batch, rows, strict=True):
        num_frames = row["num_frames"]
        np.testing.assert_array_equal(values[:num_frames], features.kind.decode(row))
        assert (values[num_frames:] == 0).all()
    assert batch.min() < -3 and any(row["num_frames"] < 98 for row in rows)
    text = write_dataset_card(tmp_path / "f").read_text()
    assert (
        "Models read these values without normalization. `preprocessor_config.json`" in text and "2 * std" not in text
    )


@pytest.mark.parametrize("rate", [44_100, 96_000, 12_345])
def test_waveforms_are_stored_at_any_sample_rate(corpus, tmp_path, rate):
    sound = np.round(music(0.2, rate) * 32768) / 32768
    back, found = decode_waveform(encode_waveform(sound.astype(np.float32), rate), len(sound))
    np.testing.assert_array_equal(back, sound.astype(np.float32))
    assert found == rate
    if rate == 96_000:
        features = load_features(
            build([clip for clip in corpus if "/2" not in clip.clip_id], tmp_path / "f", Waveform(rate))
        )
        row = features.splits["test"][0]
        assert len(features.kind.decode(row)) == row["num_frames"] == 96_000
        with pytest.raises(InputError, match=r"sampling_rate is 96000, expected 16000"):
            check_same_extractor(features.extractor, Wav2Vec2FeatureExtractor())
