"""Backgrounds and impulse responses are read from the given places, and never from test recordings."""

from __future__ import annotations

from types import SimpleNamespace

import corpus_trees
import numpy as np
import pytest
import soundfile
import test_esc50
import tone_corpus
import torch
from waveforms import RATE, tone

from hf_audio.augment import augmentation_for, waveform_steps
from hf_audio.augment.waveform import example_waveform_augmentations
from hf_audio.config import AugmentConfig, DataConfig, FeatureConfig, WaveformAugmentConfig
from hf_audio.corpora import corpus_named
from hf_audio.data.index.table import rows_of
from hf_audio.data.loading.features_dataset import load_features
from hf_audio.errors import InputError
from hf_audio.kinds.waveform import Waveform
from hf_audio.parsing import parse_recipe
from hf_audio.preparation import read_corpora
from hf_audio.preparation.added_sounds import added_sounds, require_added_sounds
from hf_audio.training import Classification
from hf_audio.training.objective import Places

MANIFEST = {"corpus": {"name": "mine", "others": []}}
MINE = DataConfig(data_dir="mine")


def read(config, data=MINE, manifest=MANIFEST, stored=False):
    return added_sounds(WaveformAugmentConfig(**config), data, manifest, RATE, stored)


@pytest.fixture(scope="module")
def esc50(tmp_path_factory):
    """Ten clips in the layout of ESC-50. One is broken."""
    root = test_esc50.make_tree(tmp_path_factory.mktemp("esc50"), categories=1)
    for number, path in enumerate(sorted(root.rglob("*.wav"))):
        soundfile.write(path, tone(300.0 + 100 * number, 3000).numpy(), 8000)
    path.write_bytes(b"RIFF")
    return root


def test_a_corpus_can_be_a_background_and_its_license_is_reported(esc50, caplog):
    pool = read({"background": "esc50", "background_dir": str(esc50)}).background
    assert (pool.name, pool.license, pool.num_recordings) == ("ESC-50", "CC BY-NC 3.0", 9)
    assert pool.seconds == pytest.approx(9 * 3000 / 8000, abs=0.1) and pool.lengths.tolist() == [6000] * 9
    assert "1 recordings are left out, first" in caplog.text
    again = read({"background": "esc50", "background_dir": str(esc50)}).background
    assert repr(again) == repr(pool) and str(esc50) not in repr(pool)


def test_what_is_left_out_of_a_large_background_is_reported(esc50, caplog, monkeypatch):
    monkeypatch.setattr("hf_audio.preparation.added_sounds.MAX_POOL_S", 1.0)
    pool = read({"background": "esc50", "background_dir": str(esc50)}).background
    assert f"esc50: {pool.num_recordings} of 10 recordings are used, chosen at random" in caplog.text
    assert pool.num_recordings < 9


def test_a_folder_can_be_backgrounds_or_impulse_responses(esc50, tmp_path):
    pool = read({"background": str(esc50)}).background
    assert (pool.license, pool.num_recordings) == ("", 9) and str(esc50.parent) not in repr(pool)
    late = np.zeros(RATE, dtype=np.float32)
    late[4000:4003] = (0.1, -0.9, 0.3)
    soundfile.write(tmp_path / "hall.wav", late, RATE)
    rooms = read({"impulse_responses": str(tmp_path)}).rooms
    assert rooms.num_recordings == 1 and rooms.lengths[0] == RATE - 4001
    response = rooms.whole(torch.zeros(1), torch.device("cpu"))[0]
    assert (response[:3] / response[0]).tolist() == pytest.approx([1, -0.333, 0], abs=1e-3)
    assert read({"impulse_responses": "synthetic"}).rooms is None


@pytest.mark.parametrize(
    ("config", "data", "sentence"),
    [
        (
            {"background": "esc05"},
            MINE,
            "--background esc05 does not exist, expected the name of a corpus or a folder of",
        ),
        ({"background": "esc05"}, MINE, "did you mean 'esc50'"),
        ({"background": "esc50"}, DataConfig(corpus="esc50"), "is the corpus that is trained on"),
        ({"background": "esc50"}, DataConfig(corpus="esc50", fold="2"), "is the corpus that is trained on"),
        ({"background_dir": "x"}, MINE, "--background_dir x is the folder of a corpus that --background"),
        ({"impulse_responses": "sythetic"}, MINE, "expected a folder of recordings or synthetic"),
    ],
)
def test_missing_and_tested_recordings_are_refused(config, data, sentence, esc50):
    with pytest.raises(InputError, match=sentence):
        read(config | ({"background_dir": str(esc50)} if "esc50" in config.values() else {}), data)


def test_a_failed_download_error_names_the_flag_for_backgrounds(monkeypatch, tmp_path):
    def fails(*args):
        raise InputError("ESC-50 could not be downloaded; give its folder as --data_dir")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(read_corpora, "obtain_corpus", fails)
    with pytest.raises(InputError, match="give its folder as --background_dir"):
        read({"background": "esc50"})


def test_recordings_of_the_trained_corpus_are_refused_under_any_path(esc50):
    own = DataConfig(data_dir=str(esc50))
    for folder in (esc50, esc50 / "ESC-50-master" / "audio", esc50.parent):
        with pytest.raises(InputError, match="test recordings would be used in training"):
            require_added_sounds(WaveformAugmentConfig(background=str(folder)), own)
    made_of = {"corpus": {"name": "ESC-50", "others": []}}
    for stored in (False, True):
        with pytest.raises(InputError, match="is the corpus that is trained on"):
            read({"background": "esc50", "background_dir": str(esc50)}, MINE, made_of, stored)


def test_only_the_official_train_split_of_the_trained_corpus_is_a_background(tmp_path):
    root = corpus_trees.gtzan_tree(tmp_path)
    clips = list(rows_of(corpus_named("gtzan").index(root)))
    of_training = [clip for clip in clips if clip.split == "train"]
    assert 0 < len(of_training) < len(clips)
    settings = {"background": "gtzan", "background_dir": str(root)}
    own = DataConfig(corpus="gtzan", data_dir=str(root))
    assert read(settings, own).background.num_recordings == len(of_training)
    assert read(settings).background.num_recordings == len(clips)
    with pytest.raises(InputError, match="is the corpus that is trained on"):
        read(settings, DataConfig(corpus="gtzan", data_dir=str(root), split="random"))


def test_settings_beyond_the_sample_rate_are_refused_before_building():
    codec = WaveformAugmentConfig(wave_codec_probability=0.5, wave_codec_names=["opus"])
    require_added_sounds(codec, MINE, FeatureConfig(features="waveform"))
    with pytest.raises(InputError, match="--wave_codec_names opus cannot encode sound at 22050 Hz"):
        require_added_sounds(codec, MINE, FeatureConfig(features="spectrogram", features_on_device=True))
    low = WaveformAugmentConfig(wave_low_pass_probability=0.5)
    with pytest.raises(InputError, match="must be below half the sample rate"):
        require_added_sounds(low, MINE, FeatureConfig(features="waveform", sample_rate=8000))


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--wave_background_snr_db", "3", "9"], "give --background too"),
        (["--wave_reverb_probability", "0.3"], "give --impulse_responses too"),
        (
            ["--impulse_responses", "rooms", "--wave_reverb_rt60_s", "1", "2"],
            "it only applies to --impulse_responses synthetic",
        ),
        (["--background", "esc50", "--wave_background_probability", "0"], "--wave_background_probability is 0"),
        (["--wave_effect_names", "fade"], "--wave_effect_probability is 0: give it too"),
        (["--wave_codec_names", "mp3"], "--wave_codec_probability is 0: give it too"),
        (["--wave_speed_ratio", "1", "2"], "--wave_speed_probability is 0: give it too"),
    ],
)
def test_settings_that_need_another_setting_are_refused_without_it(argv, sentence):
    with pytest.raises(InputError, match=sentence):
        parse_recipe({"output_dir": "runs/x", "features": "waveform"}, argv=argv)


class Heard(torch.nn.Module):
    """A model that stores its inputs."""

    config = SimpleNamespace(metadata=None, head=None)

    def forward(self, input_values, attention_mask=None):
        self.heard = input_values, attention_mask
        return SimpleNamespace(logits=input_values[:, 100:103].cumsum(dim=1))


@pytest.fixture(scope="module")
def features(tones, tmp_path_factory):
    folder = tone_corpus.build(tones, tmp_path_factory.mktemp("features") / "f", Waveform())
    features = load_features(folder)
    features.extractor.return_attention_mask = True
    return features


def test_augmented_waveforms_are_normalized_and_independent_of_the_batch_division(features):
    examples = example_waveform_augmentations()
    names = ("speed", "pitch", "noise", "reverb, synthetic", "mp3", "effect fade")
    config = {name: value for one in names for name, value in examples[one].items()}
    steps = waveform_steps(WaveformAugmentConfig(**config | {"wave_speed_ratio": [1.1, 1.2]}), RATE)
    objective = Classification(
        features, augment=augmentation_for(AugmentConfig(), features.extractor, features.labels, steps)
    )
    assert "SyntheticReverb(probability=1.0" in objective.settings()["augmentation"]
    model, rows = Heard(), [features.splits["train"][number] for number in range(8)]
    objective.attach(model)
    together = objective.losses(model, objective.collator(rows), Places(0, 3, range(8)))
    (heard, mask), longest = model.heard, max(row["num_frames"] for row in rows)
    assert (mask.sum(dim=1) < longest).all(), "a higher speed makes windows shorter"
    for window, own in zip(heard, mask.bool(), strict=True):
        assert not window[~own].any() and window[own].std() == pytest.approx(1, abs=1e-3)
    halves = [
        objective.losses(model, objective.collator(rows[half]), Places(0, 3, range(8)[half]))
        for half in (slice(0, 4), slice(4, 8))
    ]
    torch.testing.assert_close(torch.cat(halves), together, rtol=1e-4, atol=1e-5)
    plain = Classification(features)
    plain.attach(model)
    assert not torch.allclose(plain.losses(model, plain.collator(rows), Places(0, 3, range(8))), together)
