"""Draws of augmentations depend only on a window's place in the run. They need one copy to the device."""

from __future__ import annotations

import runpy
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from augmenting import all_frames, places
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import ASTFeatureExtractor

from hf_audio.augment import (
    BatchMix,
    Compose,
    CutMix,
    Cutout,
    FilterAugment,
    FrequencyMixStyle,
    ImageChange,
    MixOrCut,
    Mixup,
    Normalization,
    Recording,
    Roll,
    SpecAugment,
    Warp,
    augmentation_for,
)
from hf_audio.augment.draws import RUN, Lot
from hf_audio.config import AugmentConfig
from hf_audio.extractors.spectrogram import SpectrogramFeatureExtractor

NORMALIZATION = Normalization(-5.0, 3.5)
ALONE = (
    *(Warp(0.3, 0.1, 3.0, 6.0), Roll(9, 3), Recording(3.0, 0.5), FilterAugment(6.0), FilterAugment(6.0, "step")),
    *(ImageChange(0.5, 0.1), SpecAugment(9, 6), Cutout(9, 6)),
)
MIXING = (
    *(BatchMix(0.7, 3, 9), FrequencyMixStyle(0.4), Mixup(0.4), CutMix(1.0), CutMix(1.0, "time")),
    MixOrCut(Mixup(0.4, probability=0.4), CutMix(1.0, probability=0.4)),
)
EVERYTHING = Compose(tuple(sorted((*ALONE, *MIXING), key=lambda step: not step.reads_energies)), NORMALIZATION)
BATCH, FRAMES, BINS = 16, 40, 24


@pytest.fixture
def batch():
    features = torch.randn(BATCH, FRAMES, BINS, generator=torch.Generator().manual_seed(0))
    num_frames = all_frames(features)
    num_frames[1] = 25
    features[1, 25:] = NORMALIZATION.padding_value
    return features, (torch.arange(BATCH)[:, None] % 5 == torch.arange(5)).float(), num_frames


def name_of(augment) -> str:
    return "everything" if augment is EVERYTHING else "-".join(type(step).__name__ for step in augment.steps)


@pytest.mark.parametrize("augment", [EVERYTHING, *(Compose((step,), NORMALIZATION) for step in MIXING)], ids=name_of)
def test_several_processes_augment_like_one(batch, augment):
    """Each of two processes has consecutive windows. The order of windows in a process has no effect either."""
    together = augment(*batch, augment.draw(places(BATCH)))
    assert not torch.allclose(together[0], batch[0])
    for first in (0, RUN):
        own = [one[first : first + RUN] for one in batch]
        alone = augment(*own, augment.draw(places(RUN, first=first)))
        for found, wanted in zip(alone, together, strict=True):
            torch.testing.assert_close(found, wanted[first : first + RUN], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("step", ALONE, ids=lambda step: type(step).__name__)
def test_augmentations_without_mixing_do_not_depend_on_other_windows(batch, step):
    """For any division of the windows."""
    augment = Compose((step,), NORMALIZATION)
    together = augment(*batch, augment.draw(places(BATCH)))[0]
    own = [one[3:6] for one in batch]
    torch.testing.assert_close(augment(*own, augment.draw(places(3, first=3)))[0], together[3:6], rtol=1e-5, atol=1e-5)


def test_each_place_step_and_seed_has_different_numbers():
    drawn = [EVERYTHING.draw(one).numbers for one in (places(4), places(4, seed=1), [(0, 1, n) for n in range(4)])]
    rows = {tuple(row) for numbers in drawn for row in numbers.tolist()}
    assert len(rows) == 12 and drawn[0].dtype == torch.float32
    assert torch.equal(EVERYTHING.draw(places(4)).numbers, drawn[0])


def test_partners_are_other_windows_of_the_run_equally_often():
    partners = Lot.at(places(3 * RUN + 1)).partners(3)
    own = np.arange(len(partners))[:, None]
    assert (partners[:-1] != own[:-1]).all() and (partners[:-1] // RUN == own[:-1] // RUN).all()
    assert (partners[-1] == own[-1]).all(), "no other window is in its run"
    assert all((np.bincount(column) == 1).all() for column in partners.T)
    first = np.array([Lot.at(places(RUN, seed)).partners(1)[0, 0] for seed in range(700)])
    assert np.bincount(first, minlength=RUN)[1:].min() > 60, "each of the other 7 about 100 times"


class Counts(TorchDispatchMode):
    """Counts operations on the meta device, and copies to it from another device."""

    def __init__(self) -> None:
        super().__init__()
        self.operations, self.copies = Counter(), 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        if isinstance(found, torch.Tensor) and found.is_meta and "lift_fresh" not in function.name():
            self.operations[function.name()] += 1
            self.copies += "copy" in function.name() and not args[0].is_meta
        return found


STEREO = SpectrogramFeatureExtractor(channels=["left", "right"], max_length=298, mean=[-35.0, -45.0], std=[12.0, 20.0])


@pytest.mark.parametrize(
    ("recipe", "extractor", "most"),
    [
        ("ast_irmas", ASTFeatureExtractor(max_length=298), 80),
        ("cnn_folder", ASTFeatureExtractor(max_length=298), 195),
        ("cnn_folder", STEREO, 195),
    ],
    ids=["ast_irmas", "cnn_folder", "cnn_folder_stereo"],
)
def test_a_batch_is_augmented_with_one_copy_and_few_operations(recipe, extractor, most):
    """A copy that the CPU waits for stalls the device, and each operation costs microseconds."""
    fields = AugmentConfig.__dataclass_fields__
    values = runpy.run_path(str(Path(__file__).parents[1] / "recipes" / f"{recipe}.py"))["VALUES"]
    config = AugmentConfig(**{name: value for name, value in values.items() if name in fields})
    augment = augmentation_for(config, extractor)
    shape = (32, 2, 298, 128) if extractor is STEREO else (32, 298, 128)
    features = torch.empty(shape, device="meta")
    targets, num_frames = torch.empty(32, 11, device="meta"), torch.empty(32, dtype=torch.int64, device="meta")
    for _ in range(2):  # constants are copied with the first batch
        with Counts() as counts:
            augment(features, targets, num_frames, augment.draw(places(32)))
    assert counts.copies == 1
    assert counts.operations.total() <= most, counts.operations.most_common()


def test_no_augmentation_waits_for_the_device():
    """Nothing can be read back from the meta device. All numbers come in one copy."""
    features = torch.empty(32, 298, 128, device="meta")
    targets, num_frames = torch.empty(32, 11, device="meta"), torch.empty(32, dtype=torch.int64, device="meta")
    with Counts() as counts:
        EVERYTHING(features, targets, num_frames, EVERYTHING.draw(places(32)))
    assert counts.copies == 1
