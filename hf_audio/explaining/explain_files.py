"""Explains recordings in files, each in its own folder, with a page that links to all of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from hf_audio.data.recordings.reasons import AudioError
from hf_audio.errors import InputError
from hf_audio.explaining.explanations import explain
from hf_audio.explaining.pages import overview_page, overview_row
from hf_audio.explaining.results import PAGE, write_explanation
from hf_audio.explaining.settings import ExplainSettings
from hf_audio.files import write_atomically
from hf_audio.privacy import public_name
from hf_audio.tagging.found_files import FoundFile
from hf_audio.tagging.sounds import recording_of
from hf_audio.tagging.tagger import Tagger
from hf_audio.terminal import named_logger, progress

logger = named_logger(__name__)


def explain_files(tagger: Tagger, files: Sequence[FoundFile], folder: Path, settings: ExplainSettings) -> int:
    """Explains recordings, each in a subfolder of `folder` with its name. For several, index.html links to all.

    Returns:
        The number of recordings that could not be explained; each is named in the log.

    Raises:
        InputError: two files with the same name, a folder that already exists, or an error of `explain` before any
            recording was explained.
    """
    _check_free(files, folder)
    rows = []  # only these are kept, since windows and relevance of many recordings would fill the memory
    for file in progress(files, desc="explain", unit=" recordings", disable=len(files) < 2):
        try:
            explanation = explain(tagger, recording_of(file.path), file.name, settings)
        except AudioError as error:
            logger.warning("%s cannot be explained: %s", file.name, error.reason)
            continue
        except InputError as error:
            if not rows:  # probably a setting that suits no recording
                raise
            logger.warning("%s cannot be explained: %s", file.name, error)
            continue
        write_explanation(explanation, folder / file.name)
        rows.append(overview_row(file.name, explanation))
    if len(files) > 1 and rows:
        write_atomically(folder / PAGE, overview_page(public_name(tagger.name), rows))
    return len(files) - len(rows)


def _check_free(files: Sequence[FoundFile], folder: Path) -> None:
    """Raises InputError if results would overwrite each other, or other files."""
    if os.path.lexists(folder) and not folder.is_dir():
        raise InputError(f"{folder} is a file: give a folder as --output_dir")
    if len(files) > 1 and os.path.lexists(folder / PAGE):
        raise InputError(f"{folder / PAGE} already exists, for other recordings: give another --output_dir")
    seen: dict[str, str] = {}
    for file in files:
        other = seen.setdefault(file.name, file.path)
        if other != file.path:
            raise InputError(
                f"{other} and {file.path} would both be written to {folder / file.name}: give their parent folder, "
                "or explain them one after the other"
            )
        if file.name == PAGE or os.path.lexists(folder / file.name):
            raise InputError(f"{folder / file.name} already exists: remove it, or give another --output_dir")
