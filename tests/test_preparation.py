"""From settings to a feature dataset: negatives of another corpus, random splits, and what the card says of them."""

from __future__ import annotations

import json

import pytest
from corpus_trees import TREES

from hf_audio.config import DataConfig, FeatureConfig
from hf_audio.data.features_dataset import FeatureCollator, load_features
from hf_audio.errors import InputError
from hf_audio.preparation import build_corpus_features, corpus_clips


@pytest.fixture(scope="module")
def irmas(tmp_path_factory):
    return TREES["irmas"](tmp_path_factory.mktemp("irmas"))


@pytest.fixture(scope="module")
def esc50(tmp_path_factory):
    return TREES["esc50"](tmp_path_factory.mktemp("esc50"))


@pytest.fixture(scope="module")
def gtzan(tmp_path_factory):
    return TREES["gtzan"](tmp_path_factory.mktemp("gtzan"))


def test_noises_train_as_clips_without_any_instrument(irmas, esc50, tmp_path):
    alone = corpus_clips(DataConfig(corpus="irmas", data_dir=str(irmas)))
    data = DataConfig(
        corpus="irmas", data_dir=str(irmas), negatives="esc50", negatives_dir=str(esc50), num_workers=1, clip_s=1.0
    )
    prepared = corpus_clips(data)
    assert prepared.labels == alone.labels, "noises bring no class with them"
    noises = [clip for clip in prepared.clips if clip.clip_id.startswith("esc50/")]
    assert noises and len(prepared.clips) == len(alone.clips) + len(noises)
    assert {(clip.labels, clip.unknown, clip.split) for clip in noises} == {((), (), "train")}
    assert not {clip.group for clip in noises} & {clip.group for clip in alone.clips}

    folder = build_corpus_features(data, tmp_path / "features", FeatureConfig(window_s=1.0, num_mel_bins=32))
    features = load_features(folder)
    rows = [row for row in features.splits["train"] if row["clip_id"].startswith("esc50/")]
    batch = FeatureCollator(features.extractor, features.labels)(rows)
    assert len(rows) == len(noises) and (batch["labels"] == 0).all()
    corpus = json.loads((folder / "manifest.json").read_text())["corpus"]
    assert "clips of ESC-50 (CC BY-NC 3.0) as examples without any class" in corpus["protocol"]
    assert corpus["may_redistribute"] is False


def test_clips_without_a_class_need_a_corpus_with_several_labels(gtzan, esc50):
    data = DataConfig(corpus="gtzan", data_dir=str(gtzan), negatives="esc50", negatives_dir=str(esc50))
    with pytest.raises(
        InputError, match="--negatives esc50 are clips without any class, but each clip has exactly one"
    ):
        corpus_clips(data)


def test_a_random_split_takes_all_tracks_and_is_marked(gtzan, tmp_path):
    official = corpus_clips(DataConfig(corpus="gtzan", data_dir=str(gtzan)))
    drawn = corpus_clips(DataConfig(corpus="gtzan", data_dir=str(gtzan), split="random", test_fraction=0.3))
    assert "RANDOM SPLIT" in drawn.card.protocol and "RANDOM" not in official.card.protocol
    split_of = {clip.clip_id: clip.split for clip in official.clips}
    assert {clip.clip_id for clip in drawn.clips} >= split_of.keys()
    assert any(clip.split != split_of[clip.clip_id] for clip in drawn.clips if clip.clip_id in split_of)
    groups = [{clip.group for clip in drawn.clips if clip.split == split} for split in ("train", "validation", "test")]
    assert all(groups) and sum(map(len, groups)) == len(set.union(*groups))


def test_splits_that_do_not_fit_together(gtzan, esc50):
    with pytest.raises(InputError, match="--split rnadom is unknown; expected official or random"):
        corpus_clips(DataConfig(corpus="gtzan", data_dir=str(gtzan), split="rnadom"))
    with pytest.raises(InputError, match="--fold 1 is an official fold: leave it out"):
        corpus_clips(DataConfig(corpus="esc50", data_dir=str(esc50), split="random", fold="1"))
