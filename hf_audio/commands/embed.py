"""Embed recordings: what a model's classifier is given of each window, as a Parquet table.

    hf-audio embed recordings/ --model someone/ast-irmas --output embeddings.parquet
    hf-audio embed a.wav b.mp3 --model runs/cnn_folder --window_s 3 --hop_s 1 --output embeddings.parquet

The table has `file`, `start_s`, `end_s` and `embedding` for each window; read it with pandas.read_parquet or
`datasets.load_dataset("parquet", data_files=...)`. A recording that cannot be read is left out and named at the end;
the exit code is then 1.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_audio.commands._recordings import (
    add_model,
    add_recordings,
    check_output,
    files_of,
    parser_of,
    recording,
    said_failed,
    tagger_of,
)

if TYPE_CHECKING:
    import pyarrow as pa

    from hf_audio.tagging.found_files import FoundFile
    from hf_audio.tagging.tagger import Tagger


def main(argv: Sequence[str]) -> int:
    """Embeds what the flags name."""
    given = _parser().parse_args(argv)
    output = Path(given.output)
    check_output(output)
    files, tagger = files_of(given), tagger_of(given)
    failed: dict[int, str] = {}
    _write(output, _tables(tagger, files, {"window_s": given.window_s, "hop_s": given.hop_s}, failed))
    return said_failed(files, failed)


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("embed", __doc__)
    add_recordings(parser)
    add_model(parser)
    parser.add_argument("--output", required=True, help="the Parquet file")
    parser.add_argument("--window_s", type=float, help="seconds of a window; default: as the model was trained")
    parser.add_argument("--hop_s", type=float, help="from one window to the next; default: the model's, or --window_s")
    return parser


def _tables(
    tagger: Tagger, files: Sequence[FoundFile], windows: dict[str, float | None], failed: dict[int, str]
) -> Iterator[pa.Table]:
    """The rows of each recording, whose blocks are held until all of it was read."""
    import pyarrow as pa

    from hf_audio.data.recordings.reasons import AudioError
    from hf_audio.tagging.tagger import check_answer
    from hf_audio.terminal import progress

    settings = tagger.settings(**windows)
    length_s = tagger.windows(**windows).window / tagger.sample_rate
    for number, file in enumerate(progress(files, desc="embed", unit=" recordings", disable=None)):
        if file.path != os.fsencode(file.path).decode("utf-8", "replace"):
            failed[number] = "its name is not UTF-8, and the table could not hold it: rename it, e.g. with convmv"
            continue
        parts: list[dict[str, Any]] = []
        try:
            for block in tagger.blocks(recording(file), settings):
                values = tagger.predictor.embed(block.inputs).float().cpu().numpy()
                parts.append({"starts_s": block.starts_s, "end_s": block.end_s, "values": values})
                check_answer(values)
        except AudioError as error:
            failed[number] = error.reason
            continue
        for part in parts:
            starts_s, values = part["starts_s"], part["values"]
            ends_s = [min(start_s + length_s, parts[-1]["end_s"]) for start_s in starts_s]
            embedding = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
            columns = {"file": [file.path] * len(starts_s), "start_s": starts_s, "end_s": ends_s}
            yield pa.table({**columns, "embedding": embedding})


def _write(output: Path, tables: Iterator[pa.Table]) -> None:
    """A Parquet file of all tables, whole or not at all; with no row where no recording could be read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from hf_audio.files import atomic_file

    empty = {"file": pa.string(), "start_s": pa.float64(), "end_s": pa.float64(), "embedding": pa.list_(pa.float32())}
    with atomic_file(output) as file:
        first = next(tables, pa.schema(empty).empty_table())
        with pq.ParquetWriter(file, first.schema) as writer:
            writer.write_table(first)
            for table in tables:
                writer.write_table(table)
