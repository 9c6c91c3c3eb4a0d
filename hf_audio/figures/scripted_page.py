"""Pages that are one file and work in a browser alone: a template, its scripts, and data that stay data.

Names in the data may be untrusted. They stand in a block of JSON that no browser executes, and scripts write them as
text alone. The page's policy lets nothing run but the scripts that it was made with, and nothing come from a network.
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
MAX_NAME = 200  # letters of a name that are shown
# https://www.w3.org/TR/CSP3/: recordings are played from this disk, or from where the page itself lies
POLICY = (
    "default-src 'none'; script-src '{}'; style-src 'unsafe-inline'; img-src data:; media-src 'self' file:; "
    "base-uri 'none'; form-action 'none'"
)


def scripted_page(template: str, title: str, scripts: Sequence[str], data: Mapping[str, Any]) -> str:
    """The HTML of a page.

    Args:
        template: a file of this folder, whose blocks extend scripted_page.html.
        scripts: files of this folder, run in this order as one.
        data: JSON-able, without NaN; what the scripts show.
    """
    script = "\n".join((FOLDER / name).read_text(encoding="utf-8").strip() for name in ("page_data.js", *scripts))
    script = f'"use strict";\n{script}\n'
    policy = POLICY.format("sha256-" + b64encode(sha256(script.encode()).digest()).decode())
    made = _TEMPLATES.get_template(template)
    return made.render(title=printable(title), policy=Markup(policy), script=Markup(script), data=dict(data)) + "\n"


def shown_name(name: str) -> str:
    """A name as a page shows it: nothing in it turns or hides other text, and what is very long is cut."""
    name = printable(name)
    return name if len(name) <= MAX_NAME else name[: MAX_NAME - 1] + "…"


_TEMPLATES = jinja2.Environment(loader=jinja2.FileSystemLoader(FOLDER), autoescape=True)
_TEMPLATES.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
