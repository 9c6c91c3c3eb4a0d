"""The results of a search for label errors: a table, a page to review them, and a table of corrections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from hf_audio.data.index.label_overrides import labels_cell, overrides_text
from hf_audio.data.loading.features_dataset import FeatureDataset
from hf_audio.data.tables import names_cell
from hf_audio.figures.addresses import png_address
from hf_audio.figures.frames import frames_of_rows
from hf_audio.figures.workbench import MAX_CASES, Case, Judged, workbench_page
from hf_audio.files import results_in, write_atomically
from hf_audio.gray_images import encode_features
from hf_audio.kinds import Form
from hf_audio.label_quality.clip_vectors import windows_of
from hf_audio.label_quality.errors import LabelError, LabelErrors
from hf_audio.label_quality.sounds import sound_addresses
from hf_audio.privacy import public_value

COLUMNS = ("clip_id", "given", "suggested", "confidence", "quality", "split", "group")
HEADS = ("quality", "split", "group")


def write_label_errors(
    found: LabelErrors,
    features: FeatureDataset,
    folder: str | Path,
    *,
    data_dir: str | Path | None = None,
    min_confidence: float = 0.5,
    num_plots: int = 100,
) -> int:
    """Writes label_errors.csv, index.html and overrides.csv into `folder`.

    Args:
        data_dir: the folder of the recordings, which the page plays from there.
        min_confidence: minimum confidence of the suggestions in overrides.csv, which nobody has reviewed.
        num_plots: number of spectrograms on the page, for the most likely errors; classical features have none.

    Returns:
        The number of corrections in overrides.csv.

    Raises:
        InputError: no such folder of recordings.
    """
    folder = Path(folder)
    sounds = sound_addresses((one.row for one in found.errors[:MAX_CASES]), data_dir, folder) if data_dir else {}
    rows = [_row(error) for error in found.errors]
    plots = _plots(features, [error.row["clip_id"] for error in found.errors[: min(num_plots, MAX_CASES)]])
    page = _page(found.errors, features, plots, sounds, data_dir is not None)
    sure = [
        {**row, "labels": labels_cell(error.suggested), "reason": _reason(row)}
        for row, error in zip(rows, found.errors, strict=True)
        if float(row["confidence"]) >= min_confidence
    ]
    columns = ("clip_id", "labels", "given", "confidence", "reason")
    with results_in(folder):
        write_atomically(folder / "label_errors.csv", overrides_text(rows, COLUMNS))
        write_atomically(folder / "index.html", page)
        write_atomically(folder / "overrides.csv", overrides_text(sure, columns))
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


def _reason(row: dict[str, str]) -> str:
    return f"the given label, {row['given'] or 'nothing'}, has a probability of {row['quality']}"


def _plots(features: FeatureDataset, clip_ids: Sequence[str]) -> dict[str, str]:
    """{clip_id: address} of a plot of each clip's first window, with low frequencies at the bottom."""
    if features.kind.form is Form.VECTORS or not clip_ids:
        return {}
    frames_of, plots = frames_of_rows(features), {}
    for rows in windows_of(features, set(clip_ids)).splits.values():
        for number, clip_id in enumerate(rows["clip_id"]):
            if clip_id not in plots:
                plots[clip_id] = png_address(encode_features(frames_of(rows[number]))[0])
    return plots


def _page(
    errors: Sequence[LabelError],
    features: FeatureDataset,
    plots: Mapping[str, str],
    sounds: Mapping[str, str],
    has_data: bool,
) -> str:
    notes = ["The most likely errors come first. Listen and decide: only labels that you decide on are corrected."]
    if len(errors) > MAX_CASES:
        notes.append(f"{len(errors) - MAX_CASES:,} more are in label_errors.csv.")
    if not has_data:
        notes.append("Clips cannot be played, because --data_dir was not given.")
    source = public_value(features.source)
    judged = Judged(
        features.name,
        features.clips()["clip_id"].to_pylist(),
        features.labels.names,
        features.labels.is_multi_label,
        features.clip_columns.is_partial,
        features=source if source == features.source else "FEATURES_DIR",
    )
    title = f"{len(errors)} labels of {features.name} that are probably wrong"
    return workbench_page(title, notes, judged, HEADS, [_case(one, plots, sounds) for one in errors[:MAX_CASES]])


def _case(error: LabelError, plots: Mapping[str, str], sounds: Mapping[str, str]) -> Case:
    clip_id, row = error.row["clip_id"], _row(error)
    return Case(
        clip_id,
        error.given,
        error.row["unknown"],
        error.suggested,
        confidence=round(error.confidence, 3),
        facts=[row[name] for name in HEADS],
        sounds=[(clip_id, sounds[clip_id])] if clip_id in sounds else [],
        plot=plots.get(clip_id, ""),
        tags=[*error.given, *error.suggested],
    )
