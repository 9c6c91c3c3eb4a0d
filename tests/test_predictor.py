"""The Predictor: scores, embeddings and timed logits of one trained network with its own extractor, on any features."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import soxr
import torch
from model_cases import CASES, Instance
from training_run import CLASSES, WINDOW_S, build_tiny_features, sound, tiny_model
from transformers import ASTFeatureExtractor

from hf_audio.data.index.labels import MULTI_LABEL, SINGLE_LABEL, LabelSpace
from hf_audio.data.loading.feature_collator import FeatureCollator, clip_key
from hf_audio.data.loading.features_dataset import load_features
from hf_audio.errors import InputError
from hf_audio.kinds import KINDS
from hf_audio.kinds._kaldi_fbank import KaldiFbank
from hf_audio.kinds._spectrogram_settings import Spectrogram
from hf_audio.kinds.waveform import Waveform
from hf_audio.models.saving import save_extractor, save_model
from hf_audio.models.usage import Usage, write_usage
from hf_audio.predictor import Predictor
from hf_audio.windows import SampleWindows, cut_windows

# Below a frame, one frame, odd lengths below and above a window, a remainder just below and above half a hop, several
LENGTHS_S = (0.01, 0.0249375, 0.025, 0.0373, 0.2, 0.39, 0.4, 0.4001, 0.5985, 0.6, 0.6051, 0.8, 1.0049, 1.13, 2.7777)


@pytest.fixture
def predictor(tiny_features) -> Predictor:
    usage = Usage(window_s=WINDOW_S, hop_s=WINDOW_S)
    return Predictor(tiny_model(tiny_features), tiny_features.extractor, usage=usage, batch_size=4)


def logits_of(predictor: Predictor, values: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        return predictor.model(values).logits.numpy()


def test_window_scores_are_those_of_the_model_in_order(predictor, tiny_features):
    rows = list(tiny_features.splits["test"])
    found = predictor.window_scores(tiny_features, "test")
    batch = FeatureCollator(tiny_features.extractor, tiny_features.labels)(rows)
    np.testing.assert_allclose(found.logits, logits_of(predictor, batch["input_values"]), atol=1e-5)
    assert found.logits.dtype == np.float32
    assert found.clip_ids.tolist() == [row["clip_id"] for row in rows]
    assert found.groups.tolist() == [row["group"] for row in rows]
    assert found.starts_s.tolist() == [row["start_s"] for row in rows]
    np.testing.assert_array_equal(found.targets, batch["labels"])
    clips = predictor.scores(tiny_features, "test")
    first = found.logits[found.clip_ids == rows[0]["clip_id"]].astype(np.float64)
    assert clips.clip_keys[0] == clip_key(rows[0]["clip_id"])
    np.testing.assert_array_equal(clips.logits[0], first.mean(axis=0))


def test_workers_and_batches_change_nothing(predictor, tiny_features):
    other = Predictor(predictor.model, predictor.extractor, batch_size=3, num_workers=1)
    found = other.window_scores(tiny_features, "test")
    np.testing.assert_allclose(found.logits, predictor.window_scores(tiny_features, "test").logits, atol=1e-5)


def test_bf16_is_close_and_gives_float32(predictor, tiny_features):
    half = Predictor(predictor.model, predictor.extractor, bf16=True).window_scores(tiny_features, "test")
    whole = predictor.window_scores(tiny_features, "test")
    assert half.logits.dtype == np.float32 and not np.array_equal(half.logits, whole.logits)
    np.testing.assert_allclose(half.logits, whole.logits, atol=0.05)


def test_features_are_normalized_by_the_models_statistics(predictor, tiny_features):
    """Another dataset's features have other statistics; the sound is the same, and so must the scores be."""
    others = dataclasses.replace(tiny_features, extractor=copy.deepcopy(tiny_features.extractor))
    others.extractor.mean, others.extractor.std = 3.0, 0.5
    own = predictor.window_scores(tiny_features, "test").logits
    np.testing.assert_array_equal(predictor.window_scores(others, "test").logits, own)
    np.testing.assert_array_equal(
        predictor.embeddings(others, "test").values, predictor.embeddings(tiny_features, "test").values
    )


def test_scores_follow_the_class_order_of_the_features(predictor, tiny_features):
    turned = LabelSpace(CLASSES[::-1], SINGLE_LABEL)
    others = dataclasses.replace(tiny_features, labels=turned, extractor=copy.deepcopy(tiny_features.extractor))
    own, found = (predictor.window_scores(one, "test").logits for one in (tiny_features, others))
    np.testing.assert_array_equal(found, own[:, ::-1])


def test_features_that_do_not_fit_the_model_are_one_sentence(predictor, tiny_features):
    with pytest.raises(InputError, match="Unknown split 'tset': did you mean 'test'"):
        predictor.embeddings(tiny_features, "tset")
    extractor = copy.deepcopy(tiny_features.extractor)
    several = dataclasses.replace(tiny_features, labels=LabelSpace(CLASSES, MULTI_LABEL), extractor=extractor)
    with pytest.raises(InputError, match=r"3 classes \(bell, hiss, hum; single-label\), .* evaluate on"):
        predictor.scores(several, "test")
    others = dataclasses.replace(tiny_features, labels=LabelSpace(("a", "b", "hum"), SINGLE_LABEL))
    with pytest.raises(InputError, match=r"but .* has 3 classes \(a, b, hum"):
        predictor.scores(others, "test")
    extractor.max_length = 2 * tiny_features.extractor.max_length
    with pytest.raises(InputError, match="and would be cut: build features with a shorter --window_s"):
        predictor.scores(dataclasses.replace(tiny_features, extractor=extractor), "test")
    bins = dataclasses.replace(tiny_features, extractor=ASTFeatureExtractor(num_mel_bins=64))
    with pytest.raises(InputError, match="num_mel_bins is 64, expected 32"):
        predictor.embeddings(bins, "test")
    with pytest.raises(InputError, match=r"Unknown local split 'tets': did you mean 'test'\?"):
        predictor.scores(tiny_features, "tets")


def test_a_published_model_stores_how_it_is_used(predictor, tiny_features, tmp_path):
    save_model(predictor.model, tmp_path)
    save_extractor(predictor.extractor, tmp_path)
    write_usage(tmp_path, Usage(0.3125, WINDOW_S, WINDOW_S))
    loaded = Predictor.load(str(tmp_path))
    assert loaded.usage == Usage(0.3125, WINDOW_S, WINDOW_S) and loaded.decision_threshold == 0.3125
    assert loaded.labels == tiny_features.labels and predictor.decision_threshold == 0.5
    np.testing.assert_array_equal(
        loaded.window_scores(tiny_features, "test").logits,
        Predictor(predictor.model, predictor.extractor).window_scores(tiny_features, "test").logits,
    )
    path = tmp_path / "config.json"
    path.write_text(path.read_text().replace("0.3125", '"high"'))
    with pytest.raises(InputError, match=r"has decision_threshold 'high' in its config.json: expected a number"):
        Predictor.load(str(tmp_path))


def test_a_model_without_a_trained_head_is_refused(tiny_features, tmp_path):
    model = tiny_model(tiny_features)
    save_extractor(tiny_features.extractor, tmp_path)
    weights = {name: value for name, value in model.state_dict().items() if not name.startswith("classifier.dense")}
    save_model(model, tmp_path, weights)
    loaded = Predictor.load(str(tmp_path))
    assert loaded.embeddings(tiny_features, "test").values.shape[1] == 32
    with pytest.raises(InputError, match="has no trained classifier"):
        loaded.scores(tiny_features, "test")


# Sounds


@pytest.mark.parametrize("duration_s", LENGTHS_S)
def test_a_sound_has_the_logits_of_its_stored_features(predictor, duration_s):
    """Windows cut from frames, as features are built, and from samples: the same logits at the same times."""
    samples = long_sound()[: round(duration_s * 16_000)]
    found = predictor.waveform(samples, 16_000)
    stored = samples if len(samples) >= 400 else np.pad(samples, (0, 400 - len(samples)))
    ((*windows,),) = KaldiFbank(num_mel_bins=32).windows([stored], WINDOW_S, WINDOW_S)
    extractor = predictor.extractor
    values = torch.zeros(len(windows), extractor.max_length, 32)
    for value, (_, window) in zip(values, windows, strict=True):
        value[: len(window)] = torch.from_numpy(window)
    wanted = logits_of(predictor, (values - extractor.mean) / (2 * extractor.std))
    np.testing.assert_allclose(found.starts_s, [start_s for start_s, _ in windows], atol=1e-9)
    np.testing.assert_allclose(found.logits, wanted, atol=1e-4)
    scores = predictor.labels.probabilities(wanted.astype(np.float64).mean(axis=0))
    np.testing.assert_allclose(found.scores, scores, atol=1e-4)


def long_sound() -> np.ndarray:
    random = np.random.default_rng(7)
    return np.concatenate([sound(kind % 3, 0.5, random) for kind in range(6)]).astype(np.float32)


def test_other_rates_and_channels(predictor):
    samples = long_sound()
    left, right = samples, 0.5 * samples[::-1]
    mono = predictor.waveform((left + right) / 2, 16_000)
    np.testing.assert_allclose(predictor.waveform(np.stack([left, right]), 16_000).logits, mono.logits, atol=1e-5)
    high = soxr.resample(samples, 16_000, 44_100)
    again = soxr.resample(high, 44_100, 16_000)
    found = predictor.waveform(high, 44_100)
    np.testing.assert_allclose(found.logits, predictor.waveform(again, 16_000).logits, atol=1e-5)
    assert found.ends_s[0] - found.starts_s[0] == pytest.approx(WINDOW_S, abs=0.01)


@pytest.mark.parametrize(
    ("samples", "rate"),
    [([], 16_000), ([0, 1], 16_000), ([[[0.1]]], 16_000), ([np.nan], 16_000), ([0.1, 0.2], 0), ([0.1], float("nan"))],
)
def test_bad_waveforms_are_one_sentence(predictor, samples, rate):
    with pytest.raises(InputError, match=r"A so?a?[um].* (must be finite floats|must be above 0 Hz)"):
        predictor.waveform(np.array(samples), rate)


def test_windows_of_a_model_are_not_guessed(predictor):
    unknown = Predictor(predictor.model, predictor.extractor, name="someone/model")
    with pytest.raises(InputError, match=r"someone/model has no window length"):
        unknown.waveform(np.zeros(16_000, np.float32), 16_000)


HEARD = [case for case in CASES if not case.name.startswith("feature_")]  # librosa takes 10 s to compile


@pytest.mark.parametrize("case", HEARD, ids=lambda case: case.name)
def test_every_model_classifies_a_waveform(case):
    instance = Instance(case, case.heads[0], MULTI_LABEL)
    predictor = Predictor(instance.model(), case.extractor(), usage=Usage(window_s=0.5, hop_s=0.25))
    found = predictor.waveform(long_sound()[:20_001], 16_000)
    assert len(found.starts_s) == len(found.logits) > 2 and np.isfinite(found.logits).all()
    assert (np.diff(found.starts_s) > 0).all() and ((found.scores > 0) & (found.scores < 1)).all()


# The rule of windows, in samples


@pytest.mark.parametrize("kind", ["fbank", "spectrogram", "waveform"])
def test_windows_in_samples_are_those_of_feature_building(kind):
    extractor = {
        "fbank": KaldiFbank(),
        "spectrogram": Spectrogram(16_000, n_fft=512, num_mel_bins=32),
        "waveform": Waveform(),
    }[kind]
    for window_s, hop_s in ((0.4, 0.4), (0.4, 0.1), (0.25, 0.333)):
        rule = KINDS[kind].sample_windows(extractor.parameters, window_s, hop_s)
        assert rule.shortest == extractor.frame_samples
        for num_samples in (*range(extractor.frame_samples, 2000, 173), *range(6000, 20_000, 997)):
            sound = np.random.default_rng(0).normal(size=num_samples).astype(np.float32)
            ((*windows,),) = extractor.windows([sound], window_s, hop_s)
            starts_s = [start_s for start_s, _ in windows]
            np.testing.assert_allclose(np.array(rule.starts(num_samples)) / 16_000, starts_s, atol=1e-9)
            assert len(rule.cut(sound)) == len(starts_s)


def test_short_sounds_are_padded_and_partial_frames_cut():
    rule = SampleWindows(window=880, hop=480, shortest=400, step=160)
    assert [rule.length(count) for count in (1, 400, 559, 560, 900)] == [400, 400, 400, 560, 880]
    (short,) = rule.cut(np.ones((2, 100), np.float32))
    assert short.shape == (2, 400) and short[:, 100:].sum() == 0
    frames = [start for start, _ in cut_windows(np.zeros(rule.length(3000)), 880, 480)]
    assert rule.starts(3000) == frames == [0, 480, 960, 1440, 1920, 2080][: len(frames)]


def test_waveform_models_on_stored_features(tmp_path):
    """Wav2Vec2's own extractor normalizes each window on its own, for stored sound and for a given waveform alike."""
    case = next(case for case in CASES if case.name == "wav2vec2")
    labels = LabelSpace(CLASSES, MULTI_LABEL)
    features = load_features(build_tiny_features(tmp_path / "sound", MULTI_LABEL, extractor=Waveform()))
    predictor = Predictor(case.make(labels), case.extractor(), usage=Usage(window_s=WINDOW_S, hop_s=WINDOW_S))
    found = predictor.window_scores(features, "test")
    row = features.splits["test"][0]
    samples = features.kind.decode(row)
    heard = predictor.waveform(samples, 16_000)
    np.testing.assert_allclose(found.logits[0], heard.logits[0], atol=1e-4)
