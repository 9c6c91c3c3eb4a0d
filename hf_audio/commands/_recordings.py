"""Flags for recordings and a model, for the commands that take both."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_audio.commands._quick_transformers import import_losses
from hf_audio.environment import quick_imports
from hf_audio.errors import InputError

if TYPE_CHECKING:
    from hf_audio.tagging.found_files import FoundFile
    from hf_audio.tagging.tagger import Tagger

STDIN = "-"


def add_recordings(parser: argparse.ArgumentParser) -> None:
    """The flags that `files_of` reads."""
    parser.add_argument(
        "recordings", nargs="*", metavar="FILE_OR_FOLDER", help="Recordings, folders, or - for audio on stdin."
    )
    parser.add_argument("--files_from", metavar="LIST", help="Text file with one file name per line, or - for stdin.")


def add_model(parser: argparse.ArgumentParser) -> None:
    """The flags that `tagger_of` reads."""
    parser.add_argument("--model", required=True, help="Run folder, or Hub name of any audio classifier.")
    parser.add_argument("--revision", help="Branch, tag or commit of the model on the Hub.")
    parser.add_argument("--token", help="Hub token, for a private model. Default: HF_TOKEN, or that of hf auth login.")
    parser.add_argument("--device", help="cpu, cuda, cuda:1 and so on. Default: the GPU if there is one.")
    parser.add_argument("--bf16", action="store_true", help="Compute in bfloat16.")


def add_pace(parser: argparse.ArgumentParser) -> None:
    """The flags that affect only the speed of commands that process many recordings."""
    parser.add_argument("--batch_size", type=int, help="Windows per batch. Default: 8 on a CPU, 32 on a GPU.")
    parser.add_argument("--num_threads", type=int, help="Threads that read recordings. Default: one per core.")


def files_of(given: argparse.Namespace) -> list[FoundFile]:
    """The recordings. They are found before a model is loaded, since loading takes seconds.

    Raises:
        InputError: no recordings are given, or they are given in two ways; the number of threads is invalid; or
            see `found_files`.
    """
    if given.num_threads is not None and given.num_threads < 1:
        raise InputError(f"--num_threads must be at least 1, found {given.num_threads}")
    if bool(given.recordings) == bool(given.files_from):
        raise InputError("Give recordings, folders or - for audio on stdin, or a list of them with --files_from LIST")
    if sys.stdin is None and STDIN in (*given.recordings, given.files_from):
        raise InputError("Standard input is closed: pipe audio into it, or give files")
    if STDIN in given.recordings and len(given.recordings) > 1:
        raise InputError("- means audio on stdin and cannot be combined with files: use two commands")

    from hf_audio.tagging.found_files import FoundFile, found_files, names_listed

    if given.files_from:
        return found_files(names_listed(given.files_from))
    return [FoundFile(STDIN, "stdin")] if given.recordings == [STDIN] else found_files(given.recordings)


def is_folder_name(output: str) -> bool:
    """Whether a path ends like a folder's, as in "labels/"; a Path would drop the slash."""
    return output.endswith(("/", os.sep))


def output_file(given: str) -> Path:
    """The path given by --output, which is checked before a model is loaded.

    Raises:
        InputError: it cannot be written, already exists, or ends like a folder's.
    """
    output = Path(given)
    if is_folder_name(given):
        raise InputError(f"{given} names a folder: give a file as --output")
    if os.path.lexists(output):
        what = "is a folder: give a file in it as" if output.is_dir() else "already exists: remove it, or give another"
        raise InputError(f"{output} {what} --output")
    if not output.parent.is_dir():
        raise InputError(f"The folder {output.parent} for {output.name} does not exist: create it first")
    return output


def tagger_of(given: argparse.Namespace) -> Tagger:
    """Loads the given model, without a progress bar for its weights."""
    with quick_imports():
        import_losses()
        from transformers.utils import logging as of_transformers

        from hf_audio.tagging.loading import load

    of_transformers.disable_progress_bar()
    options = {"device": given.device, "bf16": given.bf16, "batch_size": getattr(given, "batch_size", None)}
    return load(given.model, token=given.token, revision=given.revision, **options)


def facts_of(given: argparse.Namespace, tagger: Tagger) -> dict[str, Any]:
    """The facts about the model that its results depend on."""
    from hf_audio.finished_work import digest_of_folder

    if os.path.isdir(given.model):
        model = digest_of_folder(Path(given.model))
    else:  # branches change, so the commit identifies the model; --revision takes it
        model = f"{given.model}@{tagger.predictor.commit}"
    return {"model": model, "bf16": given.bf16}
