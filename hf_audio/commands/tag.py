"""Tag recordings with a trained model: scores, segments and a timeline of files, folders or audio on stdin.

    hf-audio tag song.wav --model someone/ast-irmas                       scores and segments, for people
    hf-audio tag recordings/ --model runs/cnn_folder --format csv --output tags.csv
    hf-audio tag a.wav b.mp3 --model M --format json --window_s 3 --hop_s 1 --threshold 0.4 --top_k 3
    hf-audio tag recordings/ --model M --format audacity --output labels/ one label track for each recording
    find . -name "*.flac" -print0 | hf-audio tag --files_from - --model M --format jsonl
    ffmpeg -i film.mkv -f wav - | hf-audio tag - --model M

M is a run folder of hf_audio, or any audio classifier of the Hub or a folder. Code that a repository brings along is
never run. Recordings may have any length and format; they are decoded in blocks. With --output, a command that was
interrupted goes on where it stopped when it is given again. Exit code 1 where a recording could not be read, of which
the last lines say why, 2 where nothing could be done.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hf_audio.commands._going_through import gone_through, said_failed
from hf_audio.commands._parser import parser_of
from hf_audio.commands._recordings import (
    add_model,
    add_pace,
    add_recordings,
    facts_of,
    files_of,
    tagger_of,
)
from hf_audio.errors import InputError

if TYPE_CHECKING:
    from hf_audio.tagging.found_files import FoundFile
    from hf_audio.tagging.results import Results
    from hf_audio.tagging.settings import TagSettings
    from hf_audio.tagging.tagger import Tagger

FORMAT_NAMES = ("table", "csv", "json", "jsonl", "audacity", "srt")  # of tagging/formats.py, too slow for --help
OF_SEGMENTS = ("audacity", "srt")
TOP_K = 5


def main(argv: Sequence[str]) -> int:
    """Tags what the flags name."""
    given = _parser().parse_args(argv)
    if given.top_k is not None and given.format in OF_SEGMENTS:
        raise InputError(f"--top_k does not act on --format {given.format}, which has segments alone: leave it out")
    if given.top_k is None:
        given.top_k = TOP_K
    if given.top_k < 0:
        raise InputError(f"--top_k is a number of labels, or 0 for all, found {given.top_k}")
    files, tagger = files_of(given), tagger_of(given)
    settings = tagger.settings(
        window_s=given.window_s,
        hop_s=given.hop_s,
        threshold=given.threshold,
        top_k=given.top_k or None,
        smooth_s=given.smooth_s,
    )

    from hf_audio.tagging.many import tagged

    results = _results(given, files, tagger, settings)
    tags_of = partial(tagged, tagger, settings=settings, num_threads=given.num_threads)
    return said_failed(files, gone_through(files, tags_of, results, "tag"))


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("tag", __doc__)
    add_recordings(parser)
    add_model(parser)
    add_pace(parser)
    add = parser.add_argument
    add("--format", choices=FORMAT_NAMES, default="table", help="default: %(default)s")
    add("--output", help="a file, or for one label track or subtitle file for each recording a folder; default: stdout")
    add("--window_s", type=float, help="seconds of a window; default: as the model was trained")
    add("--hop_s", type=float, help="seconds from one window to the next; default: the model's, or --window_s if given")
    add("--threshold", type=float, help="scores from here on are a yes; default: the model's")
    add("--top_k", type=int, help=f"labels that are listed, 0 for all; default: {TOP_K}")
    add("--smooth_s", type=float, help="seconds of the median over time before segments are made; default: a window")
    return parser


def _results(given: argparse.Namespace, files: Sequence[FoundFile], tagger: Tagger, settings: TagSettings) -> Results:
    from hf_audio.tagging.formats import FORMATS
    from hf_audio.tagging.results import InFile, InFolder, OnStream

    form = FORMATS[given.format]
    if form.is_single and len(files) > 1 and not given.output:
        raise InputError(
            f"--format {given.format} is one file for each recording, and there are {len(files)}: give a folder as "
            "--output"
        )
    if not given.output:
        return OnStream(form)
    output = Path(given.output)
    facts = {**facts_of(given, tagger), "format": given.format, **settings.decisive}
    in_folder = form.is_single and (len(files) > 1 or output.is_dir())
    if not in_folder and not output.parent.is_dir():
        raise InputError(f"There is no folder {output.parent} to write {output.name} to: make it first")
    return (InFolder if in_folder else InFile)(output, form, files, facts)
