"""Embed recordings: write the input of a model's classifier layer for each window to a Parquet table.

    hf-audio embed recordings/ --model someone/ast-irmas --output embeddings.parquet
    hf-audio embed a.wav b.mp3 --model runs/cnn_folder --window_s 3 --hop_s 1 --output embeddings.parquet

The table has `file`, `start_s`, `end_s` and `embedding` for each window; read it with pandas.read_parquet or
`datasets.load_dataset("parquet", data_files=...)`. Unreadable recordings are skipped and listed at the end; the exit
code is then 1. To resume an interrupted command, run it again.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from functools import partial

from hf_audio.commands._parser import parser_of
from hf_audio.commands._processing import process, report_failed
from hf_audio.commands._recordings import (
    add_model,
    add_pace,
    add_recordings,
    facts_of,
    files_of,
    output_file,
    tagger_of,
)

NOT_UTF8 = "its name is not UTF-8, so it cannot be stored in the table: rename the file, e.g. with convmv"


def main(argv: Sequence[str]) -> int:
    """Embeds the given recordings."""
    given = _parser().parse_args(argv)
    output = output_file(given.output)
    files, tagger = files_of(given), tagger_of(given)

    from hf_audio.tagging.embedding_file import InParquet
    from hf_audio.tagging.many import answered

    settings = tagger.settings(window_s=given.window_s, hop_s=given.hop_s)
    facts = {**facts_of(given, tagger), "window_s": settings.window_s, "hop_s": settings.hop_s}
    embeddings_of = partial(
        answered, tagger, tagger.embeddings, settings=settings, made=tagger.embeddings_of, num_threads=given.num_threads
    )
    misnamed = {number: NOT_UTF8 for number, one in enumerate(files) if not _is_utf8(one.path)}
    return report_failed(files, process(files, embeddings_of, InParquet(output, files, facts), "embed", misnamed))


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("embed", __doc__)
    add_recordings(parser)
    add_model(parser)
    add_pace(parser)
    parser.add_argument("--output", required=True, metavar="FILE.parquet", help="Table to write.")
    parser.add_argument("--window_s", type=float, help="Length of a window in seconds. Default: the model's.")
    parser.add_argument("--hop_s", type=float, help="Seconds between windows. Default: the model's, or --window_s.")
    return parser


def _is_utf8(name: str) -> bool:
    return name == os.fsencode(name).decode("utf-8", "replace")
