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
import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hf_audio.commands._recordings import (
    add_model,
    add_recordings,
    files_of,
    parser_of,
    recording,
    said_failed,
    tagger_of,
)
from hf_audio.errors import InputError
from hf_audio.terminal import named_logger

if TYPE_CHECKING:
    from hf_audio.tagging.found_files import FoundFile
    from hf_audio.tagging.results import Results
    from hf_audio.tagging.settings import TagSettings
    from hf_audio.tagging.sounds import Recording
    from hf_audio.tagging.tagger import Tagger

logger = named_logger(__name__)
FORMAT_NAMES = ("table", "csv", "json", "jsonl", "audacity", "srt")  # of tagging/formats.py, too slow for --help
OF_SEGMENTS = ("audacity", "srt")
TOP_K = 5
MAX_PROBED = 100  # recordings whose headers are read to tell how much there is to hear


def main(argv: Sequence[str]) -> int:
    """Tags what the flags name."""
    given = _parser().parse_args(argv)
    if given.top_k is not None and given.format in OF_SEGMENTS:
        raise InputError(f"--top_k does not act on --format {given.format}, which has segments alone: leave it out")
    if given.top_k is None:
        given.top_k = TOP_K
    if given.top_k < 0:
        raise InputError(f"--top_k is a number of labels, or 0 for all, found {given.top_k}")
    if given.num_threads is not None and given.num_threads < 1:
        raise InputError(f"--num_threads is at least 1, found {given.num_threads}")
    files, tagger = files_of(given), tagger_of(given, given.batch_size)
    settings = tagger.settings(
        window_s=given.window_s,
        hop_s=given.hop_s,
        threshold=given.threshold,
        top_k=given.top_k or None,
        smooth_s=given.smooth_s,
    )
    results = _results(given, files, tagger, settings)
    return said_failed(files, _tag_all(tagger, files, settings, results, given.num_threads))


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("tag", __doc__)
    add_recordings(parser)
    add_model(parser)
    add = parser.add_argument
    add("--format", choices=FORMAT_NAMES, default="table", help="default: %(default)s")
    add("--output", help="a file, or for one label track or subtitle file for each recording a folder; default: stdout")
    add("--window_s", type=float, help="seconds of a window; default: as the model was trained")
    add("--hop_s", type=float, help="seconds from one window to the next; default: the model's, or --window_s if given")
    add("--threshold", type=float, help="scores from here on are a yes; default: the model's")
    add("--top_k", type=int, help=f"labels that are listed, 0 for all; default: {TOP_K}")
    add("--smooth_s", type=float, help="seconds of the median over time before segments are made; default: a window")
    add("--batch_size", type=int, help="windows at a time; default: 8 on a CPU, 32 on an accelerator")
    add("--num_threads", type=int, help="that read recordings; default: one for each core")
    return parser


def _results(given: argparse.Namespace, files: Sequence[FoundFile], tagger: Tagger, settings: TagSettings) -> Results:
    from hf_audio.finished_work import digest_of_folder
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
    model = digest_of_folder(Path(given.model)) if os.path.isdir(given.model) else tagger.predictor.revision
    facts = {"model": model, "format": given.format, "bf16": given.bf16, **settings.decisive}
    in_folder = form.is_single and (len(files) > 1 or output.is_dir())
    if not in_folder and not output.parent.is_dir():
        raise InputError(f"There is no folder {output.parent} to write {output.name} to: make it first")
    return (InFolder if in_folder else InFile)(output, form, files, facts)


def _tag_all(
    tagger: Tagger,
    files: Sequence[FoundFile],
    settings: TagSettings,
    results: Results,
    num_threads: int | None,
) -> dict[int, str]:
    """Tags what is not finished yet; returns why others, by their places, could not be read."""
    from hf_audio.tagging.many import tagged
    from hf_audio.terminal import progress

    failed: dict[int, str] = {}
    with results.open() as finished:
        if finished:
            logger.warning("%d of %d recordings are finished already", len(finished), len(files))
        rest = sorted(set(range(len(files))) - set(finished))
        recordings = [recording(files[number]) for number in rest]
        total_s = _total_s(recordings)
        with progress(desc="tag", unit=" s of sound", total=total_s, disable=None, bar_format=_bar(total_s)) as bar:
            for place, found in tagged(tagger, recordings, settings, num_threads=num_threads, heard=bar.update):
                if isinstance(found, str):
                    failed[rest[place]] = found
                    results.skip(rest[place])
                else:
                    results.add(rest[place], found)
        results.finish()
    return failed


def _total_s(recordings: Sequence[Recording]) -> float | None:
    """How much there is to hear, by the headers of a few recordings; of many nobody waits for it."""
    from hf_audio.data.recordings.audio import probe
    from hf_audio.data.recordings.reasons import AudioError

    if len(recordings) > MAX_PROBED or not sys.stderr.isatty():
        return None
    total_s = 0.0
    for one in recordings:
        with contextlib.suppress(AudioError):
            total_s += probe(one.source).duration_s
    return total_s


def _bar(total_s: float | None) -> str:
    """A bar in whole seconds; without a known end, what was heard so far."""
    done = "{n:.0f} s of sound heard in {elapsed}"
    return done if total_s is None else "{desc}: {percentage:3.0f}%|{bar}| " + done + ", {remaining} left"
