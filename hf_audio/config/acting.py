"""Refuses settings that would have no effect, with an error that says what to do, so reports list only effective ones.

Each rule says which settings need which others. Rules within one group of settings are in that group's
`..._needs.py`; the others are here. Only settings that a user gives are checked: a recipe may set values that take
effect only with another setting. `stored_features` is not a setting but a fact: whether --dataset holds features that
are already built. For a dataset on the Hub, this is known only after asking the Hub.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

from hf_audio.config.augment import AugmentConfig
from hf_audio.config.data import DataConfig
from hf_audio.config.distilling_needs import DISTILLING_NEEDS
from hf_audio.config.features import MixingConfig
from hf_audio.config.loss import LossConfig
from hf_audio.config.loss_needs import LOSS_NEEDS
from hf_audio.config.model import HEAD_FLAGS
from hf_audio.config.needs import Needs, as_typed, names_of
from hf_audio.config.optimizing_needs import OPTIMIZING_NEEDS
from hf_audio.config.spectrogram_needs import SPECTROGRAM_NEEDS
from hf_audio.config.waveform_augment import WaveformAugmentConfig
from hf_audio.config.waveform_needs import WAVEFORM_NEEDS
from hf_audio.errors import InputError

# Settings of recordings that also act on a stored dataset of features
STAY = {"dataset", "dataset_revision", "train_fraction", "split_seed", "num_workers"}
OF_RECORDINGS = names_of(DataConfig, MixingConfig) - STAY
WITHOUT_WARM_UP = ("constant", "reduce_lr_on_plateau", "greedy")  # schedules of the learning rate
WITHOUT_NAMES = {"tensorboard", "none"}  # values of --report_to for which a run has no name
SHOW_PICTURES = {"tensorboard", "trackio", "wandb", "all"}
OF_A_HEAD = (*HEAD_FLAGS, "metadata", "label_smoothing_factor", *sorted(names_of(LossConfig)))


def _is_in_steps(what: str) -> Callable[[Any], bool]:
    return lambda run: getattr(run, f"{what}_strategy") == "steps"


NEEDS = (
    Needs(
        (*sorted(OF_RECORDINGS), "hub_dataset_id", "public_license"),
        lambda run: not run.stored_features,
        "a stored --dataset already has its clips, labels, splits and mixtures: leave it out, or rebuild the features "
        "with --data_dir instead of --dataset",
    ),
    Needs(
        ("split_seed",),
        lambda run: not run.stored_features or run.train_fraction < 1,
        "a stored --dataset already has its splits: leave it out, or give --train_fraction too, which it then seeds",
    ),
    Needs(
        ("streaming",),
        lambda run: run.stored_features,
        "it only applies to a --dataset of features that are already built: leave it out",
    ),
    Needs(
        ("features_on_device",),
        lambda run: not vars(run).keys().isdisjoint(("model", "classical_model")),
        "it only applies when a network is trained: build --features waveform here, and give it to the training run",
    ),
    Needs(
        ("wave_polarity_probability",),
        lambda run: run.wave_polarity_probability == 0 or not run.features_on_device,
        "polarity does not change a spectrogram: leave it out",
    ),
    Needs(
        ("wave_gain_probability",),
        lambda run: run.wave_gain_probability == 0 or not run.features_on_device or run.normalization != "clip",
        "--normalization clip removes each window's level: leave one of the two out",
    ),
    Needs(
        ("data_dir",),
        lambda run: not run.dataset,
        "--dataset says where the recordings are: leave one of the two out",
    ),
    Needs(
        ("hub_dataset_id", "public_license", "hub_model_id", "hub_private_repo"),
        lambda run: run.push_to_hub,
        "nothing is published without --push_to_hub: give that too, or leave it out",
    ),
    Needs(
        sorted(names_of(MixingConfig) - {"mix_fraction"}),
        lambda run: run.mix_fraction > 0,
        "mixing is off: give --mix_fraction too, e.g. 0.5, or leave it out",
    ),
    Needs(
        ("freeze",),
        lambda run: not run.lora_rank or run.freeze == "none",
        "--lora_rank trains only the adapters and the head: leave one of the two out",
    ),
    Needs(("lora_alpha", "lora_dropout"), lambda run: run.lora_rank > 0, "give --lora_rank too, or leave it out"),
    *SPECTROGRAM_NEEDS,
    *WAVEFORM_NEEDS,
    *LOSS_NEEDS,
    Needs(
        ("network_features",), lambda run: run.network, "it only applies to --network: give that too, or leave it out"
    ),
    Needs(
        ("mask_fraction", "decoder_width", "decoder_layers"),
        lambda run: run.objective == "masked",
        "it only applies to --objective masked: leave it out",
    ),
    Needs(
        ("shuffle_fraction",),
        lambda run: run.objective == "shuffled",
        "it only applies to --objective shuffled: leave it out",
    ),
    Needs(OF_A_HEAD, lambda run: not run.objective, "pretraining uses no labels and has no head: leave it out"),
    Needs(
        sorted(names_of(AugmentConfig, WaveformAugmentConfig)),
        lambda run: not run.objective,
        "pretraining hides or shuffles patches and uses no other augmentation: leave it out",
    ),
    *DISTILLING_NEEDS,
    *(
        Needs(
            (f"{what}_steps",),
            _is_in_steps(what),
            f"it only applies to --{what}_strategy steps: give that too, or leave it out",
        )
        for what in ("eval", "save", "logging")
    ),
    Needs(
        ("num_train_epochs",),
        lambda run: run.max_steps < 1,
        "--max_steps already sets when training ends: leave it out, or give --max_steps -1 too",
    ),
    Needs(
        ("warmup_steps",),
        lambda run: run.lr_schedule or as_typed(run.lr_scheduler_type) not in WITHOUT_WARM_UP,
        "this --lr_scheduler_type has no warm-up: leave it out, or give constant_with_warmup, cosine or linear",
    ),
    Needs(
        ("lr_scheduler_kwargs",),
        lambda run: not as_typed(run.lr_scheduler_type).startswith("constant"),
        "a constant --lr_scheduler_type has no arguments: leave it out",
    ),
    *(
        Needs(
            (name,),
            lambda run: as_typed(run.eval_strategy) != "no",
            "nothing is evaluated during training: leave it out",
        )
        for name in ("eval_delay", "eval_on_start", "early_stopping_patience")
    ),
    *(
        Needs((name,), lambda run: as_typed(run.save_strategy) != "no", "no checkpoints are saved: leave it out")
        for name in ("save_total_limit", "early_stopping_patience")
    ),
    Needs(
        ("gradient_checkpointing_kwargs", "activation_checkpointing_kwargs"),
        lambda run: run.gradient_checkpointing or getattr(run, "activation_checkpointing", False),  # new in 5.23
        "gradient checkpointing is off: give --gradient_checkpointing too, or leave it out",
    ),
    Needs(
        ("optim_target_modules",),
        lambda run: any(name in as_typed(run.optim) for name in ("galore", "apollo")),
        "it only applies to --optim galore_adamw, apollo_adamw or similar: give one, or leave it out",
    ),
    Needs(("fsdp_config",), lambda run: run.fsdp, "it only applies to --fsdp: give that too, or leave it out"),
    Needs(
        ("run_name",),
        lambda run: {*([run.report_to] if isinstance(run.report_to, str) else run.report_to)} - WITHOUT_NAMES,
        "no tracker in --report_to uses run names: leave it out",
    ),
    Needs(
        ("dataloader_prefetch_factor", "dataloader_persistent_workers"),
        lambda run: run.dataloader_num_workers,
        "there are no data-loading workers: give --dataloader_num_workers too, e.g. 4, or leave it out",
    ),
    Needs(
        ("metric_for_best_model",),
        lambda run: (
            "no" not in (as_typed(run.eval_strategy), as_typed(run.save_strategy))
            or as_typed(run.lr_scheduler_type).startswith(("reduce", "greedy"))
        ),
        "it chooses the best checkpoint: set both --eval_strategy and --save_strategy to epoch",
    ),
    Needs(
        ("greater_is_better",),
        lambda run: run.metric_for_best_model,
        "it only applies to --metric_for_best_model: give that too, or leave it out",
    ),
    Needs(
        ("track_pictures",),
        lambda run: {*([run.report_to] if isinstance(run.report_to, str) else run.report_to)} & SHOW_PICTURES,
        "no tracker in --report_to shows figures: add tensorboard, trackio or wandb, or leave it out",
    ),
    Needs(("track_pictures",), lambda run: not run.objective, "pretraining has no confusion matrix: leave it out"),
    Needs(("track_pictures",), lambda run: not run.classical_model, "it only applies to networks: leave it out"),
    Needs(
        ("project", "trackio_space_id", "trackio_bucket_id", "trackio_static_space_id"),
        lambda run: "trackio" in run.report_to,
        "it only applies to --report_to trackio: give that too, or leave it out",
    ),
    *OPTIMIZING_NEEDS,
)


def require_acting(given: Collection[str], settings: Mapping[str, Any]) -> None:
    """Refuses settings that would have no effect.

    Args:
        given: names of the settings that a user gave, on the command line or in a file.
        settings: all settings of the run, by name.

    Raises:
        InputError: names the first such setting, the reason, and what to do.
    """
    for name, otherwise in idle(settings):
        if name in given:
            raise InputError(f"--{name} would have no effect here: {otherwise}")


def idle(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The settings that have no effect in a run, each with what to do about it."""
    run = SimpleNamespace(**settings)
    for rule in NEEDS:
        try:
            holds = rule.holds(run)
        except AttributeError:  # the run lacks the setting that is needed, so the rule does not apply
            continue
        if not holds:
            yield from ((name, rule.otherwise) for name in rule.settings if name in settings)
