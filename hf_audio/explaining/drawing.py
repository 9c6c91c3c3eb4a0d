"""Plots of relevance over a window's spectrogram (red: for the class, blue: against it), and of the checks."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hf_audio.explaining.explained import Explained, ExplainedWindow
from hf_audio.explaining.methods import Relevance
from hf_audio.figures.figures import BLUE, GREY, ORANGE, ShownFigure, new_figure, short_name
from hf_audio.kinds._kaldi_fbank import KaldiFbank

LEFT, RIGHT = 0.07, 0.99  # ends of the time axis, as shares of the plot's width
WIDTH_INCHES, HEIGHT_INCHES = 9.0, 2.4
FOR, AGAINST = (0.84, 0.10, 0.08), (0.10, 0.35, 0.80)
STRONG_SHARE = 0.01  # share of the strongest cells, which are drawn in full color
NUM_TICKS = 5


def drawn_window(one: ExplainedWindow, sample_rate: int, found: Relevance | None) -> Figure:
    """The spectrogram of a window with the relevance by a method over it, and the time axis from LEFT to RIGHT."""
    figure = ShownFigure(figsize=(WIDTH_INCHES, HEIGHT_INCHES), facecolor="white")
    axis = figure.add_axes((LEFT, 0.18, RIGHT - LEFT, 0.78))
    draw_window(axis, one, sample_rate, found)
    axis.set_xlabel("seconds", fontsize=8)
    return figure


def drawn_explanation(explanation: Explained) -> Figure:
    """A plot with a column per window and a row per method."""
    rows, columns = 1 + len(explanation.methods), len(explanation.windows)
    width, height = 0.8 + 4.8 * columns, 0.8 + 1.4 * rows
    figure = ShownFigure(figsize=(width, height), facecolor="white")
    margins = {"left": 0.9 / width, "right": 1 - 0.1 / width, "bottom": 0.5 / height, "top": 1 - 0.3 / height}
    axes = figure.subplots(rows, columns, squeeze=False, sharex="col", gridspec_kw={**margins, "hspace": 0.12})
    for one, column in zip(explanation.windows, axes.T, strict=True):
        column[0].set_title(f"{short_name(explanation.target)} {one.window.score:.2f}", fontsize=9)
        for axis, found in zip(column, (None, *one.found.values()), strict=True):
            draw_window(axis, one, explanation.sample_rate, found)
            axis.set_ylabel("")
    for name, line in zip(("sound", *explanation.methods), axes, strict=True):
        line[0].set_ylabel(name.replace("_", " ").replace("integrated ", "integrated\n"), fontsize=8)
    figure.supxlabel("seconds", fontsize=8)
    return figure


def draw_window(axis: Axes, one: ExplainedWindow, sample_rate: int, found: Relevance | None) -> None:
    """Draws the spectrogram in gray and the relevance in color."""
    grid, sound = one.question.grid, one.window.sound
    start_s, end_s = one.window.start_s, one.window.start_s + sound.shape[-1] / sample_rate
    if grid.is_sound:
        gray, first_s, last_s, hz = _log_mel(sound, sample_rate)
    else:
        gray, hz = grid.image(one.question.values), grid.hz
        first_s, last_s = grid.first_s - grid.step_s / 2, grid.middles_s[-1] + grid.step_s / 2
    place: dict[str, Any] = {"origin": "lower", "aspect": "auto", "interpolation": "nearest"}
    extent = (start_s + first_s, start_s + last_s, 0, gray.shape[1])
    low, high = np.quantile(gray, (0.02, 0.995))
    axis.imshow(gray.T, extent=extent, cmap="gray_r", vmin=low, vmax=max(high, low + 1e-6), alpha=0.75, **place)
    if found is not None:
        width = (grid.num_steps * grid.step_s, grid.first_s - grid.step_s / 2)
        extent = (start_s + width[1], start_s + width[1] + width[0], 0, gray.shape[1])
        axis.imshow(overlay(found.values).transpose(1, 0, 2), extent=extent, **place)
    axis.set_xlim(start_s, end_s)
    axis.set_ylim(0, gray.shape[1])
    axis.tick_params(labelsize=7)
    _mark_bands(axis, hz, gray.shape[1])


def overlay(values: np.ndarray) -> np.ndarray:
    """Relevance `[steps, bands]` → red, green, blue and opacity `[steps, bands, 4]`."""
    strong = np.quantile(np.abs(values), 1 - STRONG_SHARE) or np.abs(values).max() or 1.0
    colors = np.where(values[..., None] > 0, FOR, AGAINST)
    opacity = np.clip(np.abs(values) / strong, 0, 1) ** 0.7 * 0.85
    return np.concatenate([colors, opacity[..., None]], axis=-1)


def drawn_checks(explanation: Explained) -> Figure:
    """Deletion and insertion curves with random orders, averaged over windows, and rank correlations with explanations
    from random weights."""
    methods = explanation.methods
    figure, axes = new_figure(3.2 * len(methods), 4.6, 2, len(methods))
    axes = np.reshape(axes, (2, len(methods)))
    stages = [one.reached for one in explanation.stages]
    for name, (curves, correlations) in zip(methods, axes.T, strict=True):
        _draw_curves(curves, explanation.windows, name)
        values = [one.correlations[name] for one in explanation.stages]
        correlations.plot(range(1 + len(stages)), [1.0, *values], "o-", color=BLUE, ms=4)
        correlations.set_xticks(range(1 + len(stages)), ["trained", *stages], fontsize=7, rotation=45, ha="right")
        correlations.set_ylim(min(-0.1, *values) - 0.05, 1.05)
        correlations.tick_params(axis="y", labelsize=7)
    axes[0][0].set_ylabel("score", fontsize=8)
    axes[1][0].set_ylabel("rank correlation,\nrandom down to", fontsize=8)
    axes[0][0].legend(fontsize=7, frameon=False)
    return figure


def _draw_curves(axis: Axes, windows: list[ExplainedWindow], name: str) -> None:
    deletion, insertion = (
        np.mean([getattr(one.curves[name], kind) for one in windows], axis=0) for kind in ("deletion", "insertion")
    )
    shares = np.linspace(0, 100, len(deletion))
    axis.plot(shares, deletion, color=BLUE, label="deleted")
    axis.plot(shares, insertion, color=ORANGE, label="inserted")
    for kind in ("deletion", "insertion"):
        random = np.mean([getattr(one.random, kind).mean(axis=0) for one in windows], axis=0)
        axis.plot(shares, random, color=GREY, lw=1, ls="--", label="random order" if kind == "deletion" else None)
    axis.set_title(name.replace("_", " "), fontsize=9)
    axis.set_xlabel("% of blocks", fontsize=8)
    axis.tick_params(labelsize=7)


def _log_mel(sound: np.ndarray, sample_rate: int) -> tuple[np.ndarray, float, float, np.ndarray]:
    """A waveform's spectrogram `[frames, bins]`, its start and end in seconds, and its bins' center frequencies."""
    fbank = KaldiFbank(sample_rate)
    mono = torch.from_numpy(np.ascontiguousarray(np.atleast_2d(sound).mean(axis=0)))
    missing = max(0, fbank.frame_samples - len(mono))
    frames = fbank([torch.nn.functional.pad(mono, (0, missing))])[0].numpy()
    frame_s, half_s = fbank.hop_samples / sample_rate, fbank.frame_samples / sample_rate / 2
    first_s = half_s - frame_s / 2
    return frames, first_s, first_s + len(frames) * frame_s, fbank.middles_hz


def _mark_bands(axis: Axes, hz: np.ndarray | None, num_bands: int) -> None:
    if hz is None:
        axis.set_ylabel("feature" if num_bands > 1 else "", fontsize=8)
        return
    places = np.linspace(0, num_bands - 1, NUM_TICKS).round().astype(int)
    axis.set_yticks(places + 0.5, [f"{hz[place]:.0f}" for place in places])
    axis.set_ylabel("Hz", fontsize=8)
