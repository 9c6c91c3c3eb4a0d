"""Tag recordings with a trained model: scores, segments and a timeline of files, folders or audio on stdin.

    hf-audio tag song.wav --model someone/ast-irmas                       scores and segments in the terminal
    hf-audio tag recordings/ --model runs/cnn_folder --format csv --output tags.csv
    hf-audio tag a.wav b.mp3 --model M --format json --window_s 3 --hop_s 1 --threshold 0.4 --top_k 3
    hf-audio tag recordings/ --model M --format audacity --output labels/ one label track per recording
    find . -name "*.flac" -print0 | hf-audio tag --files_from - --model M --format jsonl
    ffmpeg -i film.mkv -f wav - | hf-audio tag - --model M

M is a run folder of hf_audio, or any audio classifier on the Hub or in a folder. Code in the repository is never run.
Recordings may have any length and format; they are decoded in blocks. With --output, run an interrupted command again
to resume it. The exit code is 1 if some recordings could not be read (the last lines say why), and 2 if nothing could
be processed.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_audio.commands._parser import parser_of
from hf_audio.commands._processing import process, report_failed
from hf_audio.commands._recordings import (
    add_model,
    add_pace,
    add_recordings,
    facts_of,
    files_of,
    is_folder_name,
    output_file,
    tagger_of,
)
from hf_audio.errors import InputError

if TYPE_CHECKING:
    from hf_audio.tagging.formats import Format
    from hf_audio.tagging.found_files import FoundFile
    from hf_audio.tagging.results import Results

FORMAT_NAMES = ("table", "csv", "json", "jsonl", "audacity", "srt")  # of tagging/formats.py, too slow for --help
OF_SEGMENTS = ("audacity", "srt")  # one file per recording
TOP_K = 5


def main(argv: Sequence[str]) -> int:
    """Tags the given recordings."""
    given = _parser().parse_args(argv)
    if given.top_k is not None and given.format in OF_SEGMENTS:
        raise InputError(f"--top_k has no effect on --format {given.format}, which contains only segments: remove it")
    if given.top_k is None:
        given.top_k = TOP_K
    if given.top_k < 0:
        raise InputError(f"--top_k must be a number of labels, or 0 for all, found {given.top_k}")
    files = files_of(given)
    output, in_folder = _place(given, files)
    tagger = tagger_of(given)
    settings = tagger.settings(
        window_s=given.window_s,
        hop_s=given.hop_s,
        threshold=given.threshold,
        top_k=given.top_k or None,
        smooth_s=given.smooth_s,
    )

    from hf_audio.tagging.formats import FORMATS
    from hf_audio.tagging.many import answered

    facts = {**facts_of(given, tagger), "format": given.format, **settings.decisive} if output else {}
    results = _results(FORMATS[given.format], output, in_folder, files, facts)
    tags_of = partial(
        answered, tagger, tagger.logits, settings=settings, made=tagger.tags_of, num_threads=given.num_threads
    )
    return report_failed(files, process(files, tags_of, results, "tag"))


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("tag", __doc__)
    add_recordings(parser)
    add_model(parser)
    add_pace(parser)
    add = parser.add_argument
    add("--format", choices=FORMAT_NAMES, default="table", help="Output format.")
    add("--output", help="File, or for audacity and srt a folder with one file per recording. Default: stdout.")
    add("--window_s", type=float, help="Length of a window in seconds. Default: the model's.")
    add("--hop_s", type=float, help="Seconds between windows. Default: the model's, or --window_s if given.")
    add("--threshold", type=float, help="Minimum score of a present label. Default: the model's.")
    add("--top_k", type=int, help=f"Labels to list, 0 for all. Default: {TOP_K}.")
    add(
        "--smooth_s",
        type=float,
        help="Length of the median filter that smooths scores before segmentation, in seconds. Default: one window.",
    )
    return parser


def _place(given: argparse.Namespace, files: Sequence[FoundFile]) -> tuple[Path | None, bool]:
    """Path of the result (None for standard output), and whether it is a folder with one file per recording.

    Raises:
        InputError: the result cannot be written there. This is checked before a model is loaded, which takes seconds.
    """
    is_single = given.format in OF_SEGMENTS
    if is_single and len(files) > 1 and not given.output:
        raise InputError(
            f"--format {given.format} writes one file per recording, and there are {len(files)}: give a folder as "
            "--output"
        )
    if not given.output:
        return None, False
    if is_single and (len(files) > 1 or is_folder_name(given.output) or os.path.isdir(given.output)):
        return Path(given.output), True
    return output_file(given.output), False


def _results(
    form: Format, output: Path | None, in_folder: bool, files: Sequence[FoundFile], facts: Mapping[str, Any]
) -> Results:
    from hf_audio.tagging.results import InFile, InFolder, OnStream

    if output is None:
        return OnStream(form)
    return (InFolder if in_folder else InFile)(output, form, files, facts)
