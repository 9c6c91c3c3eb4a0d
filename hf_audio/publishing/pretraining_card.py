"""The card of a pretrained encoder: its objective, its data, and how to fine-tune it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub import HfApi, ModelCard, ModelCardData

from hf_audio.markdown import Markdown, link, one_plain_line, table
from hf_audio.models.origin import is_on_the_hub, origin_of
from hf_audio.models.saving import needs_own_code
from hf_audio.privacy import require_repo_ids, write_published
from hf_audio.publishing.installing import OLDEST_TRANSFORMERS, install_line
from hf_audio.publishing.licenses import sources_of
from hf_audio.publishing.templates import render

if TYPE_CHECKING:
    from hf_audio.training import AudioTrainer

OBJECTIVES = {
    "masked": "masked autoencoding; it saw {seen:.0%} of a window's 16 x 16 patches and reconstructed the others",
    "shuffled": "{moved:.0%} of a window's 16 x 16 patches were shuffled, and it predicted which ones",
}
LOSS_MEANINGS = {
    "masked": "The loss is the mean squared error of the masked pixels, normalized per patch: predicting their mean "
    "gives 1.",
    "shuffled": "The loss is the binary cross-entropy per patch; ROC AUC measures how well shuffled patches are "
    "distinguished from the others.",
}


def write_pretraining_card(
    run_folder: Path | str,
    trainer: AudioTrainer,
    *,
    repo_id: str | None = None,
    dataset_id: str | None = None,
    license: str | None = None,
) -> Path:
    """Writes README.md into the run folder of a pretrained encoder.

    Args:
        run_folder: becomes the model repository.
        trainer: after training.
        repo_id: repository of the model; without one the code shows the folder's name.
        dataset_id: repository of the features, if they are published.
        license: the model's license as the Hub writes it, e.g. "apache-2.0".

    Returns:
        The path of the card.

    Raises:
        InputError: a name is not valid for a repository.
    """
    require_repo_ids(repo_id, dataset_id)
    model = trainer.accelerator.unwrap_model(trainer.model)
    manifest, config = trainer.features.manifest, model.config
    model_id = repo_id or Path(run_folder).resolve().name
    corpus, settings = manifest["corpus"], config.pretraining
    objective = OBJECTIVES[settings["objective"]].format(
        seen=1 - settings.get("mask_fraction", 0), moved=settings.get("shuffle_fraction", 0)
    )
    base_model = origin_of(model)["base_model"]
    base_address = f"{HfApi().endpoint}/{base_model}" if is_on_the_hub(base_model) else None
    card = render(
        "pretraining_card.md",
        card_data=Markdown(_metadata(model_id, base_model, dataset_id, license).to_yaml()),
        name=model_id.split("/")[-1],
        model_id=model_id,
        install=install_line([f"transformers>={OLDEST_TRANSFORMERS}", "torch"]),
        trust=", trust_remote_code=True" if needs_own_code({}, trainer.features.extractor.to_dict()) else "",
        base_model=base_model,
        base_model_link=link(base_model, base_address),
        objective=objective,
        corpus=corpus,
        corpus_link=link(corpus["name"], corpus["homepage"]),
        sources=sources_of(corpus),
        endpoint=HfApi().endpoint,
        window_s=f"{manifest['window_s']:g}",
        num_frames=config.max_length,
        num_bins=config.num_mel_bins,
        num_parameters=sum(weights.numel() for weights in model.encoder.parameters()),
        train=manifest["splits"]["train"],
        training_table=table(["", ""], _training_facts(trainer).items()),
        loss_meaning=LOSS_MEANINGS[settings["objective"]],
        dataset_id=dataset_id,
        license=license,
    )
    write_published(Path(run_folder) / "README.md", str(ModelCard(card)))
    return Path(run_folder) / "README.md"


def _metadata(model_id: str, base_model: str | None, dataset_id: str | None, license: str | None) -> ModelCardData:
    is_on_hub = is_on_the_hub(base_model)
    return ModelCardData(
        base_model=base_model if is_on_hub else None,
        base_model_relation="finetune" if is_on_hub else None,
        license=license and one_plain_line(license),
        library_name="transformers",
        pipeline_tag="feature-extraction",
        datasets=[dataset_id] if dataset_id else None,
        tags=["audio-spectrogram-transformer", "pretraining", "hf_audio"],
        model_name=model_id.split("/")[-1],
    )


def _training_facts(trainer: AudioTrainer) -> dict[str, Any]:
    args, state, training = trainer.args, trainer.state, trainer.facts()["training"]
    evaluations = [entry for entry in state.log_history if "eval_loss" in entry]
    best = min(evaluations, key=lambda entry: entry["eval_loss"], default={})
    losses = {
        "validation loss, first": evaluations[0]["eval_loss"] if evaluations else None,
        "validation loss, best": best.get("eval_loss"),
        "validation ROC AUC at the best loss": best.get("eval_roc_auc"),
    }
    return {
        "epochs": f"{state.epoch or 0:.4g}",
        "optimizer steps": f"{state.global_step:,}",
        "windows per step": args.train_batch_size * args.gradient_accumulation_steps * args.world_size,
        "learning rate": f"{args.learning_rate:g}, {training['lr_scheduler']}",
        "weight decay": f"{args.weight_decay:g}",
        **training["optimizing"],
        "seed": args.seed,
        **{name: f"{value:.3f}" for name, value in losses.items() if value is not None},
    }
