"""The base model that a model was fine-tuned from: its name, the license of its weights, and their sources."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedModel

from hf_audio.privacy import is_repo_id, public_name


def origin_of(model: PreTrainedModel) -> dict[str, Any]:
    """Facts about the base model, for the report.

    Returns:
        `base_model`, None if the model was trained from scratch. If the library of the weights has them, as timm does,
        also `base_license`, `base_source` (a URL) and `base_papers`.
    """
    weights = getattr(model, "pretrained_weights", None)
    if weights is None:
        base = model.name_or_path  # empty if the model was built from scratch
        return {"base_model": public_name(base) if base else None}
    papers = [weights.get(name) for name in ("paper_name", "paper_ids")]
    papers = [one for given in papers for one in ([given] if isinstance(given, str) else given or ())]
    facts = {"base_license": weights.get("license"), "base_source": weights.get("origin_url"), "base_papers": papers}
    return {"base_model": weights["hf_hub_id"], **{name: value for name, value in facts.items() if value}}


def is_on_the_hub(base_model: str | None) -> bool:
    """Whether a base model's name is a Hub name with a namespace, so that metadata can link to it."""
    return is_repo_id(base_model) and base_model.count("/") == 1
