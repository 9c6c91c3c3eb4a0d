"""From settings to a feature dataset: negatives of another corpus, random splits, and the card's text about them."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter

import numpy as np
import pytest
import soundfile
from corpus_trees import TREES

from hf_audio.config import DataConfig, FeatureConfig, MixingConfig
from hf_audio.data.index.table import index_of, rows_of
from hf_audio.data.loading.feature_collator import FeatureCollator
from hf_audio.data.loading.features_dataset import load_features
from hf_audio.data.recordings import lengths
from hf_audio.errors import InputError
from hf_audio.preparation import build_corpus_features, corpus_clips, default_window_s


@pytest.fixture(scope="module")
def irmas(tmp_path_factory):
    return TREES["irmas"](tmp_path_factory.mktemp("irmas"))


@pytest.fixture(scope="module")
def esc50(tmp_path_factory):
    return TREES["esc50"](tmp_path_factory.mktemp("esc50"))


@pytest.fixture(scope="module")
def gtzan(tmp_path_factory):
    return TREES["gtzan"](tmp_path_factory.mktemp("gtzan"))


def test_negatives_are_training_clips_without_any_instrument(irmas, esc50, tmp_path):
    alone = corpus_clips(DataConfig(corpus="irmas", data_dir=str(irmas)))
    data = DataConfig(
        corpus="irmas", data_dir=str(irmas), negatives="esc50", negatives_dir=str(esc50), num_workers=1, clip_s=1.0
    )
    prepared = corpus_clips(data)
    assert prepared.labels == alone.labels, "negatives add no class"
    noises = [clip for clip in rows_of(prepared.clips) if clip.clip_id.startswith("esc50/")]
    assert noises and len(prepared.clips) == len(alone.clips) + len(noises)
    assert {(clip.labels, clip.unknown, clip.split) for clip in noises} == {((), (), "train")}
    assert not {clip.group for clip in noises} & {clip.group for clip in rows_of(alone.clips)}

    folder = build_corpus_features(data, tmp_path / "features", FeatureConfig(window_s=1.0, num_mel_bins=32))
    features = load_features(folder)
    rows = [row for row in features.splits["train"] if row["clip_id"].startswith("esc50/")]
    batch = FeatureCollator(features.extractor, features.labels)(rows)
    assert len(rows) == len(noises) and (batch["labels"] == 0).all()
    corpus = json.loads((folder / "manifest.json").read_text())["corpus"]
    assert "clips of ESC-50 (CC BY-NC 3.0) without any of the classes" in corpus["protocol"]
    assert corpus["may_redistribute"] is False


def test_clips_without_a_class_need_a_corpus_with_several_labels(gtzan, esc50):
    data = DataConfig(corpus="gtzan", data_dir=str(gtzan), negatives="esc50", negatives_dir=str(esc50))
    with pytest.raises(
        InputError, match="--negatives esc50 are clips without any class, but here each clip has exactly one"
    ):
        corpus_clips(data)


def test_negatives_do_not_decide_the_window(irmas, esc50):
    """ESC-50's clips are longer than IRMAS's, and so are these after cutting."""
    data = DataConfig(corpus="irmas", data_dir=str(irmas), negatives="esc50", negatives_dir=str(esc50))
    clips = rows_of(corpus_clips(data).clips)
    clips = [dataclasses.replace(clip, end_s=None if clip.labels else 4.0) for clip in clips]
    assert sum(not clip.labels for clip in clips) > 0.1 * len(clips) and default_window_s(index_of(clips)) == 1.0


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"negatives_dir": "noises"}, "--negatives_dir noises was given without --negatives"),
        ({"negatives": "irmas"}, "--negatives irmas is the training corpus itself"),
        ({"clip_s": -3.0}, "--clip_s must be above 0, found -3"),
        ({"clip_s": 0.0}, "--clip_s must be above 0, found 0"),
    ],
)
def test_useless_and_harmful_settings_are_refused(irmas, settings, sentence):
    with pytest.raises(InputError, match=sentence):
        corpus_clips(DataConfig(corpus="irmas", data_dir=str(irmas), **settings))


def test_the_card_names_the_test_data(irmas, esc50):
    data = DataConfig(corpus="esc50", data_dir=str(esc50), fold="2")
    assert corpus_clips(data).card.protocol.endswith("mean accuracy over the folds. Tested on fold 2 only.")
    groups = sorted({clip.group for clip in rows_of(corpus_clips(data).clips)})[::4]
    by_group = corpus_clips(dataclasses.replace(data, fold=None, test_groups=groups, validation_fraction=0.0))
    assert f"Tested on 3 chosen groups: {', '.join(groups)}." in by_group.card.protocol
    assert "ested on fold" not in by_group.card.protocol and "NO official" not in by_group.card.protocol
    assert "NO official" not in corpus_clips(DataConfig(corpus="irmas", data_dir=str(irmas))).card.protocol


def test_clips_with_one_class_are_mixed_when_several_labels_are_allowed(gtzan, esc50):
    one_class = DataConfig(corpus="gtzan", data_dir=str(gtzan))
    with pytest.raises(InputError, match="this task is single-label: add --several_labels"):
        corpus_clips(one_class, MixingConfig(mix_fraction=0.5))
    settings = {"several_labels": True, "negatives": "esc50", "negatives_dir": str(esc50)}
    found = corpus_clips(dataclasses.replace(one_class, **settings), MixingConfig(mix_fraction=0.5, mix_clips=[2, 2]))
    mixtures = [clip for clip in rows_of(found.clips) if clip.parts]
    assert mixtures and all(len(clip.labels) == 2 for clip in mixtures)
    assert any(not clip.labels for clip in rows_of(found.clips)) and found.labels.is_multi_label
    assert found.labels.names == corpus_clips(one_class).labels.names
    assert "as a multi-label task" in found.card.protocol


def test_a_random_split_uses_all_tracks_and_is_marked(gtzan, tmp_path):
    official = corpus_clips(DataConfig(corpus="gtzan", data_dir=str(gtzan)))
    drawn = corpus_clips(DataConfig(corpus="gtzan", data_dir=str(gtzan), split="random", test_fraction=0.3))
    assert "RANDOM SPLIT" in drawn.card.protocol and "RANDOM" not in official.card.protocol
    split_of = {clip.clip_id: clip.split for clip in rows_of(official.clips)}
    assert {clip.clip_id for clip in rows_of(drawn.clips)} >= split_of.keys()
    assert any(clip.split != split_of[clip.clip_id] for clip in rows_of(drawn.clips) if clip.clip_id in split_of)
    groups = [
        {clip.group for clip in rows_of(drawn.clips) if clip.split == split}
        for split in ("train", "validation", "test")
    ]
    assert all(groups) and sum(map(len, groups)) == len(set.union(*groups))


def test_contradictory_split_settings(gtzan, esc50):
    with pytest.raises(InputError, match="Unknown --split 'rnadom': did you mean 'random'"):
        corpus_clips(DataConfig(corpus="gtzan", data_dir=str(gtzan), split="rnadom"))
    with pytest.raises(InputError, match="--fold 1 is an official fold: leave it out"):
        corpus_clips(DataConfig(corpus="esc50", data_dir=str(esc50), split="random", fold="1"))


def test_whole_clips_are_one_window_each(tmp_path):
    for number, num_samples in enumerate((2000, 3500, 5011, 4000, 2500, 3000)):
        path = tmp_path / "corpus" / "ab"[number % 2] / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.random.default_rng(number).uniform(-0.5, 0.5, num_samples), 8000)
    data = DataConfig(data_dir=str(tmp_path / "corpus"), num_workers=1, test_fraction=0.3)
    settings = FeatureConfig(features="waveform", sample_rate=8000, window_s=0)
    features = load_features(build_corpus_features(data, tmp_path / "features", settings))
    rows = [row for split in features.splits.values() for row in split]
    assert sorted(row["num_frames"] for row in rows) == [2000, 2500, 3000, 3500, 4000, 5011]
    assert features.manifest["window_s"] == 0.63


def test_headers_are_read_once_per_build_and_again_for_replaced_files(tmp_path, monkeypatch):
    paths = [tmp_path / "tones" / "ab"[number % 2] / f"{number}.wav" for number in range(12)]
    for number, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, 0.3 * np.sin(np.arange(8000) * (0.1 + 0.01 * number)), 16_000)
    probed, probe = Counter(), lengths.probe
    monkeypatch.setattr(lengths, "probe", lambda path: (probed.update([path]), probe(path))[1])
    data = DataConfig(data_dir=str(tmp_path / "tones"), num_workers=1)
    build_corpus_features(data, tmp_path / "features")  # also chooses the window and looks for low sampling rates
    assert probed == dict.fromkeys(map(str, paths), 1)
    soundfile.write(paths[0], np.full(8000, 0.1), 8000)
    assert lengths.header_of(str(paths[0])).sample_rate == 8000


def test_unknown_metadata_is_refused_before_features_are_built(irmas, tmp_path):
    data = DataConfig(corpus="irmas", data_dir=str(irmas), num_workers=1)
    with pytest.raises(InputError, match="Unknown metadata field 'drum': did you mean 'drums'"):
        build_corpus_features(data, tmp_path / "features", metadata=["drum"])
    assert not (tmp_path / "features").exists()
