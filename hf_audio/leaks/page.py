"""The page of a leak report: one self-contained HTML file with the worst pairs side by side."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence

from hf_audio.data.features_dataset import FeatureDataset
from hf_audio.errors import as_html
from hf_audio.grey_pictures import encode_features
from hf_audio.kinds import Form
from hf_audio.leaks.search import Leak
from hf_audio.pictures.inline import frames_of_rows, inline_picture
from hf_audio.references import rows_at

MOST_PICTURES = 20
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; } td, th { border: 1px solid #ccc; padding: .2rem .6rem; }
td { overflow-wrap: anywhere; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem; margin: 1.5rem 0; }
.pair h3 { grid-column: 1 / 3; margin: 0; font-size: 1rem; } figure { margin: 0; overflow-wrap: anywhere; }
img { width: 100%; height: 9rem; image-rendering: pixelated; }
"""


def leak_page(report: str, pairs: Sequence[Leak], features: FeatureDataset) -> str:
    """A report in Markdown as HTML, then pictures of the first of `pairs`, as both windows are stored."""
    body = "".join(_as_html(report))
    pictures = "".join(_pairs(pairs[:MOST_PICTURES], features)) if features.kind.form is not Form.VECTORS else ""
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Leaks</title><style>{STYLE}</style>'
        f"<body>{body}{pictures}</body></html>\n"
    )


def _as_html(markdown: str) -> Iterator[str]:
    """The little of Markdown that a report uses: a title, paragraphs and tables."""
    for is_table, lines in itertools.groupby(markdown.splitlines(), lambda line: line.startswith("|")):
        if not is_table:
            for line in filter(None, lines):
                tag = "h1" if line.startswith("# ") else "p"
                yield f"<{tag}>{as_html(line.removeprefix('# '))}</{tag}>"
            continue
        yield "<table>"
        for number, line in enumerate(lines):
            if not re.fullmatch(r"[|:-]+", line):
                tag = "td" if number else "th"
                cells = (cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1])
                yield "<tr>" + "".join(f"<{tag}>{as_html(cell)}</{tag}>" for cell in cells) + "</tr>"
        yield "</table>"


def _pairs(worst: Sequence[Leak], features: FeatureDataset) -> Iterator[str]:
    wanted = {(leak.split_a, leak.rows[0]) for leak in worst} | {(leak.split_b, leak.rows[1]) for leak in worst}
    frames_of, pictures = frames_of_rows(features), {}
    for split, rows in features.splits.items():
        positions = sorted(row for name, row in wanted if name == split)
        for position, row in zip(positions, rows_at(rows, positions), strict=True):
            pictures[split, position] = inline_picture(encode_features(frames_of(row))[0])
    for leak in worst:
        yield f'<div class="pair"><h3>Similarity {leak.similarity:.3f}, shifted by {leak.shift_s:g} s</h3>'
        sides = (
            (leak.split_a, leak.clip_a, leak.start_a_s, leak.rows[0]),
            (leak.split_b, leak.clip_b, leak.start_b_s, leak.rows[1]),
        )
        for split, clip, start_s, row in sides:
            said = as_html(f"{split}: {clip}, from {start_s:.2f} s")
            yield f"<figure>{pictures[split, row]}<figcaption>{said}</figcaption></figure>"
        yield "</div>"
