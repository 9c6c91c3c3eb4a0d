"""Names that other programs use for our settings, only for "did you mean" hints: they are not accepted as flags."""

from __future__ import annotations

from collections.abc import Collection

OTHER_NAMES = {
    **dict.fromkeys(("lr", "rate", "base_lr", "max_lr"), "learning_rate"),
    **dict.fromkeys(("epochs", "epoch", "num_epochs", "n_epochs", "max_epochs", "train_epochs"), "num_train_epochs"),
    **dict.fromkeys(("steps", "num_steps", "max_train_steps"), "max_steps"),
    **dict.fromkeys(("batch", "bs", "batch_size", "train_batch_size"), "per_device_train_batch_size"),
    **dict.fromkeys(("eval_batch_size", "test_batch_size"), "per_device_eval_batch_size"),
    **dict.fromkeys(
        ("accumulation_steps", "grad_accumulation", "accumulate_grad_batches"), "gradient_accumulation_steps"
    ),
    **dict.fromkeys(("scheduler", "lr_scheduler"), "lr_scheduler_type"),
    **dict.fromkeys(("warmup", "warmup_ratio", "num_warmup_steps"), "warmup_steps"),
    **dict.fromkeys(("wd", "l2", "decay"), "weight_decay"),
    **dict.fromkeys(("optimizer", "optimiser"), "optim"),
    **dict.fromkeys(("grad_clip", "clip_grad", "gradient_clip_val"), "max_grad_norm"),
    **dict.fromkeys(("patience", "early_stopping"), "early_stopping_patience"),
    **dict.fromkeys(("lora", "lora_r", "adapters"), "lora_rank"),
    **dict.fromkeys(("mixed_precision", "precision", "amp", "half"), "bf16"),
    **dict.fromkeys(("compile",), "torch_compile"),
    **dict.fromkeys(("cpu", "no_cuda"), "use_cpu"),
    **dict.fromkeys(("metric", "monitor"), "metric_for_best_model"),
    **dict.fromkeys(("label_smoothing", "smoothing"), "label_smoothing_factor"),
    **dict.fromkeys(("dropout",), "head_dropout"),
    **dict.fromkeys(("model_name", "model_name_or_path", "checkpoint", "pretrained", "arch", "backbone"), "model"),
    **dict.fromkeys(("data", "data_path", "data_root", "input_dir", "train_dir", "folder"), "data_dir"),
    **dict.fromkeys(("dataset_name", "dataset_id"), "dataset"),
    **dict.fromkeys(("output", "out", "out_dir", "save_dir", "run_dir"), "output_dir"),
    **dict.fromkeys(("overwrite", "overwrite_output_dir", "force"), "overwrite_run"),
    **dict.fromkeys(("label_column", "target_column"), "label_column_name"),
    **dict.fromkeys(("audio_column",), "audio_column_name"),
    **dict.fromkeys(("val_fraction", "val_split", "valid_fraction", "validation_split"), "validation_fraction"),
    **dict.fromkeys(("num_classes", "classes"), "label_map"),
    **dict.fromkeys(("sr", "sampling_rate", "rate_hz"), "sample_rate"),
    **dict.fromkeys(("n_mels", "num_mels", "mel_bins"), "num_mel_bins"),
    **dict.fromkeys(("hop_length",), "hop_samples"),
    **dict.fromkeys(("fft_size", "win_length"), "n_fft"),
    **dict.fromkeys(("window", "window_length", "duration", "max_length_s", "clip_length"), "window_s"),
    **dict.fromkeys(("overlap", "hop", "stride_s"), "hop_s"),
    **dict.fromkeys(("workers", "num_proc", "jobs"), "num_workers"),
    **dict.fromkeys(("time_mask", "time_mask_param"), "time_mask_s"),
    **dict.fromkeys(("freq_mask", "freq_mask_param", "frequency_mask"), "frequency_mask_bins"),
    **dict.fromkeys(("mixup",), "mixup_alpha"),
    **dict.fromkeys(("push", "publish", "upload"), "push_to_hub"),
    **dict.fromkeys(("private",), "hub_private_repo"),
    **dict.fromkeys(("repo", "repo_id"), "hub_model_id"),
    **dict.fromkeys(("token", "hf_token"), "hub_token"),
    **dict.fromkeys(("random_seed", "random_state"), "seed"),
    **dict.fromkeys(("logger", "wandb", "tensorboard", "tracker"), "report_to"),
}
SAID_ELSEWHERE = {
    **dict.fromkeys(
        ("gpu", "gpus", "num_gpus", "n_gpus", "devices", "num_processes", "nproc_per_node"),
        "the number of GPUs is a setting of the launcher: accelerate launch --num_processes 4 recipes/..., or "
        "--config_file recipes/accelerate/multi_gpu.yaml",
    ),
    **dict.fromkeys(
        ("device", "cuda"),
        "a GPU is used if there is one; --use_cpu trains on the CPU, CUDA_VISIBLE_DEVICES=1 chooses another GPU",
    ),
    **dict.fromkeys(
        ("resume", "resume_from", "continue"),
        "the same command resumes an interrupted run; --overwrite_run starts it from the beginning",
    ),
}


def other_name(name: str, names: Collection[str]) -> str | None:
    """The setting among `names` that other programs call `name`."""
    meant = OTHER_NAMES.get(name)
    return meant if meant in names else None
