"""The license identifiers that the Hub accepts in cards."""

from __future__ import annotations

import re

from hf_audio.errors import InputError, nearest_name

# https://huggingface.co/docs/hub/repositories-licenses
HUB_LICENSES = frozenset(
    "apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0 "  # noqa: SIM905
    "bigcode-openrail-m afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear "
    "c-uda cc cc0-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 "
    "cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 "
    "cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0 cdla-permissive-1.0 cdla-permissive-2.0 wtfpl "
    "ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0 lgpl "
    "lgpl-2.1 lgpl-3.0 isc h-research intel-research lppl-1.3c ms-pl mpl-2.0 odc-by odbl openmdw-1.0 "
    "openrail++ osl-3.0 postgresql ofl-1.1 ncsa unlicense zlib pddl lgpl-lr unknown other".split()
)


def license_slug(license: str) -> str:
    """A license's name in the Hub's spelling: lower case, with hyphens instead of other characters.

    >>> license_slug("CC BY-NC-SA 3.0")
    'cc-by-nc-sa-3.0'
    """
    return re.sub(r"[^a-z0-9.+]+", "-", license.lower()).strip("-")


def model_license(license: str) -> str:
    """The Hub's identifier of a model's license.

    Raises:
        InputError: the Hub does not know the license.
    """
    slug = license_slug(license)
    if slug in HUB_LICENSES:
        return slug
    near = nearest_name(slug, HUB_LICENSES)
    hint = f"did you mean {near!r}?" if near else "give its identifier, e.g. apache-2.0, cc-by-4.0 or mit, or other"
    raise InputError(f"--license {license!r} is not a license that the Hub knows: {hint}")
