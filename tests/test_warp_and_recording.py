"""Warp and Recording: what they do to a picture whose sound is known."""

from __future__ import annotations

import pytest
import torch

from hf_audio.augment import Normalisation, Recording, Warp, augmentation_for
from hf_audio.augment.spectrogram import NATURAL_DB
from hf_audio.config import AugmentConfig
from hf_audio.errors import InputError
from hf_audio.extractors.classical import ClassicalFeatureExtractor

NORMALISATION = Normalisation(-8.0, 3.0)
FRAMES, BINS, REAL = 60, 32, 25


def picture(short: bool = False) -> torch.Tensor:
    """Two windows with one loud ridge at frame 10 and one at bin 12; a short one is padded behind its 25 frames."""
    log_mel = torch.full((2, FRAMES, BINS), -12.0)
    log_mel += torch.linspace(0, 0.5, BINS)  # no real frame has the same value in all bins
    log_mel[:, 10] += 6.0
    log_mel[:, :, 12] += 3.0
    if short:
        log_mel[:, REAL:] = 0.0
    return NORMALISATION.apply(log_mel)


def warped(features, drawn: dict, **settings):
    warp = Warp(NORMALISATION, **settings)
    zero = torch.zeros(2)
    names = ("stretch", "scale", "shift", "gain", "start")
    numbers = type(warp.draw(2, torch.Generator()))(*(torch.full((2,), drawn.get(name, 0.0)) + zero for name in names))
    return warp.apply(features, torch.eye(2), numbers)[0]


@pytest.mark.parametrize("short", [False, True])
def test_a_warp_of_nothing_changes_nothing(short):
    torch.testing.assert_close(warped(picture(short), {}, time_stretch=0.5, frequency_shift_bins=5.0), picture(short))


def test_time_shift_turns_a_full_window_round():
    found = warped(picture(), {"start": 0.5}, time_shift=True)
    torch.testing.assert_close(found, picture().roll(-FRAMES // 2, dims=1))
    assert torch.equal(warped(picture(), {"start": 0.5}, time_shift=False), picture())


def test_a_short_clip_starts_where_it_does_and_grows_and_shrinks():
    for stretch, length, ridge in ((1.0, 50, 20), (-1.0, 12, 5)):
        found = warped(picture(short=True), {"stretch": stretch, "start": 0.7}, time_stretch=1.0)
        assert (~NORMALISATION.is_padding(found)).sum(dim=1).tolist() == [length, length]
        assert int(found[0, :length].sum(dim=1).argmax()) == ridge


def test_pitch_moves_bins_and_gain_moves_values():
    found = warped(picture(), {"shift": 1.0}, frequency_shift_bins=4.0)
    assert int(found[0, 30].argmax()) == 12 + 4
    louder = NORMALISATION.undo(warped(picture(), {"gain": 1.0}, gain_db=10.0)) - NORMALISATION.undo(picture())
    torch.testing.assert_close(louder, torch.full_like(louder, 2.302585), rtol=1e-3, atol=1e-3)  # ln 10


def test_an_equaliser_bends_the_spectrum_alike_at_all_times():
    recording = Recording(NORMALISATION, equaliser_db=6.0)
    drawn = recording.draw(2, torch.Generator().manual_seed(0))
    found = NORMALISATION.undo(recording.apply(picture(short=True), torch.eye(2), drawn)[0])
    change = (found - NORMALISATION.undo(picture(short=True)))[:, :REAL]
    torch.testing.assert_close(change, change[:, :1].expand_as(change), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(change[:, 0, 0] * NATURAL_DB, 6.0 * drawn.nodes[:, 0], rtol=1e-3, atol=1e-3)
    assert torch.equal(NORMALISATION.is_padding(NORMALISATION.apply(found))[:, REAL:], torch.ones(2, FRAMES - REAL) > 0)


def test_noise_fills_what_is_quiet_at_the_level_asked_for():
    recording = Recording(NORMALISATION, noise_probability=1.0, noise_snr_db=10.0)
    drawn = recording.draw(2, torch.Generator().manual_seed(0))._replace(level=torch.zeros(2), tilt=torch.zeros(2))
    before = NORMALISATION.undo(picture())
    after = NORMALISATION.undo(recording.apply(picture(), torch.eye(2), drawn)[0])
    added = (after.exp() - before.exp()).mean(dim=(1, 2)) / before.exp().mean(dim=(1, 2))
    torch.testing.assert_close(added, torch.full((2,), 0.1), rtol=0.1, atol=0.0)
    again = recording.apply(picture(), torch.eye(2), drawn)[0]
    assert torch.equal(again, NORMALISATION.apply(after)) or torch.allclose(again, NORMALISATION.apply(after))
    never = Recording(NORMALISATION, noise_probability=0.0, equaliser_db=0.0)
    torch.testing.assert_close(never.apply(picture(), torch.eye(2), drawn)[0], picture())


def test_masks_stay_short_in_short_windows():
    from transformers import ASTFeatureExtractor

    steps = augmentation_for(AugmentConfig(time_mask_s=2.0, equaliser_db=3.0), ASTFeatureExtractor(max_length=68)).steps
    assert [type(step).__name__ for step in steps] == ["Recording", "SpecAugment"]
    assert steps[1].longest_time_mask_frames == 6


def test_other_features_have_no_augmentation():
    assert augmentation_for(AugmentConfig(), ClassicalFeatureExtractor()) is None
    with pytest.raises(InputError, match="--gain_db augments log-mel features"):
        augmentation_for(AugmentConfig(gain_db=3.0), ClassicalFeatureExtractor())
