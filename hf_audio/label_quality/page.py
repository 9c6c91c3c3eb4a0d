"""What was found of wrong labels, written down: a table, a page to listen and look, and corrections to edit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from hf_audio.data.index.label_overrides import overrides_text
from hf_audio.data.loading.features_dataset import FeatureDataset
from hf_audio.data.tables import names_cell
from hf_audio.figures.frames import frames_of_rows
from hf_audio.figures.page import Row, Table, inline_plot, page, player
from hf_audio.files import write_atomically
from hf_audio.gray_images import encode_features
from hf_audio.kinds import Form
from hf_audio.label_quality.clip_vectors import windows_of
from hf_audio.label_quality.errors import LabelError, LabelErrors

COLUMNS = ("clip_id", "given", "suggested", "confidence", "quality", "split", "group")
TITLES = ("clip", "given", "suggested", "confidence", "quality", "split", "group", "sound", "plot")
SOUND_SUFFIXES = {".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff", ".opus", ".m4a", ".mp4", ".webm"}


def write_label_errors(
    found: LabelErrors,
    features: FeatureDataset,
    folder: str | Path,
    *,
    data_dir: str | Path | None = None,
    least_confidence: float = 0.5,
    num_plots: int = 100,
) -> int:
    """Writes label_errors.csv, index.html and overrides.csv into `folder`.

    Args:
        data_dir: the recordings; the page then plays them from where they are.
        least_confidence: overrides.csv has the suggestions from this confidence on.
        num_plots: spectrograms on the page, of the likeliest errors; classical features have none.

    Returns:
        How many corrections overrides.csv has.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rows = [_row(error) for error in found.errors]
    write_atomically(folder / "label_errors.csv", overrides_text(rows, COLUMNS))
    plots = _plots(features, [error.row["clip_id"] for error in found.errors[:num_plots]])
    sounds = _sounds(found.errors, Path(data_dir), folder) if data_dir else {}
    write_atomically(folder / "index.html", _page(found.errors, features, plots, sounds))
    column = "labels" if features.labels.is_multi_label else "label"
    sure = [
        {**row, column: row["suggested"] if column == "labels" else error.suggested[0], "reason": _reason(row)}
        for row, error in zip(rows, found.errors, strict=True)
        if float(row["confidence"]) >= least_confidence
    ]
    write_atomically(
        folder / "overrides.csv", overrides_text(sure, ("clip_id", column, "given", "confidence", "reason"))
    )
    return len(sure)


def _row(error: LabelError) -> dict[str, str]:
    return {
        "clip_id": error.row["clip_id"],
        "given": names_cell(error.given),
        "suggested": names_cell(error.suggested),
        "confidence": f"{error.confidence:.3f}",
        "quality": f"{error.quality:.3f}",
        "split": error.row["split"],
        "group": error.row["group"],
    }


def _shown(error: LabelError) -> dict[str, str]:
    """The same for people, who need not take names apart again."""
    return {**_row(error), "given": "; ".join(error.given), "suggested": "; ".join(error.suggested)}


def _reason(row: dict[str, str]) -> str:
    return f"given {row['given'] or 'nothing'}, which has a probability of {row['quality']}"


def _plots(features: FeatureDataset, clip_ids: Sequence[str]) -> dict[str, Markup]:
    """{clip_id: element} of the first window of each clip, low frequencies at the bottom."""
    if features.kind.form is Form.VECTORS or not clip_ids:
        return {}
    frames_of, plots = frames_of_rows(features), {}
    for rows in windows_of(features, set(clip_ids)).splits.values():
        for number, clip_id in enumerate(rows["clip_id"]):
            if clip_id not in plots:
                plots[clip_id] = inline_plot(encode_features(frames_of(rows[number]))[0])
    return plots


def _sounds(errors: Sequence[LabelError], data_dir: Path, folder: Path) -> dict[str, Markup]:
    """{clip_id: player} of the files that can be found, with the stretch that is the clip."""
    by_name: dict[str, Path] | None = None
    sounds = {}
    for error in errors:
        clip_id = error.row["clip_id"]
        names = dict.fromkeys((clip_id, clip_id.rpartition("#")[0] or clip_id))  # a file's own name may hold the mark
        path = next((data_dir / name for name in names if (data_dir / name).is_file()), None)
        if path is None:  # corpora whose clips are not named after their paths
            by_name = _by_stem(data_dir) if by_name is None else by_name
            stems = [stem for name in names for stem in (Path(name).name, Path(name).stem)]
            path = next((by_name[stem] for stem in stems if stem in by_name), None)
        if path is not None:
            sounds[clip_id] = player(path, folder, error.row["start_s"], error.row["end_s"])
    return sounds


def _by_stem(data_dir: Path) -> dict[str, Path]:
    """Files by their names without suffix, those that are there once: of two, either could be the wrong one."""
    files = [file for file in sorted(data_dir.rglob("*")) if file.suffix.lower() in SOUND_SUFFIXES]
    times = Counter(file.stem for file in files)
    return {file.stem: file for file in files if times[file.stem] == 1}


def _page(
    errors: Sequence[LabelError],
    features: FeatureDataset,
    plots: dict[str, Markup],
    sounds: dict[str, Markup],
) -> str:
    shown = [
        Row(
            [
                *(_shown(error)[name] or "–" for name in COLUMNS),
                sounds.get(error.row["clip_id"], ""),
                plots.get(error.row["clip_id"], ""),
            ],
            tags=[*error.given, *error.suggested],
        )
        for error in errors
    ]
    return page(
        f"{len(errors)} labels of {features.name} that are probably wrong",
        "The likeliest errors come first. Delete the rows of overrides.csv that you disagree with, then train with "
        "--label_overrides overrides.csv.",
        Table(TITLES, shown, tagged=True, least="confidence"),
    )
