"""Named (classical) features as a plain table, for spreadsheets, pandas and R."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hf_audio.data.loading.features_dataset import FeatureDataset, load_features
from hf_audio.data.tables import csv_text, names_cell
from hf_audio.errors import InputError
from hf_audio.files import write_atomically
from hf_audio.kinds import Form, names_of
from hf_audio.terminal import progress


def features_to_csv(source: str | Path, path: str | Path) -> Path:
    """Writes the features of a dataset, not standardized, as CSV: one line per step of a window.

    Columns: clip_id, group, split, start_s (of the step in its file), labels (see `names_cell`), if labels are partial
    also unknown (the unknown classes), then one column for each of the kind's `feature_names`.

    Args:
        source: a dataset of vectors such as `ClassicalFeatures` from `build_features`: a folder, or its Hub name.
        path: the CSV file.

    Returns:
        `path`.

    Raises:
        InputError: the dataset has other features, or cannot be loaded.
    """
    features, path = load_features(source), Path(path)
    if features.kind.form is not Form.VECTORS:
        raise InputError(
            f"{source} contains {features.kind.name} features, which have no names; build it with --features "
            f"{names_of(Form.VECTORS)}"
        )
    names = features.kind.feature_names(features.parameters)
    columns = ["clip_id", "group", "split", "start_s", *features.label_columns, *names]
    text = csv_text(itertools.chain([columns], _lines(features)))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text)
    return path


def _lines(features: FeatureDataset) -> Iterator[list]:
    step_s = features.kind.frame_s(features.manifest)
    rows = ((split, row) for split, rows in features.splits.items() for row in rows)
    for split, row in progress(rows, total=sum(map(len, features.splits.values())), desc="table", unit=" windows"):
        labels = _labels(features, row)
        for number, values in enumerate(features.kind.decode(row)):
            start_s = round(row["start_s"] + number * step_s, 4)
            yield [row["clip_id"], row["group"], split, start_s, *labels, *(f"{value:.7g}" for value in values)]


def _labels(features: FeatureDataset, row: Mapping[str, Any]) -> list[str]:
    return [names_cell(features.labels.names[label] for label in row[column]) for column in features.label_columns]
