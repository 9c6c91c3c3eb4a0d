"""What was found of wrong labels, written down: a table, a page to listen and look, and corrections to edit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from hf_audio.data.features_dataset import FeatureDataset
from hf_audio.data.label_overrides import overrides_text
from hf_audio.errors import as_html
from hf_audio.files import write_atomically
from hf_audio.grey_pictures import encode_features
from hf_audio.kinds import Form
from hf_audio.label_quality.clip_vectors import windows_of
from hf_audio.label_quality.errors import LabelError, LabelErrors
from hf_audio.pictures.inline import frames_of_rows, inline_picture, player

COLUMNS = ("clip_id", "given", "suggested", "confidence", "quality", "split", "group")
TITLES = ("clip", "given", "suggested", "confidence", "quality", "split", "group", "sound", "picture")
SOUND_SUFFIXES = {".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff", ".opus"}


def write_label_errors(
    found: LabelErrors,
    features: FeatureDataset,
    folder: str | Path,
    *,
    data_dir: str | Path | None = None,
    least_confidence: float = 0.5,
    num_pictures: int = 100,
) -> int:
    """Writes label_errors.csv, index.html and overrides.csv into `folder`.

    Args:
        data_dir: the recordings; the page then plays them from where they are.
        least_confidence: overrides.csv has the suggestions from this confidence on.
        num_pictures: log-mel pictures on the page, of the likeliest errors; classical features have none.

    Returns:
        How many corrections overrides.csv has.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rows = [_row(error) for error in found.errors]
    write_atomically(folder / "label_errors.csv", overrides_text(rows, COLUMNS))
    pictures = _pictures(features, [error.row["clip_id"] for error in found.errors[:num_pictures]])
    sounds = _sounds(found.errors, Path(data_dir), folder) if data_dir else {}
    write_atomically(folder / "index.html", _page(rows, features, pictures, sounds))
    column = "labels" if features.labels.is_multi_label else "label"
    sure = [
        {**row, column: row["suggested"], "reason": _reason(row)}
        for row in rows
        if float(row["confidence"]) >= least_confidence
    ]
    write_atomically(
        folder / "overrides.csv", overrides_text(sure, ("clip_id", column, "given", "confidence", "reason"))
    )
    return len(sure)


def _row(error: LabelError) -> dict[str, str]:
    return {
        "clip_id": error.row["clip_id"],
        "given": ";".join(error.given),
        "suggested": ";".join(error.suggested),
        "confidence": f"{error.confidence:.3f}",
        "quality": f"{error.quality:.3f}",
        "split": error.row["split"],
        "group": error.row["group"],
    }


def _reason(row: dict[str, str]) -> str:
    return f"given {row['given'] or 'nothing'}, which has a probability of {row['quality']}"


def _pictures(features: FeatureDataset, clip_ids: Sequence[str]) -> dict[str, str]:
    """{clip_id: element} of the first window of each clip, low frequencies at the bottom."""
    if features.kind.form is Form.VECTORS or not clip_ids:
        return {}
    frames_of, pictures = frames_of_rows(features), {}
    for rows in windows_of(features, set(clip_ids)).splits.values():
        for number, clip_id in enumerate(rows["clip_id"]):
            if clip_id not in pictures:
                pictures[clip_id] = inline_picture(encode_features(frames_of(rows[number]))[0])
    return pictures


def _sounds(errors: Sequence[LabelError], data_dir: Path, folder: Path) -> dict[str, str]:
    """{clip_id: player} of the files that can be found, with the stretch that is the clip."""
    by_name: dict[str, Path] | None = None
    sounds = {}
    for error in errors:
        name = error.row["clip_id"].partition("#")[0]
        path = data_dir / name
        if not path.is_file():
            if by_name is None:  # corpora whose clips are not named after their paths
                files = (file for file in sorted(data_dir.rglob("*")) if file.suffix.lower() in SOUND_SUFFIXES)
                by_name = {file.stem: file for file in files}
            path = by_name.get(Path(name).name) or by_name.get(Path(name).stem)
        if path is not None:
            start_s, end_s = (float(error.row[key]) if error.row[key] else None for key in ("start_s", "end_s"))
            sounds[error.row["clip_id"]] = player(path, folder, start_s or 0.0, end_s)
    return sounds


def _page(
    rows: Sequence[dict[str, str]],
    features: FeatureDataset,
    pictures: dict[str, str],
    sounds: dict[str, str],
) -> str:
    title = f"{len(rows)} labels of {features.name} that are probably wrong"
    options = "".join(f"<option>{as_html(name)}</option>" for name in features.labels.names)
    head = "".join(f"<th>{name}</th>" for name in TITLES)
    body = "\n".join(_table_rows(rows, pictures, sounds))
    return _PAGE.format(title=as_html(title), options=options, head=head, body=body)


def _table_rows(rows: Sequence[dict[str, str]], pictures: dict[str, str], sounds: dict[str, str]) -> Iterator[str]:
    for row in rows:
        clip_id = row["clip_id"]
        cells = [as_html(row[name]).replace(";", "; ") if row[name] else "–" for name in COLUMNS]
        cells += [sounds.get(clip_id, ""), pictures.get(clip_id, "")]
        classes = as_html(";".join([row["given"], row["suggested"]]))
        yield f'<tr data-classes=";{classes};">' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 14px sans-serif; margin: 1.5em; color: #222 }}
table {{ border-collapse: collapse }}
th {{ cursor: pointer; text-align: left; position: sticky; top: 0; background: #eef2f5 }}
th, td {{ padding: .3em .7em; border-bottom: 1px solid #dde; vertical-align: middle }}
td:nth-child(1) {{ max-width: 22em; overflow-wrap: anywhere }}
img {{ width: 240px; height: 90px; image-rendering: pixelated }}
</style></head><body>
<h1>{title}</h1>
<p>The likeliest errors come first. Delete the rows of overrides.csv that you disagree with, then train with
<code>--label_overrides overrides.csv</code>.</p>
<p>Class <select id="of_class"><option value="">all</option>{options}</select>
at least <input id="confidence" type="number" min="0" max="1" step="0.05" value="0"> sure:
<span id="shown"></span> rows. A click on a heading sorts.</p>
<table><thead><tr>{head}</tr></thead><tbody>
{body}
</tbody></table>
<script>
const rows = [...document.querySelectorAll("tbody tr")], body = document.querySelector("tbody");
const of_class = document.getElementById("of_class"), confidence = document.getElementById("confidence");
function filter() {{
  let shown = 0;
  for (const row of rows) {{
    row.hidden = !(row.dataset.classes.includes(of_class.value ? ";" + of_class.value + ";" : "")
      && Number(row.cells[3].textContent) >= Number(confidence.value));
    shown += !row.hidden;
  }}
  document.getElementById("shown").textContent = shown + " of " + rows.length;
}}
let last = -1, direction = 1;
document.querySelectorAll("th").forEach((heading, column) => heading.addEventListener("click", () => {{
  direction = column === last ? -direction : 1;
  last = column;
  const text = row => row.cells[column].textContent;
  rows.sort((a, b) => direction * text(a).localeCompare(text(b), undefined, {{numeric: true}}));
  body.append(...rows);
}}));
of_class.addEventListener("input", filter);
confidence.addEventListener("input", filter);
filter();
</script></body></html>
"""
