"""Features computed from stored sound: the same values, statistics and scores as with stored features."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hostile_features import put_on
from training_run import build_tiny_features, in_shards, tiny_model, trainer_of

from hf_audio import Predictor, load_features
from hf_audio.baselines import window_statistics
from hf_audio.data.index.labels import SINGLE_LABEL
from hf_audio.data.loading import feature_statistics
from hf_audio.data.loading.computed_features import as_read_by, computed_features
from hf_audio.data.loading.feature_collator import FeatureCollator
from hf_audio.data.loading.feature_statistics import chosen_windows
from hf_audio.errors import InputError
from hf_audio.figures.clips import clip_durations
from hf_audio.kinds import KINDS
from hf_audio.kinds._kaldi_fbank import KaldiFbank
from hf_audio.kinds._spectrogram_settings import Spectrogram
from hf_audio.kinds.waveform import Waveform
from hf_audio.models import build_model
from hf_audio.models.usage import usage_in

RATE, SHORT = 16_000, 4800
PARTS = ("harmonic", "mel", "percussive", "mfcc", "wavelet")
SOURCES = {
    "fbank": KaldiFbank(num_mel_bins=32),
    "fbank, none": KaldiFbank(num_mel_bins=32, normalization="none"),
    "spectrogram": Spectrogram(RATE, 32, 512, 160),
    "mel and mfcc by clip": Spectrogram(RATE, 32, 512, 200, ("mel", "mfcc"), "clip"),
    "all channels of mono": Spectrogram(RATE, 32, 512, 160, PARTS),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return build_tiny_features(tmp_path_factory.mktemp("sound") / "sound", SINGLE_LABEL, extractor=Waveform())


@pytest.fixture(scope="module")
def sound(folder):
    return load_features(folder)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """The same recordings as stored features."""
    return load_features(build_tiny_features(tmp_path_factory.mktemp("fbank") / "fbank", SINGLE_LABEL))


@pytest.fixture(scope="module")
def computed(sound):
    return computed_features(sound, SOURCES["fbank"])


def waveforms_of(features, rows) -> list[np.ndarray]:
    return [KINDS["waveform"].decode(row) for row in rows]


# Values


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_batches_equal_the_published_extractors_output(sound, source):
    """Also for short windows, computed in a worker or on the device, and under autocast."""
    features = computed_features(sound, source)
    rows = list(features.splits["train"])[:8]
    assert {row["num_frames"] for row in rows} == {SHORT, features.longest_row}
    assert features.kind.name == source.parameters["kind"] and features.parameters == source.parameters
    extractor, sounds = features.extractor, waveforms_of(features, rows)
    for travels in (True, False):
        collate = FeatureCollator(extractor, features.labels, stored=travels, of_sound=features.of_sound)
        batch = pickle.loads(pickle.dumps(collate))(rows)
        if travels:
            assert batch["levels"].dtype == torch.int16 and batch["num_frames"][0] == rows[0]["num_frames"]
            with torch.autocast("cpu", torch.bfloat16):
                batch = collate.on_device(batch)
        assert batch["input_values"].dtype == torch.float32
        for waveform, values, num_frames in zip(sounds, batch["input_values"], batch["num_frames"], strict=True):
            (wanted,) = extractor([waveform], sampling_rate=RATE, return_tensors="pt")["input_values"]
            torch.testing.assert_close(values, wanted, rtol=0, atol=1e-4)
            assert num_frames == source.num_frames(len(waveform))
    decoded = features.kind.decode(rows[0])
    assert len(decoded) == features.window_frames and copy.deepcopy(features.kind).name == features.kind.name


def test_samples_after_the_end_of_a_window_have_no_effect(computed):
    of_sound, count = computed.of_sound, torch.tensor([SHORT, SHORT])
    waveforms = torch.zeros(2, 6400)
    waveforms[:, :SHORT] = torch.sin(torch.arange(SHORT) / 9)
    waveforms[1, SHORT:] = 1.0
    values, num_frames = of_sound.features_of(waveforms, count, computed.extractor)
    assert torch.equal(values[0], values[1]) and num_frames.tolist() == [28, 28]
    assert values[:, 28:].unique().tolist() == pytest.approx([computed.kind.padding_value(computed.extractor)])


@pytest.mark.parametrize("source", [SOURCES["fbank"], SOURCES["mel and mfcc by clip"], SOURCES["all channels of mono"]])
def test_features_are_computed_on_the_device_of_the_sound(source):
    """The meta device refuses to mix its tensors with those of the CPU, like a GPU, but computes nothing."""
    kind, sound = KINDS[source.parameters["kind"]], torch.zeros(2, 6400, device="meta")
    extractor = source.to_feature_extractor(source.window_frames(0.4), 0.0, 1.0)
    if {*PARTS} <= {*getattr(extractor, "channels", ())}:  # computed per window, whose length the CPU needs
        assert extractor.decibels_of(sound).device.type == "meta"
        return
    values, num_frames = kind.inputs_of_waveforms(sound, torch.zeros(2, dtype=torch.int64, device="meta"), extractor)
    assert values.device.type == num_frames.device.type == "meta"


# Statistics


def test_mean_and_standard_deviation_equal_those_of_stored_features(computed, stored):
    assert computed.extractor.mean == pytest.approx(stored.extractor.mean, abs=1e-3)
    assert computed.extractor.std == pytest.approx(stored.extractor.std, abs=1e-3)
    assert computed.window_frames == stored.window_frames and computed.clip_columns == stored.clip_columns
    assert computed.manifest["statistics"]["num_windows"] == 38


def test_statistics_are_measured_once_and_stored_with_the_dataset(folder, sound, computed, monkeypatch):
    monkeypatch.setattr(feature_statistics, "_measured", None)
    again = computed_features(load_features(folder), SOURCES["fbank"])
    assert again.manifest == computed.manifest and again.extractor.to_dict() == computed.extractor.to_dict()
    none = computed_features(sound, SOURCES["fbank, none"])
    assert none.manifest["statistics"]["num_windows"] == 0, "without normalization no statistics are needed"


@pytest.mark.parametrize("spoilt", [{"mean": 0.0, "std": 0}, {"mean": [1], "std": 2}, [1], None])
def test_invalid_stored_statistics_are_measured_again(folder, tmp_path, computed, spoilt):
    copied = in_shards(folder, tmp_path / "copy", (38,))
    (copied / feature_statistics.FILE).unlink(missing_ok=True)
    first = computed_features(load_features(copied), SOURCES["fbank"])
    path = copied / feature_statistics.FILE
    kept = json.loads(path.read_text())
    if isinstance(spoilt, dict):
        spoilt = {**spoilt, "num_windows": 38}
    path.write_text(json.dumps(dict.fromkeys(kept, spoilt)) if spoilt else "[cut off")
    again = computed_features(load_features(copied), SOURCES["fbank"])
    assert again.manifest == first.manifest and json.loads(path.read_text()) == kept


def test_large_datasets_are_measured_by_an_equal_share_of_each_shard(folder, hub, token, tmp_path, monkeypatch):
    """The same windows are chosen from a stream and from a folder."""
    assert chosen_windows((30, 10), 50) == [30, 10] and chosen_windows((30, 10), 20) == [15, 5]
    assert chosen_windows((30, 1), 4) == [4, 1]
    monkeypatch.setattr(feature_statistics, "MAX_WINDOWS", 12)
    monkeypatch.setattr(feature_statistics, "chosen_windows", lambda counts: chosen_windows(counts, 12))
    shards = in_shards(folder, tmp_path / "shards", (20, 18))
    local = computed_features(load_features(shards), SOURCES["spectrogram"])
    (shards / feature_statistics.FILE).unlink()
    streamed = computed_features(
        load_features(put_on(hub, "alice/sound", shards), streaming=True), SOURCES["spectrogram"]
    )
    assert local.manifest["statistics"]["num_windows"] == 7 + 6
    assert streamed.manifest["statistics"] == local.manifest["statistics"]
    rows = local.splits["train"].select([*range(7), *range(20, 26)])
    frames = np.concatenate([local.kind.decode(row) for row in rows])
    assert local.extractor.mean == pytest.approx([frames.mean()], abs=1e-3)
    assert local.extractor.std == pytest.approx([frames.std()], abs=1e-3)


# Uses


def test_baselines_and_figures_read_features(computed, stored):
    for one, other in zip(window_statistics(computed, "test"), window_statistics(stored, "test"), strict=True):
        np.testing.assert_allclose(one, other, atol=0.1)  # stored pixels are quantized
    assert clip_durations(computed)["test"] == pytest.approx(clip_durations(stored)["test"], abs=0.02)


def test_a_predictor_computes_what_its_model_reads(sound, computed, stored):
    model = tiny_model(stored)
    predictor = Predictor(model, computed.extractor)
    scores = predictor.scores(computed, "test")
    torch.testing.assert_close(predictor.scores(sound, "test").logits, scores.logits, rtol=0, atol=0)
    np.testing.assert_allclose(predictor.scores(stored, "test").logits, scores.logits, atol=0.02)
    embeddings = predictor.embeddings(sound, "test").values
    np.testing.assert_allclose(embeddings, predictor.embeddings(stored, "test").values, atol=0.05)
    shorter = SOURCES["fbank"].to_feature_extractor(20, 0.0, 1.0)
    with pytest.raises(InputError, match=r"\(38\) are longer than .* \(20\), and would be cut"):
        Predictor(model, shorter).scores(sound, "test")
    other_rate = KaldiFbank(8000, 32).to_feature_extractor(38, 0.0, 1.0)
    with pytest.raises(InputError, match="The features are waveform"):
        Predictor(model, other_rate).scores(sound, "test")


def test_training_and_evaluation_compute_the_same_features(computed, tmp_path):
    trainer = trainer_of(computed, tmp_path, arguments={"max_steps": 6, "dataloader_num_workers": 1})
    trainer.train_resumable()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses[-1] < losses[0]
    metrics, scores = trainer.evaluate(), trainer.predictor().scores(computed, "validation")
    assert metrics["eval_accuracy"] == np.mean(scores.logits.argmax(1) == scores.targets.argmax(1))
    settings = json.loads((tmp_path / "checkpoints" / "run.json").read_text())
    again = computed_features(load_features(computed.source), KaldiFbank(num_mel_bins=32, normalization="none"))
    assert settings["features"] != trainer_of(again, tmp_path / "other").settings["features"]


def test_networks_read_several_computed_channels(sound):
    features = computed_features(sound, SOURCES["all channels of mono"])
    collate = FeatureCollator(features.extractor, features.labels, of_sound=features.of_sound)
    batch = collate([features.splits["train"][0]])
    model = build_model("cnn", features).eval()
    assert model.config.num_channels == 5
    assert model(batch["input_values"], num_frames=batch["num_frames"]).logits.shape == (1, 3)


# Refusals


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (
            Waveform(),
            "waveform features cannot be computed on a device: give --features fbank or spectrogram, or leave",
        ),
        (KINDS["classical"].extractor(), "classical features cannot be computed on a device"),
        (Spectrogram(RATE, 32, 512, channels=("mel", "left")), "Sound is stored in mono, but left and right in --chan"),
        (KaldiFbank(22_050), "contains sound at 16000 Hz, but this run needs 22050 Hz: give --sample_rate 16000"),
        (
            Spectrogram(RATE, n_fft=8192),
            r"Windows of 0\.4 s are too short for spectrogram features, which need at least 0\.512",
        ),
    ],
)
def test_unsuitable_features_are_refused(sound, source, sentence):
    with pytest.raises(InputError, match=sentence):
        computed_features(sound, source)


def test_an_unknown_cut_as_in_a_config_is_refused():
    assert usage_in({"cut_as": "waveform", "window_s": 1.0}, "a model").cut_as == "waveform"
    with pytest.raises(InputError, match="a model has cut_as 'classical' in its config"):
        usage_in({"cut_as": "classical"}, "a model")


def test_unsuitable_stored_datasets_are_refused(stored, sound):
    with pytest.raises(
        InputError, match="contains fbank features, which are already computed: leave out --features_on"
    ):
        computed_features(stored, SOURCES["fbank"])
    without = copy.copy(sound)
    without.splits = {"test": sound.splits["test"]}
    with pytest.raises(InputError, match="has no train split"):
        computed_features(without, SOURCES["fbank"])
    short = {**sound.splits["test"][0], "num_frames": 20}
    of_sound = as_read_by(sound, SOURCES["fbank"].to_feature_extractor(38, 0.0, 1.0)).of_sound
    with pytest.raises(InputError, match="has 20 samples, expected 400 or more: download or build"):
        of_sound.decode(short)
