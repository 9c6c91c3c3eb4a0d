"""One page to judge clips on: listen, keep, correct or drop each, by mouse or keyboard, and take the corrections along.

The page is one file and needs no server. Decisions stay in the browser (localStorage) under a name that pages of the
same clips share; the table that it gives is what `--label_overrides` reads, and is read by the page again.
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
MAX_READ_BYTES = 64 << 20  # of a table of corrections that the page reads
SCRIPTS = ("overrides_csv.js", "workbench_decisions.js", "workbench.js", "workbench_controls.js")
MAX_FACT = 500  # letters


@dataclass(frozen=True)
class Case:
    """A clip to be judged.

    Attributes:
        clip_id: exactly as the corpus names it.
        given, unknown: names of its classes, and of those of which nothing is known.
        suggested: names of what it may be instead; None where nothing is suggested.
        suggests_drop: whether to leave it out is suggested instead.
        confidence: of the suggestion, from 0 to 1; None where there is none.
        facts: one text for each of the page's heads.
        sounds: a name and an address of each recording to be heard.
        plot: an address of an image (data:), or "".
        tags: what cases can be chosen by.
        level: "error", "warning" or "note", which colors it; or "".
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
    """What the cases are of.

    Attributes:
        name: of the corpus or the features, which names the file that the page gives.
        clip_ids: of all clips of the corpus, so that pages of the same clips share what was decided.
        classes: names.
        is_multi_label: whether a clip may have none or several.
        is_partial: whether of some clips it is unknown whether they have a class.
        features, data: what the commands call the features and the recordings until others are typed.
        data_flag: the flag that names the recordings.
    """

    name: str
    clip_ids: Iterable[str] = field(repr=False)
    classes: Sequence[str]
    is_multi_label: bool
    is_partial: bool = False
    features: str = "FEATURES_DIR"
    data: str = "DIR"
    data_flag: str = "--data_dir"


def workbench_page(
    title: str, notes: Sequence[str], judged: Judged, heads: Sequence[str], cases: Sequence[Case]
) -> str:
    """The HTML of a workbench.

    Args:
        notes: paragraphs under the title; those of several lines stay as they are set.
        heads: of the facts of each case.
        cases: the most important first; what is behind MAX_CASES is left out, which `notes` should say.
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
    """What the commands ask for, and what stands in its place until it is typed."""
    return [
        {"name": "file", "title": "Corrections", "value": f"{_file_name(judged.name)}-overrides.csv"},
        {"name": "features", "title": "Features with the labels as given", "value": judged.features},
        {"name": "data", "title": "Recordings", "value": judged.data},
        {"name": "recipe", "title": "Recipe", "value": "recipes/cnn_folder.py"},
        {"name": "output", "title": "Output folder", "value": "runs/corrected"},
    ]


def _commands(judged: Judged) -> list[tuple[str, str]]:
    """Titles and commands, with the fields in braces."""
    compare = "python scripts/compare_overrides.py {features} {file}"
    train = f"accelerate launch {{recipe}} {judged.data_flag} {{data}}"
    train += " --label_overrides {file} --output_dir {output}"
    commands = [
        ("A quick model with and without the corrections: is it better than noise?", compare),
        ("Train with the corrections", train),
    ]
    if judged.data_flag == "--data_dir":
        with_recipe = compare + " --recipe {recipe} --data_dir {data} --seeds 3"
        commands.append(("The recipe with and without them, three seeds each", with_recipe))
    return commands


def _digest(clip_ids: Iterable[str]) -> str:
    """The same for the same clips in any order."""
    names = sorted(name.encode("utf-8", "surrogatepass") for name in clip_ids)
    return sha256(b"\0".join(names)).hexdigest()[:32]


def _file_name(name: str) -> str:
    """A name as any system takes it for a file."""
    return re.sub(r"[^\w.-]+", "_", printable(name)).strip("._")[: MAX_NAME // 2] or "clips"
