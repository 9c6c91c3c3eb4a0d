"""Trackers of --report_to: which facts about a run they get, and figures sent through each tracker's own interface.

Trainer's callbacks send all arguments and the model's config. A tracker's content may be public, so only the last part
of paths is sent, and no accounts or tokens (`PublicArguments`). W&B would also send the machine's name, the command
line, the code and the console output; it is started here with these turned off.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from transformers import PreTrainedModel, TrainerCallback, TrainingArguments
from transformers.integrations import TensorBoardCallback, TrackioCallback, WandbCallback

from hf_audio.privacy import last_name, public_name, public_value

PROJECT = "hf_audio"
OF_FILES = {"output_dir", "run_name", "deepspeed", "fsdp_config", "logging_dir"}  # may be paths
ABSENT = {"hub_token", "hub_model_id", "push_to_hub_token"}


class PublicArguments(TrainingArguments):
    """TrainingArguments whose `to_dict` has no paths of this machine, and no accounts or tokens."""

    def to_dict(self) -> dict[str, Any]:
        """See TrainingArguments."""
        return {name: _public(name, value) for name, value in super().to_dict().items() if name not in ABSENT}


def told_in_public(args: TrainingArguments, model: PreTrainedModel) -> None:
    """Makes arguments and the model's config report only the last part of paths from now on."""
    args.__class__ = PublicArguments
    for config in (model.config, getattr(getattr(model, "base_model", None), "config", None)):
        if getattr(config, "_name_or_path", ""):
            config._name_or_path = public_name(config._name_or_path)


def prepare_trackers(callbacks: Iterable[TrainerCallback], run_folder: Path) -> None:
    """Makes trackers write to the run folder, and keeps W&B from sending facts about the machine."""
    for callback in callbacks:
        if isinstance(callback, TensorBoardCallback) and callback.logging_dir is None:
            callback.logging_dir = str(run_folder / "tensorboard")
        if isinstance(callback, WandbCallback):
            _prepare_wandb(callback, run_folder)


def send_pictures(callbacks: Iterable[TrainerCallback], pictures: Mapping[str, bytes], step: int) -> None:
    """Sends PNG images to all started trackers that show figures.

    Args:
        pictures: by name, e.g. "validation/confusion".
        step: optimizer steps done.
    """
    for callback in callbacks:
        if isinstance(callback, TensorBoardCallback) and callback.tb_writer is not None:
            for name, picture in pictures.items():
                callback.tb_writer.add_image(name, np.asarray(_image(picture)), step, dataformats="HWC")
        elif isinstance(callback, WandbCallback) and callback._initialized and callback._wandb.run is not None:
            images = {name: callback._wandb.Image(_image(picture)) for name, picture in pictures.items()}
            callback._wandb.log({**images, "train/global_step": step})
        elif isinstance(callback, TrackioCallback) and callback._initialized:
            images = {name: callback._trackio.Image(_image(picture)) for name, picture in pictures.items()}
            callback._trackio.log({**images, "train/global_step": step})


def _public(name: str, value: Any) -> Any:
    if name in OF_FILES and isinstance(value, str) and value:
        return last_name(value)
    return public_value(value)


def _image(picture: bytes) -> Image.Image:
    return Image.open(io.BytesIO(picture)).convert("RGB")


def _prepare_wandb(callback: WandbCallback, run_folder: Path) -> None:
    """Starts the W&B run first, which Trainer's own setup then uses."""
    set_up = callback.setup

    def begin(args: TrainingArguments, state: Any, model: Any, **options: Any) -> None:
        wandb = callback._wandb
        if state.is_world_process_zero and wandb.run is None:
            quiet = {"x_disable_meta": True, "x_disable_stats": True, "x_disable_machine_info": True, "console": "off"}
            without = {"disable_git": True, "disable_code": True, "save_code": False, "host": "", "program": ""}
            wandb.init(
                project=os.getenv("WANDB_PROJECT", PROJECT),
                name=args.run_name or run_folder.name,
                dir=str(run_folder),
                settings=wandb.Settings(**quiet, **without),
            )
        set_up(args, state, model, **options)

    callback.setup = begin
