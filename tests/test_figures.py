"""Plots of data: counts and projections, and all plots of a real dataset."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tone_corpus
import torch
from matplotlib.text import Text
from PIL import Image

from hf_audio.analysis.data_figures import _write_projector, draw_features
from hf_audio.augment import augmentation_for
from hf_audio.config import AugmentConfig
from hf_audio.data.building.build import build_features
from hf_audio.data.index.labels import LabelSpace
from hf_audio.data.index.table import index_of
from hf_audio.data.loading.features_dataset import load_features
from hf_audio.errors import InputError
from hf_audio.figures.augmented import augmented_plot
from hf_audio.figures.clips import clip_durations, co_occurrence, label_count_plot
from hf_audio.figures.figures import png, short_name
from hf_audio.figures.page import player
from hf_audio.figures.projections import project
from hf_audio.figures.variances import feature_variances
from hf_audio.figures.windows import (
    class_distribution,
    distributions_of_datasets,
    feature_groups,
    means_plot,
    windows_plot,
)
from hf_audio.kinds._spectrogram_settings import Spectrogram
from hf_audio.kinds.classical import ClassicalFeatures
from hf_audio.kinds.waveform import Waveform

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def classical(tones, tmp_path_factory) -> Path:
    clips = tone_corpus.tone_clips(tones, 40)
    options = {"card": tone_corpus.CARD, "num_workers": 1, "window_s": 1.2, "hop_s": 1.2}
    folder = tmp_path_factory.mktemp("features") / "classical"
    return build_features(index_of(clips), tone_corpus.LABELS, folder, ClassicalFeatures(), **options)


def clusters(num_points: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Three clusters in ten dimensions, and the cluster of each point."""
    random = np.random.default_rng(0)
    member = np.arange(num_points) % 3
    return random.normal(0, 0.3, (num_points, 10)) + 4 * random.normal(0, 1, (3, 10))[member], member


@pytest.mark.parametrize("method", ["pca", "tsne", "umap"])
def test_clusters_stay_separate_in_projections(method):
    if method == "umap":
        pytest.importorskip("umap")
    vectors, member = clusters()
    projection = project(vectors.astype(np.float32), method)
    assert projection.points.shape == (60, 2)
    centers = np.stack([projection.points[member == one].mean(axis=0) for one in range(3)])
    nearest = np.linalg.norm(projection.points[:, None] - centers, axis=2).argmin(axis=1)
    assert (nearest == member).all(), f"{method} mixes separate clusters"
    np.testing.assert_array_equal(projection.points, project(vectors.astype(np.float32), method).points)


def test_explained_variance_is_that_of_standardized_values():
    vectors, _ = clusters()
    projection = project(vectors.astype(np.float32))
    standardized = (vectors - vectors.mean(axis=0)) / vectors.std(axis=0)
    eigenvalues = np.sort(np.linalg.eigvalsh(np.cov(standardized.T)))[::-1]
    np.testing.assert_allclose(projection.explained, eigenvalues / eigenvalues.sum(), rtol=1e-3)
    assert f"{100 * projection.explained[:2].sum():.1f}% of the variance" in projection.caption


@pytest.mark.parametrize(("vectors", "method", "sentence"), [
    (np.zeros((3, 4), np.float32), "pca", "3 points are too few for a projection; at least 8 are needed"),
    (np.zeros((30, 4), np.float32), "tnse", "projection 'tnse'.*tsne"),
])  # fmt: skip
def test_what_cannot_be_projected_is_refused(vectors, method, sentence):
    with pytest.raises(InputError, match=sentence):
        project(vectors, method)


def test_co_occurrence_counts_only_known_pairs():
    targets = np.array([[1, 1, 0], [1, 0, np.nan], [1, np.nan, 1], [0, 1, 1]], dtype=np.float32)
    shares = co_occurrence(targets)
    np.testing.assert_allclose(shares[0], [1, 1 / 2, 1 / 2])
    np.testing.assert_allclose(shares[1], [1 / 2, 1, 1 / 2])
    assert np.isnan(co_occurrence(np.zeros((3, 2)))).all()


def test_the_feature_that_separates_classes_best_comes_first():
    member = np.repeat([0, 1], 50)
    random = np.random.default_rng(0)
    apart, mixed = member * 0.01, 1000 * random.normal(size=100)
    found = feature_variances(
        np.stack([mixed, apart, np.ones(100)], axis=1), np.eye(2)[member], ("mixed", "apart", "one")
    )
    assert found[0].name == "apart" and found[0].between_classes == pytest.approx(1.0)
    by_name = {one.name: one for one in found}
    assert by_name["mixed"].variance == pytest.approx(mixed.var()) and by_name["mixed"].between_classes < 0.1
    assert by_name["one"].variance == by_name["one"].between_classes == 0
    # eta squared by its definition
    grand, parts = mixed.mean(), [mixed[member == one] for one in (0, 1)]
    between = sum(len(part) * (part.mean() - grand) ** 2 for part in parts) / ((mixed - grand) ** 2).sum()
    assert by_name["mixed"].between_classes == pytest.approx(between)


def test_durations_equal_those_of_the_files(tones, tone_features, tmp_path):
    durations_s = clip_durations(load_features(tone_features))
    clips = tone_corpus.tone_clips(tones)
    assert {split: len(found) for split, found in durations_s.items()} == {
        split: sum(clip.split == split for clip in clips) for split in durations_s
    }
    short = [dataclasses.replace(clip, end_s=0.5 if clip.split == "test" else None) for clip in clips]
    options = {"card": tone_corpus.CARD, "num_workers": 1, "window_s": 1.0, "hop_s": 1.0}
    folder = build_features(index_of(short), tone_corpus.LABELS, tmp_path / "f", tone_corpus.KaldiFbank(), **options)
    durations_s = clip_durations(load_features(folder))
    np.testing.assert_allclose(durations_s["test"], 0.5, atol=0.02)
    assert (durations_s["train"] >= 1.0).all()


def test_masks_are_visible_in_plots(tone_features):
    features = load_features(tone_features)
    augment = augmentation_for(AugmentConfig(time_mask_s=0.1, frequency_mask_bins=30), features.extractor)
    figure = augmented_plot(features, augment)
    planes = [np.asarray(axis.images[0].get_array()) for axis in figure.axes]
    count = len(planes) // 3
    for number in range(count):
        first, second = planes[count + number], planes[2 * count + number]
        assert (first == 0).sum() > (planes[number] == 0).sum() + 50 and not np.array_equal(first, second)


NAMES = ("$a$ and $\\b$", "a very long name of a class, number 1", "a very long name of a class, number 2")


def test_class_names_are_not_formulas_and_do_not_overlap():
    """Dollar signs would start formulas, which may be invalid. Long names are shortened so that they stay distinct."""
    facts = {"num_clips": 6, "label_counts": dict.fromkeys(NAMES, 2)}
    windows = {name: np.random.default_rng(0).normal(size=(90, 16)) for name in NAMES}
    groups = feature_groups(ClassicalFeatures().parameters)
    plots = {
        "distribution": class_distribution({"label_names": list(NAMES), "splits": {"train": facts}}),
        "windows": windows_plot(windows, 0.01),
        "means": means_plot({name: np.zeros(174) for name in NAMES}, groups),
    }
    for title, figure in plots.items():
        assert len(png(figure)) > 1000, title
        said = {text.get_text() for text in figure.findobj(Text)}
        assert {short_name(name) for name in NAMES} <= said, title
        cover = overlapping([*(axis.title for axis in figure.axes), *figure.axes[0].get_xticklabels()])
        assert not cover, f"{title}: {cover}"


def overlapping(texts: list[Text]) -> list[tuple[str, str]]:
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts if text.get_text() and text.get_visible()]
    return [(one, other) for (one, box), (other, beside) in itertools.combinations(boxes, 2) if box.overlaps(beside)]


@pytest.mark.parametrize(
    "extractor", [Spectrogram(channels=("mel", "harmonic")), Waveform()], ids=["two channels", "sound"]
)
def test_plots_of_other_features_without_some_splits_and_labels(tones, extractor, tmp_path):
    """Two channels, and sound. Labels are partly unknown or missing, and there are too few windows for projections."""
    clips = [dataclasses.replace(clip, split="train", unknown=()) for clip in tone_corpus.tone_clips(tones, 6)]
    clips[0] = dataclasses.replace(clips[0], labels=(), unknown=("high",))
    labels = LabelSpace(tone_corpus.LABELS.names, "multi_label_classification")
    options = {"card": tone_corpus.CARD, "num_workers": 1, "window_s": 1.0, "hop_s": 1.0}
    features = load_features(build_features(index_of(clips), labels, tmp_path / "f", extractor, **options))
    page = draw_features(features, tmp_path / "plots")
    names = {path.name for path in page.parent.iterdir()}
    assert names == {
        "README.md",
        "classes.png",
        "durations.png",
        "windows.png",
        "co_occurrence_train.png",
        "label_counts.png",
    }


def test_the_number_of_classes_per_clip_is_plotted():
    targets = np.array([[1, 1, 0], [0, np.nan, 0], [1, np.nan, 1], [0, 0, 0]], dtype=np.float32)
    axis = label_count_plot({"train": targets}).axes[0]
    assert [bar.get_height() for bar in axis.patches] == [2, 0, 2]
    assert axis.get_title(loc="left") == "train: 4 clips, 1.00 classes on average"


def test_classes_of_several_datasets_are_drawn_side_by_side(tone_features):
    features = load_features(tone_features)
    others = {"num_clips": 8, "label_counts": {"low": 6, "whistle": 2}}
    manifests = {"mine": features.manifest, "other": {"label_names": ["low", "whistle"], "splits": {"train": others}}}
    mine, other = distributions_of_datasets(manifests).axes
    assert [label.get_text() for label in mine.get_yticklabels()] == [*features.labels.names, "whistle"]
    assert [bar.get_width() for bar in other.patches] == [0, 6 / 8, 0, 2 / 8]
    assert [text.get_text() for text in other.texts] == ["", "6", "", "2"]
    assert sum(bar.get_width() for bar in mine.patches) == pytest.approx(1)


def test_a_dataset_on_the_hub_has_the_same_plots(tone_features, hub, token, tmp_path):
    from hf_audio.publishing.push import push_features

    push_features(shutil.copytree(tone_features, tmp_path / "features"), "alice/drawn")  # also writes the card
    page = draw_features(load_features("alice/drawn"), tmp_path / "hub", projections=())
    local = draw_features(load_features(tone_features), tmp_path / "local", projections=())
    assert page.read_text() == local.read_text() and "windows.png" in page.read_text()
    assert (tmp_path / "hub/windows.png").read_bytes() == (tmp_path / "local/windows.png").read_bytes()


def test_all_plots_of_log_mel_features(tone_features, tmp_path):
    features = load_features(tone_features)
    augment = augmentation_for(AugmentConfig(time_mask_s=0.1), features.extractor)
    page = draw_features(features, tmp_path / "plots", projections=("pca",), augment=augment)
    names = {path.name for path in page.parent.iterdir()}
    assert names == {
        "README.md",
        "classes.png",
        "durations.png",
        "windows.png",
        "augmented.png",
        "pca.png",
        "explained_variance.png",
    }
    assert all(f"![]({name})" in page.read_text() for name in names - {"README.md"})
    for name in names - {"README.md"}:
        pixels = np.asarray(Image.open(page.parent / name).convert("L"))
        assert pixels.std() > 5, f"{name} is blank"


def test_embeddings_of_a_model_are_written_for_the_projector(tone_features, tmp_path):
    from hf_audio.models import build_model

    features = load_features(tone_features)
    torch.manual_seed(0)
    run = tmp_path / "run"
    build_model("cnn-genre", features).save_pretrained(run)
    features.extractor.save_pretrained(run)
    draw_features(features, tmp_path / "plots", projections=("pca",), model=str(run))
    vectors = np.loadtxt(tmp_path / "plots" / "vectors.tsv", delimiter="\t")
    labels = (tmp_path / "plots" / "metadata.tsv").read_text().split()
    assert len(vectors) == len(labels) == features.num_windows("train") and set(labels) == set(features.labels.names)


def test_each_point_of_the_projector_has_one_line_with_any_class_names(tmp_path):
    names = ["rock; pop", "two\nlines", "a\ttab", "plain"]
    _write_projector(tmp_path, np.zeros((4, 2)), np.eye(4), names)
    lines = (tmp_path / "metadata.tsv").read_text().splitlines()
    assert lines == ['["rock; pop"]', "two\\nlines", "a\\ttab", "plain"]


def test_the_script_on_classical_features(classical, tmp_path, forks):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "features").symlink_to(classical)
    command = (ROOT / "scripts" / "draw_features.py", "mine/features", "--projections")
    done = forks.run(*command, cwd=tmp_path)
    assert done.returncode == 0, done.errors
    plots = tmp_path / "mine-plots"
    rows = list(csv.DictReader((plots / "variances.csv").open()))
    assert len(rows) == 174 and float(rows[0]["between_classes"]) > 0.9  # classes differ in pitch, and so in mel bands
    assert (plots / "variances.png").is_file() and "variances.png" in (plots / "README.md").read_text()
    assert done.errors.count("linear baseline, train:   0%") == 1, "windows must be read once"
    done = forks.run(*command, "spca", cwd=tmp_path)
    assert done.returncode == 2 and "projection 'spca'" in done.errors and "Traceback" not in done.errors


def test_players_play_only_the_clip(tmp_path):
    page = tmp_path / "out"
    for stretch, written in (
        ((0.0, None), ""),
        ((0.0, 2.5), "#t=0,2.5"),
        ((1.5, None), "#t=1.5"),
        ((1.5, 3.0), "#t=1.5,3"),
    ):
        assert f'src="../a%20%231.wav{written}"' in player(tmp_path / "a #1.wav", page, *stretch)
    assert 'src="../%FF.wav"' in player(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.wav"), page)
