"""The resampler: published code resamples as training did, and reports say how much another resampler would change."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import soundfile
import torch
from sound_containers import contained, placed, written
from training_run import CLASSES, build_tiny_features, sound, tiny_model
from transformers.modeling_outputs import SequenceClassifierOutput

from hf_audio.analysis.evaluation import evaluate_model
from hf_audio.analysis.resampling import low_rates_note, resampling_facts
from hf_audio.data.building.build import build_features
from hf_audio.data.foreign.manifest import read_manifest
from hf_audio.data.index.labels import SINGLE_LABEL, LabelSpace
from hf_audio.data.index.table import Clip, CorpusCard, index_of, rows_of
from hf_audio.data.loading.features_dataset import load_features
from hf_audio.errors import InputError
from hf_audio.kinds._kaldi_fbank import KaldiFbank
from hf_audio.models.usage import Usage
from hf_audio.predictor import Predictor
from hf_audio.publishing.model_card import write_model_card
from hf_audio.training import AudioTrainer, Classification, training_arguments

CARD = CorpusCard("low", "CC0", may_redistribute=True)


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> pa.Table:
    """21 recordings at 8 kHz, except for one of the test split."""
    folder, random = tmp_path_factory.mktemp("recordings"), np.random.default_rng(0)
    clips = []
    for number in range(21):
        rate = 16_000 if number == 20 else 8_000
        path = folder / f"{number}.wav"
        soundfile.write(path, sound(number % 3, 0.5, random)[:: 16_000 // rate], rate)
        split = "train" if number < 12 else "test"
        clips.append(Clip(path, (CLASSES[number % 3],), f"g{number}", path.name, split=split))
    return index_of(clips)


@pytest.fixture(scope="module")
def features(clips, tmp_path_factory):
    folder = tmp_path_factory.mktemp("features") / "features"
    space = LabelSpace(CLASSES, SINGLE_LABEL)
    fbank = KaldiFbank(num_mel_bins=32)
    return load_features(build_features(clips, space, folder, fbank, window_s=0.4, hop_s=0.4, card=CARD, num_workers=1))


def trainer(features, folder) -> AudioTrainer:
    arguments = training_arguments(folder, report_to="none", use_cpu=True, eval_strategy="no")
    return AudioTrainer(tiny_model(features), arguments, Classification(features))


class HearsImages(torch.nn.Module):
    """Decides by the bands above 4.5 kHz only, where an 8 kHz recording has nothing but a resampler's images."""

    def __init__(self, border: float) -> None:
        super().__init__()
        self.border = torch.nn.Parameter(torch.tensor(border))

    def forward(self, input_values):
        high = input_values[:, :, 26:30].mean(dim=(1, 2)) - self.border
        return SequenceClassifierOutput(logits=torch.stack([high, -high, torch.full_like(high, -9.0)], dim=1))


def hearing(model: HearsImages, features) -> Predictor:
    labels = features.labels
    model.config = SimpleNamespace(id2label=labels.id2label, problem_type=labels.problem_type)
    usage = Usage(window_s=features.manifest["window_s"], hop_s=features.manifest["hop_s"])
    return Predictor(model, features.extractor, usage=usage)


def test_the_manifest_counts_the_recordings_by_their_own_rates(features):
    splits = features.manifest["splits"]
    assert splits["train"]["source_rates"] == {"8000": 12}
    assert splits["test"]["source_rates"] == {"8000": 8, "16000": 1}


@pytest.mark.parametrize("rates", [{"eight": 1}, {"8000": 0}, {"8000": "1"}, {"1": 3}, [8000], {"9" * 5000: 1}])
def test_source_rates_in_a_manifest_are_checked(features, tmp_path, rates):
    manifest = json.loads((features.index.parent / "manifest.json").read_text())
    manifest["splits"]["test"]["source_rates"] = rates
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=r"splits.test.source_rates is .* expected an object with the number of clips"):
        read_manifest(tmp_path / "manifest.json")


def test_predictions_that_depend_on_the_resampler_are_counted(features, clips):
    """A model that sees only what resamplers leave above the recordings' band depends on the resampler."""
    facts = resampling_facts(hearing(HearsImages(-0.2), features), features, "test", lambda: clips, 0.5)
    assert facts["source_rates"] == {"8000": 8, "16000": 1}
    assert facts["num_clips"] == 8 and facts["num_other_answers"] == 6  # all except the low hums
    deaf = hearing(HearsImages(-99.0), features)
    assert resampling_facts(deaf, features, "test", lambda: clips, 0.5)["num_other_answers"] == 0


@pytest.mark.parametrize("kind", ["parquet", "tar"])
def test_recordings_in_containers_are_read_from_their_start(features, clips, tmp_path, kind):
    moved, files = contained(list(rows_of(clips)), kind, 40)
    index = index_of(placed(moved, str(written(files, tmp_path))))
    facts = resampling_facts(hearing(HearsImages(-0.2), features), features, "test", lambda: index, 0.5)
    assert facts["num_clips"] == 8 and facts["num_other_answers"] == 6, "the same as for files"


def test_report_and_card_say_how_much_another_resampler_changes(features, clips, tmp_path):
    report = evaluate_model(trainer(features, tmp_path), features, tmp_path, recordings=lambda: clips)
    assert report["resampling"]["num_clips"] == 8
    assert any(note.startswith("8 of 9 test recordings have a sample rate below") for note in report["notes"])
    changed = report["resampling"]["num_other_answers"]
    text = " ".join(write_model_card(tmp_path, report).read_text().split())
    assert f"Of 8 test recordings that are not at 16000 Hz, {changed or 'none'} got a different prediction" in text


def test_without_recordings_the_report_says_that_nothing_was_measured(features, tmp_path):
    report = evaluate_model(trainer(features, tmp_path), features, tmp_path)
    assert report["resampling"]["num_clips"] == 0 and report["resampling"]["num_other_answers"] is None
    assert "was not measured" in write_model_card(tmp_path, report).read_text()


def test_without_resampled_recordings_there_is_no_note(tmp_path):
    features = load_features(build_tiny_features(tmp_path / "features", SINGLE_LABEL))

    def never():
        raise AssertionError("recordings were read")

    report = evaluate_model(trainer(features, tmp_path), features, tmp_path, recordings=never)
    assert report["resampling"] is None
    text = write_model_card(tmp_path, report).read_text()
    assert "not measured" not in text and "different prediction" not in text


def test_a_few_low_rates_give_no_note():
    assert low_rates_note({"8000": 2, "44100": 3}, 16_000, "test") == []
    assert low_rates_note({}, 16_000, "test") == []
    assert "most often 11,025 Hz" in low_rates_note({"8000": 2, "11025": 3}, 16_000, "test")[0]


def test_pairs_of_rates_that_need_a_huge_filter_are_left_out(features, clips, tmp_path):
    path = tmp_path / "odd.wav"
    soundfile.write(path, 0.1 * np.random.default_rng(0).normal(size=44_101), 44_101)
    odd = replace(list(rows_of(clips))[12], path=str(path))
    predictor = hearing(HearsImages(0.0), features)
    assert resampling_facts(predictor, features, "test", lambda: index_of([odd]), 0.5)["num_clips"] == 0
