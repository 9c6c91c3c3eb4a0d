"""The batched filterbank compared with transformers' ASTFeatureExtractor, which computes clip by clip."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from torchaudio.compliance.kaldi import get_mel_banks
from transformers import ASTFeatureExtractor, AutoFeatureExtractor
from transformers.models.audio_spectrogram_transformer import feature_extraction_audio_spectrogram_transformer

from hf_audio.data.foreign.extractor import own_extractors
from hf_audio.data.recordings.audio import read_audio
from hf_audio.extractors import fbank as fbank_module
from hf_audio.extractors.fbank import FbankFeatureExtractor
from hf_audio.kinds import kind_of_extractor
from hf_audio.kinds._kaldi_fbank import KaldiFbank
from hf_audio.models.saving import save_extractor
from hf_audio.models.spectrogram_cnn import SpectrogramCNNConfig

TOLERANCE = 1e-4


def stock_features(waveform: np.ndarray, sample_rate: int = 16_000, num_mel_bins: int = 128) -> np.ndarray:
    """`[frames, bins]` of the stock extractor, without normalization, padding or cutting."""
    frames = KaldiFbank(sample_rate, num_mel_bins).num_frames(len(waveform))
    extractor = ASTFeatureExtractor(
        sampling_rate=sample_rate, num_mel_bins=num_mel_bins, max_length=frames, do_normalize=False
    )
    return extractor(waveform, sampling_rate=sample_rate)["input_values"][0]


def made_up_waveforms() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    time_s = np.arange(24_000) / 16_000
    tone = np.sin(2 * np.pi * 440 * time_s)
    click = np.zeros(24_000)
    click[10_000] = 1.0
    waveforms = {f"noise {level:g}": level * random.standard_normal(24_000) for level in (1e-4, 0.01, 0.3, 3.0)}
    # quiet bins next to a loud tone are rounding errors, so they are equal only if every step rounds like Kaldi's
    waveforms |= {"tone": 0.9 * tone, "tone on a large offset": tone + 5, "click": click, "silence": np.zeros(24_000)}
    return {name: waveform.astype(np.float32) for name, waveform in waveforms.items()}


@pytest.mark.parametrize("name", made_up_waveforms())
def test_equals_the_stock_extractor(name):
    waveform = made_up_waveforms()[name]
    (ours,) = KaldiFbank()([torch.from_numpy(waveform)])
    np.testing.assert_allclose(ours.numpy(), stock_features(waveform), atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize(("corpus", "pattern"), [("esc10", "*.ogg"), ("philharmonia_mini", "*.mp3"), ("fsdd", "*.wav")])
def test_equals_the_stock_extractor_on_recordings(shared_data, corpus, pattern):
    paths = sorted((shared_data / corpus).rglob(pattern))
    waveforms = [read_audio(path, 16_000) for path in paths[:: len(paths) // 20]]
    for waveform, ours in zip(
        waveforms, KaldiFbank()([torch.from_numpy(waveform) for waveform in waveforms]), strict=True
    ):
        np.testing.assert_allclose(ours.numpy(), stock_features(waveform), atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize(("sample_rate", "num_mel_bins"), [(16_000, 64), (8_000, 40), (22_050, 80), (44_100, 128)])
def test_equals_the_stock_extractor_at_other_rates_and_bins(sample_rate, num_mel_bins):
    waveform = made_up_waveforms()["noise 0.3"]
    (ours,) = KaldiFbank(sample_rate, num_mel_bins)([torch.from_numpy(waveform)])
    np.testing.assert_allclose(
        ours.numpy(), stock_features(waveform, sample_rate, num_mel_bins), atol=TOLERANCE, rtol=0
    )


def test_clips_of_any_lengths_share_a_batch(monkeypatch):
    monkeypatch.setitem(fbank_module.FRAMES_AT_A_TIME, "cpu", 50)  # pieces smaller than clips, which are joined again
    random = torch.Generator().manual_seed(0)
    waveforms = [torch.randn(length, generator=random) for length in (400, 559, 560, 16_000, 400, 50_000)]
    together = KaldiFbank()(waveforms)
    assert [len(features) for features in together] == [1, 1, 2, 98, 1, 311]
    for waveform, features in zip(waveforms, together, strict=True):
        np.testing.assert_allclose(features, stock_features(waveform.numpy()), atol=TOLERANCE, rtol=0)


def test_a_tensor_can_be_a_batch():
    waveforms = torch.randn(3, 8000, generator=torch.Generator().manual_seed(0))
    features = KaldiFbank()(waveforms)
    assert features.shape == (3, 48, 128)
    assert torch.equal(features[1], KaldiFbank()([waveforms[1]])[0])
    assert KaldiFbank()(waveforms[:0]).shape == (0, 0, 128)
    assert KaldiFbank()([]) == []


def test_a_slice_of_frames_equals_the_features_of_the_cut_waveform():
    waveform = torch.randn(48_000, generator=torch.Generator().manual_seed(0))
    whole, cut = KaldiFbank()([waveform, waveform[100 * 160 : 100 * 160 + 16_000]])
    assert torch.equal(whole[100:198], cut)


def test_waveforms_too_short_for_a_frame_are_refused():
    assert KaldiFbank().num_frames(399) == 0
    assert KaldiFbank().num_frames(400) == 1
    with pytest.raises(ValueError, match="399 samples is shorter than a frame; at least 400"):
        KaldiFbank()([torch.zeros(399)])


def test_frames_of_window_lengths():
    assert [KaldiFbank().window_frames(seconds) for seconds in (0.025, 1, 3, 5, 10.24)] == [1, 98, 298, 498, 1022]


def test_it_can_be_pickled_for_worker_processes():
    fbank = KaldiFbank(num_mel_bins=64)
    fbank([torch.randn(8000)])  # creates its tables, which are not pickled
    there = pickle.loads(pickle.dumps(fbank))
    assert there == fbank and there.parameters == fbank.parameters
    waveform = torch.randn(8000)
    assert torch.equal(there([waveform])[0], fbank([waveform])[0])
    assert len(pickle.dumps(fbank)) < 500


def test_its_stock_extractor_computes_the_same():
    waveform = made_up_waveforms()["noise 0.3"]
    fbank = KaldiFbank(num_mel_bins=64)
    stock = fbank.to_feature_extractor(max_length=148, mean=-3.0, std=2.0)
    values = stock(waveform, sampling_rate=16_000)["input_values"][0]
    np.testing.assert_allclose(values, (fbank([torch.from_numpy(waveform)])[0] + 3.0) / 4.0, atol=TOLERANCE)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_a_gpu_computes_the_same():
    waveforms = [torch.from_numpy(waveform) for waveform in made_up_waveforms().values()]
    there = KaldiFbank()([waveform.cuda() for waveform in waveforms])
    for name, here, remote in zip(made_up_waveforms(), KaldiFbank()(waveforms), there, strict=True):
        # another FFT rounds differently, which matters only in bins 80 dB below the loudest
        loud = here > here.max(dim=1, keepdim=True).values - 18
        assert (here - remote.cpu())[loud].abs().max() < TOLERANCE, name


@pytest.mark.parametrize(("sample_rate", "num_mel_bins"), [(16_000, 128), (8000, 40), (22_050, 80), (44_100, 128)])
def test_filters_equal_torchaudios_bit_by_bit(sample_rate, num_mel_bins):
    size = 1 << (int(0.025 * sample_rate) - 1).bit_length()
    theirs, _ = get_mel_banks(num_mel_bins, size, float(sample_rate), 20.0, 0.0, 100.0, -500.0, 1.0)
    assert torch.equal(fbank_module.kaldi_mel_filters(sample_rate, size, num_mel_bins), theirs)


@pytest.mark.parametrize("has_torchaudio", [True, False])
@pytest.mark.parametrize("sample_rate", [8000, 16_000, 22_050, 44_100])
def test_the_published_extractor_computes_the_training_features(tmp_path, monkeypatch, sample_rate, has_torchaudio):
    monkeypatch.setattr(feature_extraction_audio_spectrogram_transformer, "is_speech_available", lambda: has_torchaudio)
    fbank = KaldiFbank(sample_rate, 80)
    waveform = made_up_waveforms()["noise 0.3"]
    trained_on = fbank([torch.from_numpy(waveform)])[0].numpy()
    save_extractor(fbank.to_feature_extractor(len(trained_on) + 20, -4.0, 3.0), tmp_path)
    assert sorted(path.name for path in tmp_path.glob("*.py")) == (
        [] if sample_rate == 16_000 else ["fbank.py", "filter_blocks.py"]
    )
    published = AutoFeatureExtractor.from_pretrained(tmp_path, trust_remote_code=sample_rate != 16_000)
    values = published(waveform, sampling_rate=sample_rate, return_tensors="np")["input_values"][0]
    np.testing.assert_allclose(values[: len(trained_on)], (trained_on + 4) / 6, atol=TOLERANCE, rtol=0)
    np.testing.assert_allclose(values[len(trained_on) :], 4 / 6, atol=TOLERANCE)
    with pytest.raises(ValueError, match="sampling"):
        published(waveform, sampling_rate=sample_rate + 1)


def test_with_hf_audio_the_published_extractor_is_found_by_name(tmp_path):
    SpectrogramCNNConfig().save_pretrained(tmp_path)  # a config for other features
    save_extractor(KaldiFbank(22_050, 40).to_feature_extractor(30, -4.0, 3.0), tmp_path)
    found = AutoFeatureExtractor.from_pretrained(tmp_path)
    assert type(found) is FbankFeatureExtractor and (found.sampling_rate, found.max_length) == (22_050, 30)


def test_the_published_extractor_cuts_pads_and_takes_several_waveforms():
    extractor = KaldiFbank(22_050, 40).to_feature_extractor(30, 0.0, 0.5)
    long, short = np.ones(22_050, np.float32), np.ones(3000, np.float64)
    values = extractor([long, short], sampling_rate=22_050, return_tensors="pt")["input_values"]
    assert values.shape == (2, 30, 40) and values.dtype == torch.float32
    assert (values[1, KaldiFbank(22_050).num_frames(3000) :] == 0).all() and (values[0] != 0).all()
    with pytest.raises(ValueError, match="550 samples is shorter than a frame; at least 551"):
        extractor(long[:550], sampling_rate=22_050)
    assert (
        kind_of_extractor(extractor).name == "fbank"
        and extractor.to_dict()["feature_extractor_type"] in own_extractors()
    )
