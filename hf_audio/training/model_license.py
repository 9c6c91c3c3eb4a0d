"""The license of a published model, from its card."""

from __future__ import annotations

from hf_audio.markdown import one_plain_line
from hf_audio.models.checkpoint_card import facts_in_card
from hf_audio.models.foreign_checkpoint import Checkpoint

MAX_LETTERS = 100


def license_in_card(checkpoint: Checkpoint) -> str | None:
    """The license in the metadata of a checkpoint's README.md; None if there is no card or no license in it."""
    facts = facts_in_card(checkpoint)
    said = facts.get("license_name") if facts.get("license") == "other" else facts.get("license")
    return one_plain_line(said)[:MAX_LETTERS] if isinstance(said, str) and said.strip() else None
