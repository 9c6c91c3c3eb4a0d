"""Settings that would do nothing: each is an error that says what to do, for a report must only hold what acted.

Which setting needs which is a line here, whatever groups they are of. Only what a user gives is asked about; a recipe's
own values may wait for the setting that they need. `stored_features` is no setting but a fact: whether --dataset holds
features that were built already, which of one on the Hub is known only when the Hub is asked.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

from hf_audio.config.augment import AugmentConfig
from hf_audio.config.data import DataConfig, MixingConfig
from hf_audio.config.distilling import DistillingConfig
from hf_audio.config.loss import LossConfig
from hf_audio.config.model import HEAD_FLAGS
from hf_audio.config.needs import Needs, names_of
from hf_audio.config.optimizing import LAYERWISE_OPTIMIZERS
from hf_audio.config.spectrogram_needs import SPECTROGRAM_NEEDS
from hf_audio.config.waveform_augment import WaveformAugmentConfig
from hf_audio.config.waveform_needs import WAVEFORM_NEEDS
from hf_audio.errors import InputError

# A stored dataset was made of recordings already. How many processes may work holds for whatever there is to do.
STAY = {"dataset", "dataset_revision", "train_fraction", "split_seed", "num_workers"}
OF_RECORDINGS = names_of(DataConfig, MixingConfig) - STAY
WITHOUT_WARM_UP = ("constant", "reduce_lr_on_plateau", "greedy")  # schedules of the learning rate
WITHOUT_NAMES = {"tensorboard", "none"}  # places to report to where a run has no name
SHOW_PICTURES = {"tensorboard", "trackio", "wandb", "all"}
OF_A_HEAD = (*HEAD_FLAGS, "metadata", "label_smoothing_factor", *sorted(names_of(LossConfig)))

OF_LAYERS = ("layer_decay", "head_learning_rate", "unfreeze_epochs")  # settings that tell layers apart

NEEDS = (
    Needs(
        (*sorted(OF_RECORDINGS), "hub_dataset_id", "public_license"),
        lambda run: not run.stored_features,
        "a stored --dataset has its clips, labels, splits and mixtures already: leave it out, or build features anew, "
        "with --data_dir in place of --dataset",
    ),
    Needs(
        ("split_seed",),
        lambda run: not run.stored_features or run.train_fraction < 1,
        "a stored --dataset has its splits already: leave it out, or give --train_fraction too, which it then draws",
    ),
    Needs(
        ("streaming",),
        lambda run: run.stored_features,
        "it is for a --dataset with features that were built already: leave it out",
    ),
    Needs(
        ("features_on_device",),
        lambda run: not vars(run).keys().isdisjoint(("model", "classical_model")),
        "features are computed where a network is trained: build --features waveform, and give it there",
    ),
    Needs(
        ("wave_polarity_probability",),
        lambda run: run.wave_polarity_probability == 0 or not run.features_on_device,
        "spectrograms have no signs: leave it out",
    ),
    Needs(
        ("wave_gain_probability",),
        lambda run: run.wave_gain_probability == 0 or not run.features_on_device or run.normalization != "clip",
        "--normalization clip takes each window's level away: leave one of the two out",
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
        "no mixtures are made: give --mix_fraction too, e.g. 0.5, or leave it out",
    ),
    Needs(("lora_alpha", "lora_dropout"), lambda run: run.lora_rank > 0, "give --lora_rank too, or leave it out"),
    *SPECTROGRAM_NEEDS,
    *WAVEFORM_NEEDS,
    Needs(("focal_gamma",), lambda run: run.loss == "focal", "it is of --loss focal: give that too, or leave it out"),
    Needs(
        ("positive_gamma", "negative_gamma", "negative_margin"),
        lambda run: run.loss == "asymmetric",
        "it is of --loss asymmetric: give that too, or leave it out",
    ),
    Needs(
        ("families", "within_family"),
        lambda run: run.loss == "family",
        "it is of --loss family: give that too, or leave it out",
    ),
    Needs(
        ("triplet_margin",),
        lambda run: run.triplet_weight > 0,
        "there is no triplet loss: give --triplet_weight too, e.g. 0.1, or leave it out",
    ),
    Needs(
        ("center_learning_rate",),
        lambda run: run.center_weight > 0,
        "there are no centers: give --center_weight too, e.g. 0.003, or leave it out",
    ),
    Needs(
        ("triplet_weight",),
        lambda run: (
            run.triplet_weight == 0
            or bool(run.mixup_alpha) * run.mixup_probability + bool(run.cutmix_alpha) * run.cutmix_probability < 1
        ),
        "mixup or CutMix leave no window of one class to compare: lower their probability, or leave it out",
    ),
    Needs(
        ("triplet_weight",),
        lambda run: run.triplet_weight == 0 or run.per_device_train_batch_size > 2,
        "it compares each window with two others of its micro-batch: give --per_device_train_batch_size 3 or more",
    ),
    Needs(("network_features",), lambda run: run.network, "it is read by --network: give one, or leave it out"),
    Needs(
        ("mask_fraction", "decoder_width", "decoder_layers"),
        lambda run: run.objective == "masked",
        "it is of --objective masked: leave it out",
    ),
    Needs(
        ("shuffle_fraction",), lambda run: run.objective == "shuffled", "it is of --objective shuffled: leave it out"
    ),
    Needs(OF_A_HEAD, lambda run: not run.objective, "pretraining looks at no labels and has no head: leave it out"),
    Needs(
        sorted(names_of(AugmentConfig, WaveformAugmentConfig)),
        lambda run: not run.objective,
        "pretraining hides or shuffles patches itself and augments nothing: leave it out",
    ),
    Needs(
        ("distillation_weight", "distillation_temperature", "teacher_revision"),
        lambda run: run.teacher or run.teacher_logits,
        "nothing is learnt from a teacher: give --teacher or --teacher_logits too, or leave it out",
    ),
    Needs(
        (*sorted(names_of(LossConfig)), "label_smoothing_factor"),
        lambda run: run.distillation_weight < 1 or not (run.teacher or run.teacher_logits),
        "--distillation_weight 1 learns from the teacher alone: give less than 1, or leave it out",
    ),
    Needs(("teacher_logits",), lambda run: not run.teacher, "--teacher answers by itself: leave one of the two out"),
    Needs(
        sorted(names_of(DistillingConfig)),
        lambda run: not run.objective,
        "pretraining has no classes that a teacher could know: leave it out",
    ),
    *(
        Needs(
            (f"{what}_steps",),
            lambda run, what=what: getattr(run, f"{what}_strategy") == "steps",
            f"it is of --{what}_strategy steps: give that too, or leave it out",
        )
        for what in ("eval", "save", "logging")
    ),
    Needs(
        ("num_train_epochs",),
        lambda run: run.max_steps < 1,
        "--max_steps says when training ends: leave it out, or give --max_steps -1 too",
    ),
    Needs(
        ("warmup_steps",),
        lambda run: run.lr_schedule or _text(run.lr_scheduler_type) not in WITHOUT_WARM_UP,
        "this --lr_scheduler_type has no warm-up: leave it out, or give constant_with_warmup, cosine or linear",
    ),
    Needs(
        ("lr_scheduler_kwargs",),
        lambda run: not _text(run.lr_scheduler_type).startswith("constant"),
        "a constant --lr_scheduler_type reads none: leave it out",
    ),
    *(
        Needs((name,), lambda run: _text(run.eval_strategy) != "no", "nothing is evaluated in training: leave it out")
        for name in ("eval_delay", "eval_on_start", "early_stopping_patience")
    ),
    *(
        Needs((name,), lambda run: _text(run.save_strategy) != "no", "no checkpoint is written: leave it out")
        for name in ("save_total_limit", "early_stopping_patience")
    ),
    Needs(
        ("gradient_checkpointing_kwargs", "activation_checkpointing_kwargs"),
        lambda run: run.gradient_checkpointing or run.activation_checkpointing,
        "nothing is computed again: give --gradient_checkpointing too, or leave it out",
    ),
    Needs(
        ("optim_target_modules",),
        lambda run: any(name in _text(run.optim) for name in ("galore", "apollo")),
        "it is of --optim galore_adamw, apollo_adamw and the like: give one, or leave it out",
    ),
    Needs(("fsdp_config",), lambda run: run.fsdp, "it is of --fsdp: give that too, or leave it out"),
    Needs(
        ("run_name",),
        lambda run: {*([run.report_to] if isinstance(run.report_to, str) else run.report_to)} - WITHOUT_NAMES,
        "--report_to names no place where runs have names: leave it out",
    ),
    Needs(
        ("dataloader_prefetch_factor", "dataloader_persistent_workers"),
        lambda run: run.dataloader_num_workers,
        "no worker loads data: give --dataloader_num_workers too, e.g. 4, or leave it out",
    ),
    Needs(
        ("metric_for_best_model",),
        lambda run: (
            "no" not in (_text(run.eval_strategy), _text(run.save_strategy))
            or _text(run.lr_scheduler_type).startswith(("reduce", "greedy"))
        ),
        "it chooses among checkpoints by their scores: set --eval_strategy and --save_strategy both to epoch",
    ),
    Needs(
        ("greater_is_better",),
        lambda run: run.metric_for_best_model,
        "it is of --metric_for_best_model: give that too, or leave it out",
    ),
    Needs(
        ("track_pictures",),
        lambda run: {*([run.report_to] if isinstance(run.report_to, str) else run.report_to)} & SHOW_PICTURES,
        "--report_to names no tracker that shows pictures: give it tensorboard, trackio or wandb too, or leave it out",
    ),
    Needs(("track_pictures",), lambda run: not run.objective, "pretraining confuses no classes: leave it out"),
    Needs(("track_pictures",), lambda run: not run.classical_model, "it is for networks: leave it out"),
    Needs(
        ("project", "trackio_space_id", "trackio_bucket_id", "trackio_static_space_id"),
        lambda run: "trackio" in run.report_to,
        "it is for --report_to trackio: give that too, or leave it out",
    ),
    Needs(
        ("lr_scheduler_type", "lr_scheduler_kwargs"),
        lambda run: not run.lr_schedule,
        "--lr_schedule is the schedule: leave one of the two out",
    ),
    Needs(
        ("lr_decay_factor", "lr_decay_epochs"),
        lambda run: run.lr_schedule in ("step", "exponential"),
        "it is of --lr_schedule step and exponential: give one, or leave it out",
    ),
    Needs(
        ("lr_schedule", "lr_decay_epochs"),
        lambda run: run.lr_schedule != "step" or run.max_steps > 0 or run.lr_decay_epochs < run.num_train_epochs,
        "training ends before --lr_decay_epochs have passed: give fewer than --num_train_epochs",
    ),
    Needs(
        (*OF_LAYERS, "balanced_sampling"),
        lambda run: not run.objective,
        "pretraining trains all layers alike and looks at no labels: leave it out",
    ),
    Needs(
        OF_LAYERS,
        lambda run: run.freeze != "backbone",
        "--freeze backbone trains the head alone: leave one of the two out",
    ),
    Needs(
        ("layer_decay", "head_learning_rate", "center_weight"),
        lambda run: not _text(run.optim).startswith(LAYERWISE_OPTIMIZERS),
        "this --optim takes a model's layers apart by itself, and nothing else: leave it out, or give another --optim",
    ),
    Needs(
        ("unfreeze_epochs",),
        lambda run: run.freeze == "none" and not run.lora_rank,
        "--freeze and --lora_rank say for good what is trained: leave one of them out",
    ),
    Needs(
        ("unfreeze_epochs", "torch_compile"),
        lambda run: not (run.unfreeze_epochs and run.torch_compile),
        "each layer that --unfreeze_epochs unfreezes would have all compiled anew: leave one of the two out",
    ),
    Needs(
        ("unfreeze_epochs", "ema_decay", "swa_epochs"),
        lambda run: not (run.fsdp or run.deepspeed),
        "it is for whole weights, which --fsdp and --deepspeed divide among processes: leave it out",
    ),
    Needs(
        ("swa_epochs", "early_stopping_patience"),
        lambda run: not (run.swa_epochs and run.early_stopping_patience),
        "early stopping may end training before the last epochs, which --swa_epochs averages: leave one of the two out",
    ),
    Needs(
        ("balanced_sampling", "class_weights"),
        lambda run: "none" in (run.balanced_sampling, run.class_weights),
        "--balanced_sampling and --class_weights both make rare classes count more: leave one of the two out",
    ),
    Needs(
        ("balanced_sampling",),
        lambda run: run.train_sampling_strategy == "random",
        "--train_sampling_strategy sequential draws nothing: leave one of the two out",
    ),
)


def _text(chosen: Any) -> str:
    """A choice as it is typed; TrainingArguments make enumerations of some."""
    return getattr(chosen, "value", chosen)


def require_acting(given: Collection[str], settings: Mapping[str, Any]) -> None:
    """Refuses the first setting given that would do nothing.

    Args:
        given: names of the settings that a user gave, on the command line or in a file.
        settings: all settings of the run by their names.

    Raises:
        InputError: says why it would do nothing, and what to do.
    """
    for name, otherwise in idle(settings):
        if name in given:
            raise InputError(f"--{name} would do nothing here: {otherwise}")


def idle(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The settings that do nothing in a run, each with what to do about it."""
    run = SimpleNamespace(**settings)
    for rule in NEEDS:
        try:
            holds = rule.holds(run)
        except AttributeError:  # a run without the setting that is needed: another rule, or none, is about it
            continue
        if not holds:
            yield from ((name, rule.otherwise) for name in rule.settings if name in settings)
