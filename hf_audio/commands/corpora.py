"""Download or verify a public corpus; an interrupted download is resumed.

    hf-audio corpora --list                          all corpora: size, license, how to get each
    hf-audio corpora esc50 --data_dir corpora/esc50
    hf-audio corpora fma --data_dir corpora/fma --subset medium
    hf-audio corpora esc50 --data_dir corpora/esc50 --verify     reads every file, downloads nothing

Recipes and hf-audio build download a corpus themselves if --data_dir is not given. Downloading needs
pip install "hf_audio[corpora]". Some corpora have no public address: for these, the command prints where to get them
and what the folder must contain.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from hf_audio.commands._parser import parser_of
from hf_audio.errors import InputError
from hf_audio.terminal import show


def main(argv: Sequence[str]) -> None:
    """Downloads, verifies or lists corpora."""
    given = _parser().parse_args(argv)

    from hf_audio.corpora import corpus_table, find_corpus, obtain_corpus, verify_corpus

    if given.list:
        show(corpus_table())
        return
    if not given.corpus:
        raise InputError("No corpus was given; expected a name such as esc50 (--list shows all)")
    root = Path(given.data_dir or f"corpora/{given.corpus}")
    if given.verify:
        verify_corpus(given.corpus, root)
    else:
        folder = obtain_corpus(given.corpus, root, given.subset)
        # for a corpus without a public address, the error says where to get it
        num_clips = len(find_corpus(given.corpus).index(folder))
        show(f"{num_clips:,} clips. To use them, give a recipe --corpus {given.corpus} --data_dir {folder}")


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("corpora", __doc__)
    parser.add_argument("corpus", nargs="?", help="Name of the corpus, from the first column of --list.")
    parser.add_argument("--data_dir", help="Folder of the corpus. Default: corpora/NAME.")
    parser.add_argument("--subset", help="Part of the corpus to download, e.g. small, medium, large or full for fma.")
    parser.add_argument("--verify", action="store_true", help="Check every file, and download nothing.")
    parser.add_argument("--list", action="store_true", help="List all corpora, and exit.")
    return parser
