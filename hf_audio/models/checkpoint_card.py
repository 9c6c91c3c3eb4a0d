"""The metadata of a checkpoint's model card. It is third-party text: unreadable parts are treated as missing."""

from __future__ import annotations

from typing import Any

from hf_audio.errors import InputError
from hf_audio.files import parse_yaml, read_text
from hf_audio.models.foreign_checkpoint import Checkpoint

MAX_CARD_BYTES = 1 << 20
RULE = "---"


def facts_in_card(checkpoint: Checkpoint) -> dict[str, Any]:
    """The metadata of a checkpoint's README.md; empty if it has no card, or its metadata cannot be read."""
    path = checkpoint.path("README.md", optional=True)
    if path is None:
        return {}
    try:
        begin, _, rest = read_text(path, MAX_CARD_BYTES).partition(RULE)
        return parse_yaml(rest.partition(f"\n{RULE}")[0], path) if not begin.strip() else {}
    except InputError:
        return {}


def datasets_in_card(checkpoint: Checkpoint) -> list[str]:
    """The datasets that a checkpoint was trained on, according to its card."""
    said = facts_in_card(checkpoint).get("datasets")
    said = [said] if isinstance(said, str) else said
    return [one for one in said if isinstance(one, str)] if isinstance(said, list) else []
