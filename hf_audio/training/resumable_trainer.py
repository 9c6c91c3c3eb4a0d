"""ResumableTrainer: transformers' Trainer whose runs survive being killed and leave a model repository."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel, Trainer
from transformers.integrations import TensorBoardCallback
from transformers.trainer_callback import TrainerState

from hf_audio.files import write_json
from hf_audio.models.lora import is_lora, merged_model, save_adapter
from hf_audio.models.saving import save_extractor, save_model
from hf_audio.training.checkpoints import (
    RUN_FILE,
    STATE_FILE,
    CheckpointMarker,
    check_same_run,
    delete_incomplete,
    is_finished,
    newest_complete,
)


class ResumableTrainer(Trainer):
    """Saves and restores a run: claims its folder, takes it up where it stopped, leaves its best model there.

    Args:
        run_folder: where model and tensorboard/ go; `args.output_dir` is its checkpoints/.
        settings: what decides the run's result, see `run_settings`; only a run with the same ones is taken up.
        overwrite_run: start anew where another run, or a part of this one, lies in the run folder.
        callbacks: further ones.
        options: Trainer's own; `processing_class` is the feature extractor, saved beside the model.
    """

    def __init__(
        self,
        *,
        run_folder: Path,
        settings: dict[str, Any],
        overwrite_run: bool = False,
        callbacks: list | None = None,
        **options: Any,
    ) -> None:
        self.run_folder, self.settings, self.overwrite_run = run_folder, settings, overwrite_run
        super().__init__(callbacks=[*(callbacks or []), CheckpointMarker()], **options)
        for callback in self.callback_handler.callbacks:
            if isinstance(callback, TensorBoardCallback) and callback.logging_dir is None:
                callback.logging_dir = str(self.run_folder / "tensorboard")

    def train_resumable(self) -> TrainerState:
        """Trains from the newest complete checkpoint of the same run, or from the start, and saves the best model.

        A run that was killed at any moment ends with the same weights and metrics as an undisturbed one.

        Raises:
            InputError: a run with other settings lies in the run folder.
        """
        folder = Path(self.args.output_dir)
        if not self.overwrite_run:
            check_same_run(folder, self.settings)
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            if self.overwrite_run:
                shutil.rmtree(folder, ignore_errors=True)
                shutil.rmtree(self.run_folder / "tensorboard", ignore_errors=True)
            folder.mkdir(parents=True, exist_ok=True)
            delete_incomplete(folder)
            write_json(folder / RUN_FILE, self.settings)
        self.accelerator.wait_for_everyone()
        checkpoint = newest_complete(folder)
        if checkpoint is not None and is_finished(checkpoint):
            self._restore_finished(checkpoint)
        else:
            self.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        self.save_run_model()
        return self.state

    def save_run_model(self) -> None:
        """Makes the run folder a model repository: weights, config, extractor; with LoRA the merged model and adapter/.

        Files are written beside the old ones and renamed, so that a reader never meets half a model.
        """
        state = self.accelerator.get_state_dict(self.model) if self.is_fsdp_enabled else None
        if self.args.should_save:
            model = self.accelerator.unwrap_model(self.model, keep_torch_compile=False)
            shutil.rmtree(self.run_folder / "adapter", ignore_errors=True)
            temporary = self.run_folder / ".model.tmp"
            shutil.rmtree(temporary, ignore_errors=True)
            self._write_model(temporary, model, state)
            save_extractor(self.processing_class, temporary)
            for path in temporary.iterdir():
                os.replace(path, self.run_folder / path.name)
            temporary.rmdir()
        self.accelerator.wait_for_everyone()

    def _write_model(self, folder: Path, model: PreTrainedModel, state: dict[str, Tensor] | None) -> None:
        """The files of the trained model; `state` holds its weights where the model's own are sharded."""
        if is_lora(model):
            save_adapter(model, folder / "adapter")
            model = merged_model(model)
        save_model(model, folder, state)

    def _restore_finished(self, checkpoint: Path) -> None:
        """Takes up a run that has nothing left to train: its history and its best (else its last) weights."""
        self.state = TrainerState.load_from_json(str(checkpoint / STATE_FILE))
        self.state.is_world_process_zero = self.is_world_process_zero()
        self.state.is_local_process_zero = self.is_local_process_zero()
        best = checkpoint.parent / f"checkpoint-{self.state.best_global_step}"
        use_best = self.args.load_best_model_at_end and best.is_dir()
        self.state.best_model_checkpoint = str(best if use_best else checkpoint)
        if self.is_fsdp_enabled:
            self.model = self.model_wrapped = self.accelerator.prepare(self.model)
        self._load_best_model()

    # What follows is called by Trainer.

    def _load_from_checkpoint(self, resume_from_checkpoint, model=None):
        """Weights of a checkpoint, every one of them.

        Trainer compares the file's names with the model's and only warns of those it does not know. Since transformers
        5 files keep AST's first names (`encoder.layer.0.attention.attention.query`) and the class has new ones
        (`layers.0.attention.q_proj`), so it would load no layer at all; `from_pretrained` translates.
        """
        target = self.accelerator.unwrap_model(self.model, keep_torch_compile=False)
        if self.is_fsdp_enabled or self.is_deepspeed_enabled or is_lora(target):
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        else:
            saved = type(target).from_pretrained(resume_from_checkpoint, dtype=target.dtype, use_safetensors=True)
            target.load_state_dict(saved.state_dict())

    def _load_best_model(self):
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            super()._load_best_model()
        else:
            self._load_from_checkpoint(self.state.best_model_checkpoint)
