"""Padding is known, from the rows of a feature dataset to the model: no value of a sound is taken for it."""

from __future__ import annotations

import pytest
import torch
from augmenting import places
from model_cases import task
from training_run import build_tiny_features, trainer_of

from hf_audio.augment import Compose, Normalisation, SpecAugment, Warp
from hf_audio.data.index.labels import SINGLE_LABEL
from hf_audio.data.loading.features_dataset import FeatureCollator, load_features
from hf_audio.models.inputs import model_inputs
from hf_audio.models.spectrogram_cnn import SpectrogramCNN, SpectrogramCNNConfig, quieten_padding

PADDING = 2.0


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    return load_features(build_tiny_features(tmp_path_factory.mktemp("padding") / "features", SINGLE_LABEL))


@pytest.fixture
def pictures():
    """Two windows, the second with 20 real frames."""
    pictures = torch.randn(2, 1, 30, 8, generator=torch.Generator().manual_seed(0))
    pictures[1, :, 20:] = PADDING
    return pictures


def test_a_time_mask_is_no_padding(pictures):
    """It has one value in all bins, as padding has: known padding is quietened, and the mask stays the mean."""
    masked = pictures.clone()
    masked[:, :, 5:9] = 0.0
    found = quieten_padding(masked, torch.tensor([30, 20]))
    assert torch.equal(found[:, :, :20], masked[:, :, :20]) and torch.equal(found[0], masked[0])
    assert (found[1, :, 20:] == masked[1].min()).all()
    assert (quieten_padding(masked)[0, :, 5:9] == masked[0].min()).all(), "what it looks like"


def test_without_masks_a_published_model_needs_nobody_to_tell_it(pictures):
    """The stock pipeline gives features alone: padding is then told by its looks, and digital silence is quiet."""
    pictures[0, :, 3:6] = pictures[0].min()
    found, known = quieten_padding(pictures), quieten_padding(pictures, torch.tensor([30, 20]))
    assert torch.equal(found, known) and not torch.equal(found, pictures)


def test_training_tells_the_model_what_is_padding(features, tmp_path):
    """Of an untrained CNN: with every frame masked the loss is that of the mean in all real frames."""
    size = {"channels": [4], "kernel_sizes": [3], "strides": [1], "pools": [2], "depths": [1]}
    model = SpectrogramCNN(SpectrogramCNNConfig(**size, **task(features.labels)))
    seen = []
    model.register_forward_pre_hook(lambda _, args, kwargs: seen.append(kwargs), with_kwargs=True)
    augment = Compose((SpecAugment(30, 0),), Normalisation.of(features.extractor))
    arguments = {"max_steps": 1, "eval_strategy": "no", "save_strategy": "no"}
    trainer = trainer_of(features, tmp_path, model, arguments, {"augment": augment})
    trainer.train()
    frames = {row["num_frames"] for row in features.splits["train"]}
    assert set(seen[0]["num_frames"].tolist()) <= frames and seen[0]["input_values"].shape[1] == max(frames)
    trainer.predictor().scores(trainer.features, "test")
    assert all("num_frames" in kwargs for kwargs in seen)


def test_batches_know_it_and_only_our_models_are_told(features):
    rows = [features.splits["train"][index] for index in range(4)]
    batch = FeatureCollator(features.extractor, features.labels)(rows)
    assert batch["num_frames"].dtype == torch.int64
    assert batch["num_frames"].tolist() == [row["num_frames"] for row in rows]
    ours = SpectrogramCNN(SpectrogramCNNConfig())
    assert set(model_inputs(ours, batch)) == {"input_values", "num_frames"}
    assert set(model_inputs(torch.compile(ours), batch)) == {"input_values", "num_frames"}
    assert set(model_inputs(torch.nn.Linear(1, 1), batch)) == {"input_values"}


def test_augmentation_tells_where_it_moves_the_end_of_a_sound(features):
    features_of = torch.randn(2, 30, 8)
    warp = Compose((Warp(time_stretch=1.0),), Normalisation(-5.0, 3.5))
    draws = warp.draw(places(2))
    found, _, num_frames = warp(features_of, torch.eye(2), torch.tensor([30, 10]), draws)
    assert num_frames[0] == 30 and num_frames[1] != 10 and 5 <= num_frames[1] <= 20
    assert (found[1, num_frames[1] :] == warp.normalisation.padding_value).all()
    assert (found[1, : num_frames[1]] != warp.normalisation.padding_value).all()
