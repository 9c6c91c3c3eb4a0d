"""Padding is known from the rows of a feature dataset to the model: no value of a sound is mistaken for it."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import soundfile
import torch
from augmenting import places
from model_cases import ENDS_IN_SILENCE, INSTANCES, NAMES, Instance, ast, is_ours, task
from model_extractors import classical, log_mel, mel, spectrogram, stereo
from training_run import WINDOW_S, build_tiny_features, trainer_of
from transformers import FeatureExtractionMixin

from hf_audio.augment import Compose, Normalization, SpecAugment, Warp
from hf_audio.data.index.labels import SINGLE_LABEL, LabelSpace
from hf_audio.data.loading.feature_collator import FeatureCollator
from hf_audio.data.loading.features_dataset import load_features
from hf_audio.extractors.fbank import FbankFeatureExtractor
from hf_audio.kinds import Form, kind_of_extractor
from hf_audio.models import build_model
from hf_audio.models.inputs import model_inputs
from hf_audio.models.padding import known_frames
from hf_audio.models.spectrogram_cnn import SpectrogramCNN, SpectrogramCNNConfig, quieten_padding
from hf_audio.models.usage import Usage
from hf_audio.predictor import Predictor

PADDING = 2.0


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    return load_features(build_tiny_features(tmp_path_factory.mktemp("padding") / "features", SINGLE_LABEL))


@pytest.fixture
def images():
    """Two windows, the second with 20 real frames."""
    images = torch.randn(2, 1, 30, 8, generator=torch.Generator().manual_seed(0))
    images[1, :, 20:] = PADDING
    return images


def test_a_time_mask_is_not_taken_for_padding(images):
    """A mask has one value in all bins, as padding does: known padding becomes silence, and the mask stays the mean."""
    masked = images.clone()
    masked[:, :, 5:9] = 0.0
    found = quieten_padding(masked, torch.tensor([30, 20]))
    assert torch.equal(found[:, :, :20], masked[:, :, :20]) and torch.equal(found[0], masked[0])
    assert (found[1, :, 20:] == masked[1].min()).all()
    masked[1, :, 20:] = -100.0
    assert (quieten_padding(masked, torch.tensor([30, 20]))[1, :, 20:] == masked[1, :, :20].min()).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_without_num_frames_padding_is_found_by_the_extractors_padding_value(images, dtype):
    """Only at the end and in every bin and channel: not a frame within a sound, not a single bin of that value."""
    images[0, :, 3:6], images[0, 0, 29, :7], images[1, :, 10] = PADDING, PADDING, PADDING
    two = torch.cat([images, images], dim=1)
    two[0, 1, 29] = PADDING
    for windows in (images, images[:, 0], two):
        assert known_frames(windows.to(dtype), PADDING).tolist() == [30, 20]
    assert known_frames(images, None) is None and known_frames(images[:, 0, 0], PADDING) is None
    assert known_frames(torch.full((2, 5, 4), PADDING), PADDING).tolist() == [1, 1]


def at_rate(sampling_rate: int) -> FeatureExtractionMixin:
    return FbankFeatureExtractor(sampling_rate=sampling_rate, num_mel_bins=32, max_length=98, do_normalize=False)


@pytest.mark.parametrize(
    ("make", "wanted"),
    [
        (log_mel, 48),
        (partial(at_rate, 8000), 98),
        (mel, 44),
        (stereo, 44),
        (partial(spectrogram, ["mel", "mfcc"], normalization="none"), 44),
        (partial(spectrogram, ["mel"], normalization="clip"), 44),
    ],
)
def test_the_padding_value_of_an_extractor_is_that_of_its_kind(make, wanted):
    """Half a second of noise that ends in digital silence, which counts as sound; what follows is padding."""
    extractor = make()
    sound = np.random.default_rng(0).normal(0, 0.1, round(11_025 * 16_000 / 22_050) if make is log_mel else 11_025)
    sound[-4000:] = 0
    heard = extractor(sound.astype(np.float32), sampling_rate=extractor.sampling_rate, return_tensors="pt")
    value = kind_of_extractor(extractor).padding_value(extractor)
    assert known_frames(heard["input_values"], value).tolist() == [wanted]


def test_the_padding_value_of_classical_features_is_that_of_their_kind():
    extractor = classical(num_steps=5)
    steps = torch.from_numpy(extractor.standardize([np.zeros((3, 174)), np.zeros((1, 174))]))
    assert known_frames(steps, kind_of_extractor(extractor).padding_value(extractor)).tolist() == [3, 1]


def short_windows(instance: Instance) -> tuple[dict, dict, list[int]]:
    """Three windows, two of them padded as by their extractor; what a batch says about it; and their lengths."""
    case, extractor = instance.case, instance.case.extractor()
    kind = kind_of_extractor(extractor)
    inputs = instance.inputs(3, case.windows[min(2, len(case.windows) - 1)])
    windows, value = inputs[case.input_name], kind.padding_value(extractor)
    is_sound = kind.form is Form.SOUND
    size = windows.shape[-1 if is_sound else -2]
    counts = [size, 4 * size // 9, 7 * size // 9]
    for window, count in zip(windows, counts, strict=True):
        (window[..., count:] if is_sound else window[..., count:, :]).fill_(value or 0.0)
    told = {"num_frames": torch.tensor(counts)}
    if is_sound:
        told["attention_mask"] = (torch.arange(size) < told["num_frames"][:, None]).long()
    return inputs, told, counts


@pytest.mark.parametrize("instance", INSTANCES, ids=lambda one: one.id)
def test_padding_does_not_change_the_logits(instance):
    """With num_frames or only the config's padding value, and compared with the same sounds without padding."""
    inputs, told, counts = short_windows(instance)
    model, name = instance.model(), instance.case.input_name
    has_mask = "attention_mask" in told
    if not is_ours(model):
        del told["num_frames"]  # stock classes do not take it
    with torch.no_grad():
        known = model(**inputs, **told).logits
        if not has_mask:
            torch.testing.assert_close(model(**inputs).logits, known, rtol=0, atol=1e-5)
        for row, count in enumerate(counts if "padding" not in instance.case.exempt else ()):
            own = {key: values[row : row + 1] for key, values in inputs.items()}
            own[name] = own[name][..., :count] if has_mask else own[name][..., :count, :]
            torch.testing.assert_close(model(**own).logits, known[row : row + 1], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "instance", [one for one in INSTANCES if one.case.exempt == ENDS_IN_SILENCE], ids=lambda one: one.id
)
def test_a_cnn_reads_padding_as_silence_whatever_its_values(instance):
    inputs, told, counts = short_windows(instance)
    model = instance.model()
    model.config.padding_value = None
    with torch.no_grad():
        known = model(**inputs, **told).logits
        for window, count in zip(inputs["input_values"], counts, strict=True):
            window[..., count:, :] = window[..., :count, :].amin(dim=(-1, -2), keepdim=True)
        torch.testing.assert_close(model(**inputs).logits, known, rtol=0, atol=1e-5)


def test_mean_pooling_of_an_ast_is_over_patches_with_sound():
    torch.manual_seed(0)
    model = ast(LabelSpace(NAMES, SINGLE_LABEL), pooling="mean").eval()
    windows, stride = torch.randn(2, 98, 32), model.backbone.config.time_stride
    with torch.no_grad():
        patches = model.backbone(windows).last_hidden_state[:, 2:]
        patches = patches.unflatten(1, model.backbone.embeddings.get_shape(model.backbone.config))
        for count in (1, stride, stride + 1, 98):
            wanted = patches[:, :, : -(-count // stride)].mean(dim=(1, 2))
            torch.testing.assert_close(model.embed(windows, num_frames=torch.full((2,), count)), wanted)


@pytest.mark.parametrize("name", ["lstm", "lstm-concert", "cnn"])
def test_a_published_model_scores_a_short_clip_as_its_report_does(features, name):
    """Its extractor gives only a window, whereas a batch of the dataset has num_frames."""
    usage = Usage(window_s=WINDOW_S, hop_s=WINDOW_S)
    predictor = Predictor(build_model(name, features), features.extractor, usage=usage)
    scores = predictor.window_scores(features, "test")
    short = [row["clip_id"] for row in features.splits["test"] if row["num_frames"] < features.window_frames]
    assert short
    for clip_id in short:
        sound, rate = soundfile.read(f"{features.source}-audio/{clip_id}.wav", dtype="float32")
        logits = predictor.waveform(sound, rate).logits
        torch.testing.assert_close(
            torch.from_numpy(scores.logits[scores.clip_ids == clip_id]), torch.as_tensor(logits), rtol=0, atol=2e-5
        )


def test_training_tells_the_model_what_is_padding(features, tmp_path):
    """With every frame masked, an untrained CNN has the loss of windows whose real frames are all the mean."""
    size = {"channels": [4], "kernel_sizes": [3], "strides": [1], "pools": [2], "depths": [1]}
    model = SpectrogramCNN(SpectrogramCNNConfig(**size, **task(features.labels)))
    seen = []
    model.register_forward_pre_hook(lambda _, args, kwargs: seen.append(kwargs), with_kwargs=True)
    augment = Compose((SpecAugment(30, 0),), Normalization.of(features.extractor))
    arguments = {"max_steps": 1, "eval_strategy": "no", "save_strategy": "no"}
    trainer = trainer_of(features, tmp_path, model, arguments, {"augment": augment})
    trainer.train()
    frames = {row["num_frames"] for row in features.splits["train"]}
    assert set(seen[0]["num_frames"].tolist()) <= frames and seen[0]["input_values"].shape[1] == max(frames)
    trainer.predictor().scores(trainer.features, "test")
    assert all("num_frames" in kwargs for kwargs in seen)


def test_batches_have_num_frames_and_only_our_models_get_them(features):
    rows = [features.splits["train"][index] for index in range(4)]
    batch = FeatureCollator(features.extractor, features.labels)(rows)
    assert batch["num_frames"].dtype == torch.int64
    assert batch["num_frames"].tolist() == [row["num_frames"] for row in rows]
    ours = SpectrogramCNN(SpectrogramCNNConfig())
    assert set(model_inputs(ours, batch)) == {"input_values", "num_frames"}
    assert set(model_inputs(torch.compile(ours), batch)) == {"input_values", "num_frames"}
    assert set(model_inputs(torch.nn.Linear(1, 1), batch)) == {"input_values"}


def test_augmentation_returns_the_new_length_of_a_sound(features):
    features_of = torch.randn(2, 30, 8)
    warp = Compose((Warp(time_stretch=1.0),), Normalization(-5.0, 3.5))
    draws = warp.draw(places(2))
    found, _, num_frames = warp(features_of, torch.eye(2), torch.tensor([30, 10]), draws)
    assert num_frames[0] == 30 and num_frames[1] != 10 and 5 <= num_frames[1] <= 20
    assert (found[1, num_frames[1] :] == warp.normalization.padding_value).all()
    assert (found[1, : num_frames[1]] != warp.normalization.padding_value).all()
