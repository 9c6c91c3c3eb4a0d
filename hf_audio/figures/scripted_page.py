"""Interactive pages in one file: a template, its scripts, and data that cannot be executed.

Names in the data may be untrusted. They are in a JSON block that browsers do not execute, and scripts only write them
as text. The page's Content Security Policy allows only its own scripts, and no network access.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from hf_audio.errors import printable

FOLDER = Path(__file__).parent
MAX_NAME = 200  # characters of a name that are shown
# https://www.w3.org/TR/CSP3/: recordings are played from local files, or from the origin of the page
POLICY = (
    "default-src 'none'; script-src '{}'; style-src 'unsafe-inline'; img-src data:; media-src 'self' file:; "
    "base-uri 'none'; form-action 'none'"
)


def scripted_page(template: str, title: str, scripts: Sequence[str], data: Mapping[str, Any]) -> str:
    """The HTML of a page.

    Args:
        template: a file in this folder that extends scripted_page.html.
        scripts: files in this folder, joined in this order.
        data: the data for the scripts; JSON-serializable, without NaN.
    """
    script = "\n".join((FOLDER / name).read_text(encoding="utf-8").strip() for name in ("page_data.js", *scripts))
    script = f'"use strict";\n{script}\n'
    policy = POLICY.format("sha256-" + b64encode(sha256(script.encode()).digest()).decode())
    made = _TEMPLATES.get_template(template)
    return made.render(title=printable(title), policy=Markup(policy), script=Markup(script), data=dict(data)) + "\n"


def shown_name(name: str) -> str:
    """A name for a page: without characters that reorder or hide text, and cut if it is very long."""
    name = printable(name)
    return name if len(name) <= MAX_NAME else name[: MAX_NAME - 1] + "…"


_TEMPLATES = jinja2.Environment(loader=jinja2.FileSystemLoader(FOLDER), autoescape=True)
_TEMPLATES.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
