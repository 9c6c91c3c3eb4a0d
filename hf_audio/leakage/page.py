"""The HTML page of a leakage report, with the worst pairs side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hf_audio.baselines import rows_at
from hf_audio.data.loading.features_dataset import FeatureDataset
from hf_audio.figures.frames import frames_of_rows
from hf_audio.figures.page import Pair, Table, inline_plot, page
from hf_audio.gray_images import encode_features
from hf_audio.kinds import Form
from hf_audio.leakage.search import Leak

MAX_PLOTS = 20


def leak_page(title: str, contents: Sequence[str | Table], pairs: Sequence[Leak], features: FeatureDataset) -> str:
    """The contents of a report, followed by plots of the first `pairs` with both windows as stored."""
    plots = _pairs(pairs[:MAX_PLOTS], features) if features.kind.form is not Form.VECTORS else ()
    return page(title, *contents, *plots)


def _pairs(worst: Sequence[Leak], features: FeatureDataset) -> Iterator[Pair]:
    wanted = {(leak.split_a, leak.rows[0]) for leak in worst} | {(leak.split_b, leak.rows[1]) for leak in worst}
    frames_of, plots = frames_of_rows(features), {}
    for split, rows in features.splits.items():
        positions = sorted(row for name, row in wanted if name == split)
        for position, row in zip(positions, rows_at(rows, positions), strict=True):
            plots[split, position] = inline_plot(encode_features(frames_of(row))[0])
    for leak in worst:
        sides = (
            (leak.split_a, leak.clip_a, leak.start_a_s, leak.rows[0]),
            (leak.split_b, leak.clip_b, leak.start_b_s, leak.rows[1]),
        )
        yield Pair(
            f"Similarity {leak.similarity:.3f}, shifted by {leak.shift_s:g} s",
            [(plots[split, row], f"{split}: {clip}, from {start_s:.2f} s") for split, clip, start_s, row in sides],
        )
