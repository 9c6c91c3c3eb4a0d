"""Windows before and after augmentation."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.figure import Figure

from hf_audio.augment import BeforeFeatures, Compose
from hf_audio.data.loading.feature_collator import FeatureCollator
from hf_audio.data.loading.features_dataset import FeatureDataset
from hf_audio.figures.figures import new_figure, short_name

NUM_WINDOWS = 5
NUM_DRAWS = 2


def augmented_plot(features: FeatureDataset, augment: Compose | BeforeFeatures, seed: int = 0) -> Figure:
    """A row of training windows, with two draws of `augment` below each; only the first channel is shown.

    Args:
        features: log-mel features with a local train split.
        augment: the augmentation, from `augmentation_of`.
        seed: for the choice of windows and the draws.
    """
    rows = features.splits["train"]
    chosen = np.random.default_rng(seed).choice(len(rows), min(NUM_WINDOWS, len(rows)), replace=False)
    picked = [rows[int(index)] for index in np.sort(chosen)]
    collate = FeatureCollator(features.extractor, features.labels, stored=True, of_sound=features.of_sound)
    batch = collate(picked)
    inputs = collate.on_device(batch)["input_values"]
    given = collate.on_device(batch, as_sound=isinstance(augment, BeforeFeatures))
    windows = (given["input_values"], given["labels"], given["num_frames"])
    places = [[(seed, number, window) for window in range(len(inputs))] for number in range(NUM_DRAWS)]
    drawn = [augment(*windows, augment.draw(one))[0] for one in places]
    plots = [inputs, *drawn]
    figure, axes = new_figure(2.6 * len(picked), 1.9 * len(plots), len(plots), len(picked))
    axes = np.reshape(axes, (len(plots), len(picked)))
    low, high = (
        float(value)
        for value in torch.quantile(inputs.flatten()[:: max(1, inputs.numel() // 10_000)], torch.tensor([0.01, 0.99]))
    )
    for line, windows in zip(axes, plots, strict=True):
        for axis, window in zip(line, windows, strict=True):
            plane = (window[0] if window.ndim == 3 else window).numpy()
            extent = (0, features.window_s, 0, plane.shape[1])
            axis.imshow(plane.T, origin="lower", aspect="auto", extent=extent, cmap="magma", vmin=low, vmax=high)
            axis.grid(False)
            axis.tick_params(labelsize=6)
    for axis, row in zip(axes[0], picked, strict=True):
        axis.set_title(short_name(", ".join(features.labels.names[label] for label in row["labels"])), fontsize=9)
    axes[0][0].set_ylabel("as stored", fontsize=8)
    for line in axes[1:]:
        line[0].set_ylabel("in training", fontsize=8)
    figure.supxlabel("seconds", fontsize=8)
    return figure
