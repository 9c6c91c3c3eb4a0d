"""A trainer whose runs can be killed and resumed, and finally become a model repository.

run folder/            a model repository after training
  checkpoints/         for resuming an interrupted run; args.output_dir during training
  tensorboard/
"""

from __future__ import annotations

import shutil
from pathlib import Path

from torch import Tensor
from transformers.trainer_callback import TrainerState

from hf_audio.errors import InputError
from hf_audio.files import write_json
from hf_audio.models.lora import is_lora
from hf_audio.ranks import from_first_process
from hf_audio.training.checkpoints import (
    RUN_FILE,
    STATE_FILE,
    check_same_run,
    delete_incomplete,
    is_finished,
    newest_complete,
    wait_until_seen,
    warn_of_another_order,
)
from hf_audio.training.optimized_trainer import OptimizedTrainer
from hf_audio.training.own_parameters import load_own, save_own
from hf_audio.training.run_folder import load_weights, write_model


class ResumableTrainer(OptimizedTrainer):
    """The part of AudioTrainer that manages the complete run.

    Attributes:
        run_folder: becomes the model repository.
        division: how the order of a streamed train split is divided; None for a local split.
        overwrite_run: delete an earlier run in the run folder and start from the beginning.
    """

    run_folder: Path
    division: dict[str, int] | None
    overwrite_run: bool

    def train_resumable(self) -> TrainerState:
        """Trains from the newest complete checkpoint of the same run, or from the start, and saves the best model.

        On a CPU, a run that was killed at any time ends with the same weights as an uninterrupted one.

        Raises:
            InputError: the run folder has a run with other settings.
        """
        checkpoint, finished = from_first_process(self._claim_folder)
        if checkpoint is not None:
            wait_until_seen(Path(checkpoint))
        if finished:
            self._restore_finished(Path(checkpoint))
        else:
            if checkpoint and self.division and self.is_world_process_zero():
                warn_of_another_order(Path(checkpoint), self.division, self.layout.steps_per_epoch)
            self.train(resume_from_checkpoint=checkpoint)
        self.save_run_model()
        return self.state

    def _claim_folder(self) -> tuple[str | None, bool]:
        """Prepares the run folder; returns the checkpoint to resume from, and whether training is already finished."""
        folder = Path(self.args.output_dir)
        if self.overwrite_run:
            shutil.rmtree(folder, ignore_errors=True)
            shutil.rmtree(self.run_folder / "tensorboard", ignore_errors=True)
        check_same_run(folder, self.settings)
        folder.mkdir(parents=True, exist_ok=True)
        delete_incomplete(folder)
        write_json(folder / RUN_FILE, self.settings)
        checkpoint = newest_complete(folder)
        return (None, False) if checkpoint is None else (str(checkpoint), is_finished(checkpoint))

    def train(self, *args, **kwargs):
        """Trainer.train, which also works after an evaluation.

        An evaluation marks the model as prepared (and compiles it, if requested). accelerate would then not wrap it for
        several processes, and each would train on its own.
        """
        if self.accelerator._models and self.optimizer is None and not self.is_fsdp_enabled:
            self.model = self.accelerator.unwrap_model(  # removes mixed precision
                self.model_wrapped, keep_fp32_wrapper=False, keep_torch_compile=False
            )
            self.model_wrapped = self.model
            if getattr(self.model, "_is_accelerate_prepared", False):
                del self.model._is_accelerate_prepared
            self.accelerator._models.clear()
        return super().train(*args, **kwargs)

    def _restore_finished(self, checkpoint: Path) -> None:
        """Restores a finished run: its history, and its best weights, or else its last."""
        self.state = TrainerState.load_from_json(str(checkpoint / STATE_FILE))
        self.state.is_world_process_zero = self.is_world_process_zero()
        self.state.is_local_process_zero = self.is_local_process_zero()
        best = checkpoint.parent / f"checkpoint-{self.state.best_global_step}"
        use_best = self.args.load_best_model_at_end and from_first_process(best.is_dir)
        self.state.best_model_checkpoint = str(best if use_best else checkpoint)
        if self.is_fsdp_enabled:
            self._shard()
        self._load_best_model()

    def _shard(self) -> None:
        """Shards the model. FSDP 2 needs an optimizer for that, even if nothing is trained."""
        self.create_optimizer()
        self.model, self.optimizer = self.accelerator.prepare(self.model, self.optimizer)  # type: ignore[has-type]
        self.model_wrapped = self.model

    def evaluation_loop(self, *args, **kwargs):
        if self.is_fsdp_enabled and not self.accelerator._models:
            raise InputError("With FSDP, a model can only be evaluated after train_resumable, which shards it")
        return super().evaluation_loop(*args, **kwargs)

    def save_run_model(self) -> None:
        """Saves the model in the run folder, which becomes a model repository; see `write_model`."""
        state: dict[str, Tensor] | None = None
        if self._is_divided:
            state = self.accelerator.get_state_dict(self.model if self.is_fsdp_enabled else self.model_wrapped)
        if self.args.should_save:
            model = self.accelerator.unwrap_model(self.model, keep_torch_compile=False)
            write_model(self.run_folder, model, state, self.processing_class, self.objective)
        self.accelerator.wait_for_everyone()

    def _save_optimizer_and_scheduler(self, output_dir):
        super()._save_optimizer_and_scheduler(output_dir)
        if self.objective.own is not None and self.args.should_save:
            save_own(self.objective.own, output_dir)

    def _load_optimizer_and_scheduler(self, checkpoint):
        super()._load_optimizer_and_scheduler(checkpoint)
        if self.objective.own is not None and checkpoint is not None:
            load_own(self.objective.own, checkpoint)

    def _load_from_checkpoint(self, resume_from_checkpoint, model=None):
        target = self.accelerator.unwrap_model(self.model, keep_torch_compile=False)
        if self.is_fsdp_enabled or self.deepspeed is not None or is_lora(target):
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        else:
            load_weights(target, resume_from_checkpoint)

    @property
    def _is_divided(self) -> bool:
        """Whether no process has the complete model: with FSDP, and with DeepSpeed's ZeRO 3 after training."""
        is_zero_3 = self.deepspeed is not None and self.accelerator.state.deepspeed_plugin.zero_stage == 3
        return self.is_fsdp_enabled or is_zero_3

    def _load_best_model(self):
        if self.is_fsdp_enabled or self.deepspeed is not None:
            super()._load_best_model()
        else:
            self._load_from_checkpoint(self.state.best_model_checkpoint)
