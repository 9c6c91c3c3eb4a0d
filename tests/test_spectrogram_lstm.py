from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForAudioClassification

from hf_audio.models.spectrogram_lstm import SpectrogramLSTM, SpectrogramLSTMConfig

SMALL = {"hidden_size": 8, "num_labels": 3, "dropout": 0.0}


def lstm(seed: int = 0, **settings) -> SpectrogramLSTM:
    torch.manual_seed(seed)
    return SpectrogramLSTM(SpectrogramLSTMConfig(**{**SMALL, **settings})).eval()


def test_frames_are_read_in_order():
    model, windows = lstm(num_mel_bins=16), torch.randn(2, 40, 16)
    embedding = model.embed(windows)
    torch.testing.assert_close(embedding, model.lstm(windows)[:, -1])
    assert not torch.allclose(embedding, model.embed(windows.flip(1)))
    assert not torch.allclose(embedding, model.embed(windows[:, :39]))


def test_bins_are_read_from_low_to_high_in_windows_of_one_length():
    model, windows = lstm(sequence="bins", num_frames=40), torch.randn(2, 40, 16)
    embedding = model.embed(windows)
    torch.testing.assert_close(embedding, model.lstm(windows.transpose(1, 2))[:, -1])
    longer = torch.cat([windows, torch.randn(2, 5, 16)], dim=1)
    torch.testing.assert_close(model.embed(longer), embedding)
    padded = torch.cat([windows[:, :30], torch.zeros(2, 10, 16)], dim=1)
    torch.testing.assert_close(model.embed(windows[:, :30]), model.embed(padded))
    assert model.embed(torch.randn(2, 40, 64)).shape == (2, 8), "any number of bins is accepted"


@pytest.mark.parametrize("settings", [{"num_mel_bins": 16}, {"sequence": "bins", "num_frames": 40}])
def test_stereo_is_averaged_to_mono(settings):
    model, stereo = lstm(**settings), torch.randn(3, 2, 40, 16)
    torch.testing.assert_close(model.embed(stereo), model.embed(stereo.mean(dim=1)))


def test_attention_uses_all_steps_and_both_directions():
    model = lstm(num_mel_bins=16, bidirectional=True, attention="additive")
    windows = torch.randn(2, 40, 16, requires_grad=True)
    embedding = model.embed(windows)
    torch.testing.assert_close(embedding, model.attention(model.lstm(windows)))
    assert embedding.shape == (2, 16)
    embedding.sum().backward()
    assert (windows.grad.abs().sum(dim=2) > 0).all()


@pytest.mark.parametrize(
    ("settings", "window", "sentence"),
    [
        ({"sequence": "rows"}, None, "sequence must be one of frames, bins .* found 'rows' and 'none'"),
        ({"attention": "dot"}, None, "attention one of none, additive, found 'frames' and 'dot'"),
        ({"sequence": "bins"}, None, "needs num_frames"),
        ({"num_mel_bins": 16}, (2, 40, 17), r"Expected windows \[batch, frames, 16\] .* found \[2, 40, 17\]"),
        (
            {"sequence": "bins", "num_frames": 4},
            (40, 16),
            r"Expected windows \[batch, frames, bins\].* found \[40, 16\]",
        ),
    ],
)
def test_windows_that_do_not_fit_are_one_sentence(settings, window, sentence):
    with pytest.raises(ValueError, match=sentence):
        lstm(**settings).embed(torch.zeros(window))


def test_weights_missing_in_a_checkpoint_are_initialized(tmp_path):
    """With another number of bins the first layer gets initial weights, not uninitialized memory."""
    lstm(num_mel_bins=16).save_pretrained(tmp_path)
    loading = {"num_mel_bins": 24, "ignore_mismatched_sizes": True}
    found = dict(AutoModelForAudioClassification.from_pretrained(tmp_path, **loading).lstm.named_parameters())
    bound = SMALL["hidden_size"] ** -0.5
    new = found["weight_ih_l0"]
    assert new.shape == (32, 24) and new.abs().max() <= bound and new.std() > bound / 3
    assert torch.equal(found["weight_hh_l0"], lstm(num_mel_bins=16).lstm.weight_hh_l0)
