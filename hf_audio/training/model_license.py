"""The license of a published model, as its card says it."""

from __future__ import annotations

from hf_audio.errors import InputError
from hf_audio.files import parse_yaml, read_text
from hf_audio.markdown import one_plain_line
from hf_audio.models.foreign_checkpoint import Checkpoint

MAX_CARD_BYTES = 1 << 20
MAX_LETTERS = 100
RULE = "---"


def license_in_card(checkpoint: Checkpoint) -> str | None:
    """The license in the head of a checkpoint's README.md; None where it has no card, or one that says nothing of it.

    A card is somebody's words: what cannot be read says nothing.
    """
    path = checkpoint.path("README.md", optional=True)
    if path is None:
        return None
    try:
        begin, _, rest = read_text(path, MAX_CARD_BYTES).partition(RULE)
        facts = parse_yaml(rest.partition(f"\n{RULE}")[0], path) if not begin.strip() else {}
    except InputError:
        return None
    said = facts.get("license_name") if facts.get("license") == "other" else facts.get("license")
    return one_plain_line(said)[:MAX_LETTERS] if isinstance(said, str) and said.strip() else None
