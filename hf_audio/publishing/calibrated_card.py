"""The card of a calibrated model: the calibration method, the clips it was fitted on, and how to use the model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, ModelCardData

from hf_audio.files import read_json
from hf_audio.markdown import Markdown, link, one_plain_line, table
from hf_audio.models.origin import is_on_the_hub
from hf_audio.models.saving import needs_own_code
from hf_audio.privacy import is_repo_id, write_published
from hf_audio.publishing.handler import write_handler
from hf_audio.publishing.installing import install_line, network_packages
from hf_audio.publishing.templates import render
from hf_audio.windows import SampleWindows

TASK = "audio-classification"
MAX_LICENSE_CHARS = 100
HOW = {
    "temperature": "Temperature scaling (one temperature for all logits)",
    "vector": "Vector scaling (a slope and a bias per class)",
    "isotonic": "Isotonic regression",
}
MEASURES = {"ece": "ECE", "adaptive_ece": "adaptive ECE", "brier": "Brier score", "log_loss": "log loss"}


def write_calibrated_card(
    folder: Path, facts: Mapping[str, Any], of_source: Mapping[str, Any], rule: SampleWindows | None
) -> None:
    """Writes README.md into the folder of a saved model, and the files of Inference Endpoints if `rule` is known.

    Args:
        folder: contains config.json and preprocessor_config.json.
        facts: the result of `calibrate_model`.
        of_source: the metadata of the source model's card, which may be untrusted. License and datasets are copied
            from there.
        rule: how a sound at the model's sample rate is cut into windows; None if that is not known.
    """
    config, extractor = (read_json(folder / name) for name in ("config.json", "preprocessor_config.json"))
    packages, source, scaling = network_packages(config, extractor), facts["source"], facts["scaling"]
    address = f"{HfApi().endpoint}/{source}" if is_on_the_hub(source) else None
    card_data = ModelCardData(
        library_name="transformers",
        pipeline_tag=TASK,
        base_model=source if address else None,
        base_model_relation="finetune" if address else None,
        **_copied(of_source),
        tags=[TASK, "hf_audio"],
    )
    rows = [[row, *(f"{facts[row][name]:.4f}" for name in MEASURES)] for row in ("before", "after")]
    card = render(
        "calibrated_card.md",
        card_data=Markdown(card_data.to_yaml()),
        name=folder.name,
        source_link=link(source, address),
        how=HOW[scaling["kind"]],
        kind=scaling["kind"],
        num_clips=scaling["num_clips"],
        as_temperature=scaling.get("as_temperature"),
        fitted_on=scaling["fitted_on"],
        before=scaling.get("calibrated_before"),
        facts_table=table(["", *MEASURES.values()], rows),
        install=install_line(packages),
        trust=needs_own_code(config, extractor),
        sample_rate=extractor["sampling_rate"],
        num_labels=len(config["id2label"]),
        multi_label=config.get("problem_type") == "multi_label_classification",
        threshold=facts["threshold"],
        old_threshold=facts["old_threshold"],
    )
    write_published(folder / "README.md", str(card) + "\n")
    if rule is not None:
        write_handler(folder, "transformers", rule, packages)


def _copied(of_source: Mapping[str, Any]) -> dict[str, Any]:
    """License and datasets of the source, without values that are not allowed in a card."""
    texts = {name: of_source.get(name) for name in ("license", "license_name")}
    copied = {name: one_plain_line(text)[:MAX_LICENSE_CHARS] for name, text in texts.items() if isinstance(text, str)}
    named = of_source.get("datasets")
    datasets = [one for one in named if isinstance(one, str) and is_repo_id(one)] if isinstance(named, list) else []
    return {**copied, "datasets": datasets or None}
