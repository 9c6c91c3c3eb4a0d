"""A page to review clips: listen, then keep, correct or drop each by mouse or keyboard, and download the corrections.

The page is one file and needs no server. Decisions are stored in the browser (localStorage) under a key that pages of
the same clips share. The downloaded table is for `--label_overrides`, and the page can load it again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from hf_audio.errors import printable
from hf_audio.figures.scripted_page import MAX_NAME, scripted_page

MAX_CASES = 2_000
MAX_READ_BYTES = 64 << 20  # of a table of corrections that the page loads
SCRIPTS = ("overrides_csv.js", "workbench_decisions.js", "workbench.js", "workbench_controls.js")
MAX_FACT = 500  # characters


@dataclass(frozen=True)
class Case:
    """A clip to review.

    Attributes:
        clip_id: exactly as in the corpus.
        given, unknown: names of its classes, and of its unknown classes.
        suggested: names of the suggested classes; None if there is no suggestion.
        suggests_drop: whether the suggestion is to leave it out.
        confidence: confidence of the suggestion, from 0 to 1; None if there is none.
        facts: one text per heading of the page.
        sounds: name and address of each recording.
        plot: data URL of an image, or "".
        tags: tags for filtering.
        level: "error", "warning" or "note", which sets the color; or "".
    """

    clip_id: str
    given: Sequence[str]
    unknown: Sequence[str] = ()
    suggested: Sequence[str] | None = None
    suggests_drop: bool = False
    confidence: float | None = None
    facts: Sequence[str] = ()
    sounds: Sequence[tuple[str, str]] = ()
    plot: str = ""
    tags: Sequence[str] = ()
    level: str = ""


@dataclass(frozen=True)
class Judged:
    """The data that the cases come from.

    Attributes:
        name: name of the corpus or the features, used for the name of the downloaded file.
        clip_ids: all clips of the corpus, so that pages of the same clips share decisions.
        classes: names of the classes.
        is_multi_label: whether a clip may have no class or several.
        is_partial: whether labels may be unknown.
        features, data: initial values for the features and the recordings in the commands.
        data_flag: the flag for the recordings.
        reading: other flags for a recipe to read them, quoted for a shell.
    """

    name: str
    clip_ids: Iterable[str] = field(repr=False)
    classes: Sequence[str]
    is_multi_label: bool
    is_partial: bool = False
    features: str = "FEATURES_DIR"
    data: str = "DIR"
    data_flag: str = "--data_dir"
    reading: str = ""


def workbench_page(
    title: str, notes: Sequence[str], judged: Judged, heads: Sequence[str], cases: Sequence[Case]
) -> str:
    """The HTML of a workbench.

    Args:
        notes: paragraphs under the title; those with several lines are preformatted.
        heads: headings of the facts of each case.
        cases: the most important first; those after MAX_CASES are left out, which `notes` should mention.
    """
    data = {
        "notes": ["\n".join(map(printable, note.split("\n"))) for note in notes],
        "key": f"hf_audio corrections {_digest(judged.clip_ids)}",
        "file": f"{_file_name(judged.name)}-overrides.csv",
        "maxBytes": MAX_READ_BYTES,
        "classes": list(judged.classes),
        "isMulti": judged.is_multi_label,
        "isPartial": judged.is_partial,
        "heads": list(heads),
        "cases": [_case(one) for one in cases[:MAX_CASES]],
        "fields": _fields(judged),
        "commands": [{"title": heading, "text": text} for heading, text in _commands(judged)],
    }
    return scripted_page("workbench.html", title, SCRIPTS, data)


def _case(one: Case) -> dict[str, Any]:
    return {
        "id": one.clip_id,
        "given": list(one.given),
        "unknown": list(one.unknown),
        "suggested": None if one.suggested is None else list(one.suggested),
        "drops": one.suggests_drop,
        "confidence": one.confidence,
        "facts": [printable(fact)[:MAX_FACT] for fact in one.facts],
        "sounds": [{"name": printable(name), "address": address} for name, address in one.sounds],
        "plot": one.plot,
        "tags": list(dict.fromkeys(one.tags)),
        "level": one.level,
    }


def _fields(judged: Judged) -> list[dict[str, str]]:
    """The fields of the commands, with their initial values."""
    return [
        {"name": "file", "title": "Corrections", "value": f"{_file_name(judged.name)}-overrides.csv"},
        {"name": "features", "title": "Features with the labels as given", "value": judged.features},
        {"name": "data", "title": "Recordings", "value": judged.data},
        {"name": "recipe", "title": "Recipe", "value": "recipes/cnn_folder.py"},
        {"name": "flags", "title": "Other flags of the recipe, such as --corpus irmas", "value": judged.reading},
        {"name": "output", "title": "Output folder", "value": "runs/corrected"},
    ]


def _commands(judged: Judged) -> list[tuple[str, str]]:
    """Titles and commands, with the fields in braces: `flags` verbatim, `after_dashes` after a --, if there are any."""
    compare = "python scripts/compare_overrides.py {features} {file}"
    train = f"accelerate launch {{recipe}} {judged.data_flag} {{data}}{{flags}}"
    train += " --label_overrides {file} --output_dir {output}"
    commands = [
        ("A quick model with and without the corrections: is the difference more than noise?", compare),
        ("Train with the corrections", train),
    ]
    if judged.data_flag == "--data_dir":
        with_recipe = compare + " --recipe {recipe} --data_dir {data} --seeds 3{after_dashes}"
        commands.append(("The recipe with and without the corrections, three seeds each", with_recipe))
    return commands


def _digest(clip_ids: Iterable[str]) -> str:
    """A digest of the clips that does not depend on their order."""
    names = sorted(name.encode("utf-8", "surrogatepass") for name in clip_ids)
    return sha256(b"\0".join(names)).hexdigest()[:32]


def _file_name(name: str) -> str:
    """A name that is valid as a file name on any system."""
    return re.sub(r"[^\w.-]+", "_", printable(name)).strip("._")[: MAX_NAME // 2] or "clips"
