"""Facts on a dataset's card: name, license, citation, homepage; limited in length, because they are untrusted."""

from __future__ import annotations

import re

import datasets
from datasets import DatasetInfo

from hf_audio.corpora._dataset.declared import Declared
from hf_audio.corpora._dataset.place import Place
from hf_audio.data.index.table import CorpusCard

MAX_LETTERS = 2_000
UNKNOWN = "unknown"
# Licenses that allow everyone to redistribute recordings and derivatives. Those without derivatives (nd) are excluded,
# because features are derivatives.
OPEN = re.compile(
    r"cc0-1\.0|cc-by(-nc)?(-sa)?-[1-4]\.\d|cc|mit|apache-2\.0|bsd-[23]-clause|odc-by|odbl|pddl|cdla-(sharing|permissive)"
    r"-\d\.\d|c-uda|unlicense|wtfpl|gfdl|artistic-2\.0|[al]?gpl(-\d\.\d)?"
)
_BIBTEX = re.compile(r"```(?:bibtex|bib)?[ \t]*\r?\n\s*(@\w+\s*\{.*?)```", re.DOTALL | re.IGNORECASE)


def card_of(place: Place, declared: Declared, info: DatasetInfo) -> CorpusCard:
    """The card of a dataset as a corpus.

    Args:
        place: the dataset.
        declared: its card.
        info: its description by `datasets`, which may be empty.
    """
    license = _license(declared, info)
    page = f"{datasets.config.HF_ENDPOINT}/datasets/{place.name}" if place.is_on_hub else ""
    found = _BIBTEX.search(declared.text)
    return CorpusCard(
        name=_text(declared.facts.get("pretty_name")) or place.name,
        license=license,
        may_redistribute=bool(OPEN.fullmatch(license)),
        citation=_text(info.citation) or _text(found[1] if found else ""),
        homepage=_text(info.homepage) or page,
        protocol="Window scores averaged per clip.",
        source=place.name,
        revision=place.commit or "",
    )


def _license(declared: Declared, info: DatasetInfo) -> str:
    """A short name; several licenses are joined, and then never count as open."""
    told = declared.facts.get("license")
    if isinstance(told, list):
        told = told[0] if len(told) == 1 else " and ".join(map(str, told[:5]))
    if told in (None, "", "other", "unknown"):
        told = declared.facts.get("license_name") or info.license or UNKNOWN
    return _text(told)[:100] or UNKNOWN


def _text(told: object) -> str:
    """Untrusted text as one line; empty if it is not text."""
    return " ".join(told.split())[:MAX_LETTERS] if isinstance(told, str) else ""
