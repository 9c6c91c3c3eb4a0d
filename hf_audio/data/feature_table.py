"""Classical features as a plain table, for spreadsheets, pandas and R."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from hf_audio.data.feature_storage import write_atomically
from hf_audio.data.features_dataset import FeatureDataset, load_features
from hf_audio.errors import InputError


def features_to_csv(source: str | Path, path: str | Path) -> Path:
    """Write the classical features of a dataset, not standardised, as CSV: one line a step of a window.

    Columns: clip_id, group, split, start_s (of the step, in its file), labels (";" between several), unknown (the
    classes of which nothing is known, where labels are partial), then one for each of the extractor's `feature_names`.

    Args:
        source: what `build_features` made with `ClassicalFeatures`: a folder, or its name on the Hub.
        path: the CSV file.

    Returns:
        `path`.

    Raises:
        InputError: the dataset holds other features, or cannot be loaded.
    """
    features, path = load_features(source), Path(path)
    if features.kind != "classical":
        raise InputError(
            f"{source} holds {features.kind} features, which have no names; build it with --features classical"
        )
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["clip_id", "group", "split", "start_s", "labels", *_unknown(features), *features.extractor.feature_names])
    table.writerows(_lines(features))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text.getvalue())
    return path


def _unknown(features: FeatureDataset) -> list[str]:
    """The name of the column that only partial labels need."""
    return ["unknown"] if features.unknown else []


def _lines(features: FeatureDataset) -> Iterator[list]:
    names, step_s = features.labels.names, features.manifest["extractor"]["step_s"] or 0.0
    num_windows = sum(map(len, features.splits.values()))
    rows = ((split, row) for split, rows in features.splits.items() for row in rows)
    for split, row in tqdm(rows, total=num_windows, desc="table", unit=" windows"):
        known = ";".join(names[label] for label in row["labels"])
        open_ = [";".join(names[label] for label in features.unknown.get(row["clip_id"], ())) for _ in _unknown(features)]
        for number, values in enumerate(features.storage.decode(row)):
            start_s = round(row["start_s"] + number * step_s, 4)
            yield [row["clip_id"], row["group"], split, start_s, known, *open_, *(f"{value:.7g}" for value in values)]
