"""The batched filterbank against transformers' ASTFeatureExtractor, which computes clip by clip."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from transformers import ASTFeatureExtractor

from hf_audio.data.audio import read_audio
from hf_audio.features import fbank as fbank_module
from hf_audio.features.fbank import KaldiFbank

TOLERANCE = 1e-4


def stock_features(waveform: np.ndarray, sample_rate: int = 16_000, num_mel_bins: int = 128) -> np.ndarray:
    """`[frames, bins]` of the stock extractor, un-normalised, neither padded nor cut."""
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
    # next to a loud tone the quiet bins are rounding: equal only if every step rounds as Kaldi's does
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
    monkeypatch.setitem(fbank_module.FRAMES_AT_A_TIME, "cpu", 50)  # so that clips are cut across pieces and gathered
    random = torch.Generator().manual_seed(0)
    waveforms = [torch.randn(length, generator=random) for length in (400, 559, 560, 16_000, 400, 50_000)]
    together = KaldiFbank()(waveforms)
    assert [len(features) for features in together] == [1, 1, 2, 98, 1, 311]
    for waveform, features in zip(waveforms, together, strict=True):
        np.testing.assert_allclose(features, stock_features(waveform.numpy()), atol=TOLERANCE, rtol=0)


def test_a_tensor_is_a_batch_too():
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


def test_too_short_for_a_frame():
    assert KaldiFbank().num_frames(399) == 0
    assert KaldiFbank().num_frames(400) == 1
    with pytest.raises(ValueError, match="399 samples has no frame; at least 400"):
        KaldiFbank()([torch.zeros(399)])


def test_window_lengths():
    assert [KaldiFbank().window_frames(seconds) for seconds in (0.025, 1, 3, 5, 10.24)] == [1, 98, 298, 498, 1022]


def test_goes_to_worker_processes():
    fbank = KaldiFbank(num_mel_bins=64)
    fbank([torch.randn(8000)])  # fills its tables, which stay behind
    there = pickle.loads(pickle.dumps(fbank))
    assert there == fbank and there.parameters == fbank.parameters
    waveform = torch.randn(8000)
    assert torch.equal(there([waveform])[0], fbank([waveform])[0])
    assert len(pickle.dumps(fbank)) < 500


def test_the_stock_extractor_made_of_it_computes_the_same():
    waveform = made_up_waveforms()["noise 0.3"]
    fbank = KaldiFbank(num_mel_bins=64)
    stock = fbank.to_feature_extractor(max_length=148, mean=-3.0, std=2.0)
    values = stock(waveform, sampling_rate=16_000)["input_values"][0]
    np.testing.assert_allclose(values, (fbank([torch.from_numpy(waveform)])[0] + 3.0) / 4.0, atol=TOLERANCE)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_on_a_gpu():
    waveforms = [torch.from_numpy(waveform) for waveform in made_up_waveforms().values()]
    there = KaldiFbank()([waveform.cuda() for waveform in waveforms])
    for name, here, remote in zip(made_up_waveforms(), KaldiFbank()(waveforms), there, strict=True):
        # another FFT rounds otherwise, which shows in bins 80 dB below the loudest
        loud = here > here.max(dim=1, keepdim=True).values - 18
        assert (here - remote.cpu())[loud].abs().max() < TOLERANCE, name
