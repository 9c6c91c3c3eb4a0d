"""The card of a model whose scores were calibrated: by what, on which clips, and how to use it."""

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
MAX_LETTERS = 100  # of the name of a license
HOW = {
    "temperature": "A single temperature for all logits",
    "vector": "A slope and a bias per class (vector scaling)",
    "isotonic": "Isotonic regression",
}
MEASURES = {"ece": "ECE", "adaptive_ece": "adaptive ECE", "brier": "Brier score", "log_loss": "log loss"}


def write_calibrated_card(
    folder: Path, facts: Mapping[str, Any], of_source: Mapping[str, Any], rule: SampleWindows | None
) -> None:
    """Writes README.md beside a saved model, and where its windows are known what Inference Endpoints run.

    Args:
        folder: with config.json and preprocessor_config.json.
        facts: what `calibrate_model` returns.
        of_source: the metadata of the source's card, which may be untrusted: its license and datasets go along.
        rule: how a sound at the model's rate is cut.
    """
    config, extractor = (read_json(folder / name) for name in ("config.json", "preprocessor_config.json"))
    packages, source, scaling = network_packages(config, extractor), facts["source"], facts["scaling"]
    address = f"{HfApi().endpoint}/{source}" if is_on_the_hub(source) else None
    card_data = ModelCardData(
        library_name="transformers",
        pipeline_tag=TASK,
        base_model=source if address else None,
        base_model_relation="finetune" if address else None,
        **_taken_over(of_source),
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


def _taken_over(of_source: Mapping[str, Any]) -> dict[str, Any]:
    """License and datasets of the source, as far as they are what a card may say."""
    texts = {name: of_source.get(name) for name in ("license", "license_name")}
    taken = {name: one_plain_line(text)[:MAX_LETTERS] for name, text in texts.items() if isinstance(text, str)}
    named = of_source.get("datasets")
    datasets = [one for one in named if isinstance(one, str) and is_repo_id(one)] if isinstance(named, list) else []
    return {**taken, "datasets": datasets or None}
