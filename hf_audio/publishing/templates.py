"""Templates of cards. Every value in them is escaped unless a filter says otherwise.

{{ value }}             plain text
{{ value | python }}    a literal in Python code
{{ value | code }}      one line between backticks or in a code block, unchanged
{{ text | link(url) }}  a link if the address is http(s)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2

from hf_audio.markdown import Markdown, code, escaped, link, python_literal


def render(template: str, **values: Any) -> Markdown:
    """Fills a template of this folder."""
    return Markdown(_ENVIRONMENT.get_template(template).render(**values))


def fill(text: str, **values: Any) -> Markdown:
    """Fills a template that is given as text."""
    return Markdown(_ENVIRONMENT.from_string(text).render(**values))


_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent), finalize=escaped, autoescape=False
)
_ENVIRONMENT.filters |= {"python": python_literal, "code": code, "link": link}
