"""What a card tells its readers to install. `make compatibility` installs the same and runs the card's code."""

from __future__ import annotations

from collections.abc import Iterable

from hf_audio.markdown import Markdown, code

# The oldest release that `make compatibility` runs every card's code with, as it stands.
OLDEST_TRANSFORMERS = "4.48"


def install_line(packages: Iterable[str]) -> Markdown:
    """The arguments of `pip install`; what a shell would read otherwise stands in quotation marks.

    >>> install_line(["torch", "transformers>=4.48"])
    'torch "transformers>=4.48"'
    """
    return code(" ".join(f'"{one}"' if set(one) & set("<>=[]") else one for one in packages))
