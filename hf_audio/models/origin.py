"""Where the weights came from that a model was fine-tuned from: its name, their license, and whom to thank for them."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedModel

from hf_audio.privacy import is_repo_id, public_name


def origin_of(model: PreTrainedModel) -> dict[str, Any]:
    """What a report says of them; `base_model` is None where a model was trained from scratch.

    Returns:
        `base_model`, and where their authors say so in the library that brings them (timm does) `base_license`,
        `base_source`, an address, and `base_papers`.
    """
    weights = getattr(model, "pretrained_weights", None)
    if weights is None:
        base = model.name_or_path  # empty where the model was made from scratch
        return {"base_model": public_name(base) if base else None}
    papers = [weights.get(name) for name in ("paper_name", "paper_ids")]
    papers = [one for given in papers for one in ([given] if isinstance(given, str) else given or ())]
    facts = {"base_license": weights.get("license"), "base_source": weights.get("origin_url"), "base_papers": papers}
    return {"base_model": weights["hf_hub_id"], **{name: value for name, value in facts.items() if value}}


def is_on_the_hub(base_model: str | None) -> bool:
    """Whether a base model's name is one on the Hub, which has a namespace, so that metadata can lead there."""
    return is_repo_id(base_model) and base_model.count("/") == 1
