"""A model's scores on clean and degraded recordings: with its own predictor, in batches over clips."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from tagging_models import changing_sound, save_classifier

from hf_audio.data.index.labels import MULTI_LABEL, SINGLE_LABEL, LabelSpace
from hf_audio.errors import InputError
from hf_audio.judging import robustness as module
from hf_audio.judging.conditions import notes_of
from hf_audio.judging.robustness import Recorded, robustness
from hf_audio.judging.sound_windows import logits_of_windows
from hf_audio.metrics import classification_metrics, decide, main_metrics
from hf_audio.sound_predictor import SoundPredictor

DEGRADED = ("white_noise=10,-30", "gain=12", "sample_rate=8000", "shift=0.2", "vorbis=2")


@pytest.fixture(scope="module")
def predictors(tmp_path_factory) -> dict[str, SoundPredictor]:
    folder = tmp_path_factory.mktemp("models")
    cases = (
        ("cnn", SINGLE_LABEL),
        ("cnn", MULTI_LABEL),
        ("stereo_cnn", SINGLE_LABEL),
        ("wav2vec2_convolutions", MULTI_LABEL),
    )
    return {
        f"{name} {task}": with_distinct_scores(
            SoundPredictor.load(str(save_classifier(folder / f"{name}-{task}", name, task)), device="cpu")
        )
        for name, task in cases
    }


def with_distinct_scores(predictor: SoundPredictor) -> SoundPredictor:
    """Changes the last layer so that scores differ between sounds and all classes are equally frequent on average."""
    logits = np.concatenate([predictor.waveform(changing_sound(2.0, seed), 16_000).logits for seed in range(4)])
    last = [layer for layer in predictor.model.modules() if getattr(layer, "out_features", 0) == logits.shape[1]][-1]
    with torch.no_grad():
        spread = torch.from_numpy(logits.std(axis=0))
        last.weight /= spread[:, None]
        last.bias.sub_(torch.from_numpy(logits.mean(axis=0))).div_(spread)
    return predictor


def recorded(predictor: SoundPredictor, count: int = 12) -> list[Recorded]:
    """Sounds of different lengths and rates; the model's predictions are the labels, except for every sixth sound."""
    found = []
    for number in range(count):
        sound = changing_sound((0.3, 0.9, 1.6)[number % 3], seed=number)
        sound = np.stack([sound, 0.5 * sound[::-1]]) if number % 2 else sound
        rate = (16_000, 22_050)[number % 2]
        scores = predictor.waveform(sound, rate).scores
        target = decide(scores[None], predictor.labels, predictor.decision_threshold)[0].astype(np.float32)
        target = np.roll(target, 1) if number % 6 == 0 else target
        found.append(Recorded(f"clip {number}", f"group {number // 2}", target, sound, rate))
    return found


@pytest.mark.parametrize(
    "name", ["cnn " + SINGLE_LABEL, "stereo_cnn " + SINGLE_LABEL, "wav2vec2_convolutions " + MULTI_LABEL]
)
def test_batches_over_clips_have_the_logits_of_single_clips(predictors, name):
    predictor = predictors[name]
    sounds = [predictor.heard(one.samples, one.sample_rate) for one in recorded(predictor)]
    windows = [window for sound in sounds for window in predictor.windows.cut(sound)]
    alone = np.concatenate([predictor.waveform(sound, predictor.sample_rate).logits for sound in sounds])
    calls, logits = [], predictor.logits
    predictor.logits = lambda inputs: calls.append(1) or logits(inputs)
    np.testing.assert_allclose(logits_of_windows(predictor, windows), alone, atol=1e-4)
    del predictor.logits
    assert len(calls) < len(sounds)


@pytest.mark.parametrize("task", [SINGLE_LABEL, MULTI_LABEL])
def test_the_table_has_the_scores_of_degraded_waveforms(predictors, task):
    predictor = predictors[f"cnn {task}"]
    clips = recorded(predictor)
    table = robustness(predictor, iter(clips), degradations=DEGRADED, num_draws=100)
    scores = np.stack([predictor.waveform(one.samples, one.sample_rate).scores for one in clips])
    expected = classification_metrics(
        scores, np.stack([one.target for one in clips]), predictor.labels, predictor.decision_threshold
    )
    for metric in main_metrics(task):
        assert table["clean"]["metrics"][metric].value == pytest.approx(expected[metric], abs=1e-6)
    rows = {(row["degradation"], row["strength"]): row for row in table["conditions"]}
    assert list(rows) == [
        *(("white_noise", 10.0), ("white_noise", -30.0), ("gain", 12.0)),
        *(("sample_rate", 8000.0), ("shift", 0.2), ("vorbis", 2.0)),
    ]
    assert (table["num_clips"], table["num_groups"], table["by"], table["metric"]) == (
        12,
        6,
        "group",
        main_metrics(task)[0],
    )
    clean, worst = table["clean"]["metrics"][table["metric"]], rows["white_noise", -30.0]
    loud = [np.clip(predictor.heard(one.samples, one.sample_rate) * 10**0.6, -1, 1) for one in clips]
    decided = [
        decide(predictor.waveform(one, 16_000).scores[None], predictor.labels, predictor.decision_threshold)
        for one in loud
    ]
    right = [np.array_equal(one[0], clip.target) for one, clip in zip(decided, clips, strict=True)]
    if task == SINGLE_LABEL:
        assert rows["gain", 12.0]["metrics"]["accuracy"].value == pytest.approx(np.mean(right))
    assert worst["change"].value == pytest.approx(worst["metrics"][table["metric"]].value - clean.value)
    assert worst["change"].low <= worst["change"].value <= worst["change"].high
    assert worst["same_decisions"] < 1 and worst["num_changed"] == 12
    assert rows["gain", 12.0]["clipped_share"] > 0 and rows["vorbis", 2.0]["kbit_per_s"] > 10
    values = [row["metrics"]["f1_macro"].value for row in table["conditions"]]
    assert table["mean"]["f1_macro"] == pytest.approx(np.mean(values))
    json.dumps(table, allow_nan=False)
    assert any(note.startswith("Gain 12 dB clips") for note in notes_of(table))


def test_a_seed_gives_the_same_noise_for_any_block_size(predictors, monkeypatch):
    predictor = predictors["cnn " + SINGLE_LABEL]
    clips = recorded(predictor)
    said = []

    def table(seed: int = 0) -> dict:
        return robustness(predictor, clips, degradations=["white_noise=0"], num_draws=100, seed=seed)

    first = table()
    monkeypatch.setattr(module, "BLOCK_S", 1.0)
    assert table() == first
    monkeypatch.setattr(module._Heard, "_scores", _noting(module._Heard._scores, said))
    table(), table(seed=1)
    half = len(said) // 2
    assert not any(np.array_equal(*pair) for pair in zip(said[1:half:2], said[half + 1 :: 2], strict=True))
    assert all(np.array_equal(*pair) for pair in zip(said[0:half:2], said[half::2], strict=True))


def _noting(said_of, said: list):
    def noted(self, block, sounds):
        said.append(np.concatenate([sound.ravel() for sound in sounds]))
        return said_of(self, block, sounds)

    return noted


def test_other_classes_must_be_mapped_and_skipped_conditions_are_reported(predictors):
    predictor = predictors["cnn " + SINGLE_LABEL]
    two = LabelSpace(("bell", "rest"), SINGLE_LABEL)
    clips = [one._replace(target=np.float32([one.target[1], 1 - one.target[1]])) for one in recorded(predictor, 6)]
    with pytest.raises(InputError, match="and the recordings have different classes"):
        robustness(predictor, clips, two)
    with pytest.raises(InputError, match="There are no recordings"):
        robustness(predictor, [], degradations=["gain"])

    def mapped(logits: np.ndarray) -> np.ndarray:
        return np.stack([logits[:, 1], logits[:, [0, 2, 3]].max(axis=1)], axis=1)

    table = robustness(predictor, clips, two, of_logits=mapped, degradations=["sample_rate"], num_draws=100)
    assert [row["strength"] for row in table["conditions"]] == [8_000.0]
    assert notes_of(table)[0].startswith("Not tested: sample_rate 22050 Hz, because the model reads sound at 16,000 Hz")


def test_scores_that_are_not_finite_are_refused(predictors, monkeypatch):
    predictor = predictors["cnn " + SINGLE_LABEL]
    monkeypatch.setattr(predictor, "_logits", lambda batch: torch.full((len(batch["input_values"]), 4), torch.nan))
    with pytest.raises(InputError, match="no finite scores"):
        robustness(predictor, [Recorded("a", "b", np.float32([1, 0, 0, 0]), changing_sound(0.5), 16_000)])
