"""The licenses of a dataset's sources: whether they permit publishing, and their identifiers on the Hub."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hf_audio.errors import InputError
from hf_audio.hub_licenses import HUB_LICENSES, license_slug
from hf_audio.markdown import web_address


def sources_of(corpus: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The corpora in a dataset, from the `corpus` entry of its manifest: the corpus itself, and those mixed into it.

    Several corpora joined into one have no license of their own: only the individual corpora are returned.
    """
    others = corpus.get("others", ())
    return [*others] if others and not corpus["license"] else [corpus, *others]


def refuse_closed(
    repo_id: str, sources: Iterable[Mapping[str, Any]], is_private: bool, public_license: str | Iterable[str] | None
) -> None:
    """Refuses to publish data from a source that not everyone may redistribute.

    Args:
        repo_id: the repository that would be pushed to.
        sources: `name`, `license` and `may_redistribute` of each source.
        is_private: whether the repository is private.
        public_license: the exact licenses that the user named, thereby taking responsibility.

    Raises:
        InputError: the license of a source forbids it and the user did not name it.
    """
    named = [public_license] if isinstance(public_license, str) else list(public_license or ())
    closed = [one for one in sources if one["may_redistribute"] is not True]
    if is_private or all(one["license"] in named for one in closed):
        return
    first = next(one for one in closed if one["license"] not in named)
    licenses = list(dict.fromkeys(one["license"] for one in closed))
    given = f" (you named {' and '.join(map(repr, named))})" if named else ""
    in_python = repr(licenses[0] if len(licenses) == 1 else licenses)
    raise InputError(
        f"{repo_id} would be public, but {first['name']} is under {first['license']!r}{given} and not everyone may "
        "redistribute its audio or features: push to a private repository (--private or --hub_private_repo, in Python "
        f"private=True), or, if you may publish it, name its license exactly (public_license={in_python}, "
        f"--public_license {' '.join(map(repr, licenses))})"
    )


def hub_licenses(sources: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The licenses of all sources as metadata: their common one, or "other" with all names."""
    found = {one["license"]: hub_license(one["license"], one.get("homepage")) for one in sources}
    if len(found) == 1:
        return next(iter(found.values()))
    return {"license": "other", "license_name": "-and-".join(license_slug(license) or "unknown" for license in found)}


def hub_license(license: str, homepage: str | None = None) -> dict[str, Any]:
    """A license's name as metadata: one of the Hub's identifiers, or "other" with `license_name`.

    >>> hub_license("CC BY-NC-SA 3.0")
    {'license': 'cc-by-nc-sa-3.0'}
    """
    slug = license_slug(license)
    if slug in HUB_LICENSES:
        return {"license": slug}
    link = {"license_link": web_address(homepage)} if web_address(homepage) else {}
    return {"license": "other", "license_name": slug or "unknown", **link}
