"""The role of each field of transformers' TrainingArguments: determines the result, concerns the machine, or refused.

Each field has one role, so that none is accepted and then ignored. A test compares the roles with the installed
version of transformers.
"""

from __future__ import annotations

# These determine what is learned and which weights are kept: the same run needs the same values.
DECISIVE_ARGUMENTS = (
    *("num_train_epochs", "max_steps", "learning_rate", "lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps"),
    *("optim", "optim_args", "optim_target_modules", "weight_decay", "adam_beta1", "adam_beta2", "adam_epsilon"),
    *("max_grad_norm", "label_smoothing_factor", "bf16", "fp16", "tf32"),
    *("seed", "data_seed", "full_determinism", "train_sampling_strategy", "dataloader_drop_last"),
    *("eval_strategy", "eval_steps", "eval_delay", "save_strategy", "save_steps"),
    *("metric_for_best_model", "greater_is_better"),
)
# Only their product with the number of processes matters.
BATCH_ARGUMENTS = ("per_device_train_batch_size", "gradient_accumulation_steps")
# How the machine is used and what is logged. The result does not depend on them, except that the order of a stream
# depends on the number of workers (`StreamOrder`).
MACHINE_ARGUMENTS = (
    *("output_dir", "per_device_eval_batch_size", "eval_accumulation_steps", "eval_on_start", "save_total_limit"),
    *("gradient_checkpointing", "gradient_checkpointing_kwargs", "torch_compile", "torch_compile_backend"),
    *("activation_checkpointing", "activation_checkpointing_kwargs", "torch_compile_mode", "torch_empty_cache_steps"),
    *("logging_strategy", "logging_steps", "logging_first_step", "log_on_each_node", "logging_nan_inf_filter"),
    *("log_level", "log_level_replica", "disable_tqdm", "report_to", "run_name", "project", "trackio_space_id"),
    *("trackio_bucket_id", "trackio_static_space_id", "debug", "skip_memory_metrics", "save_on_each_node"),
    *("use_cpu", "dataloader_num_workers", "dataloader_pin_memory"),
    *("dataloader_persistent_workers", "dataloader_prefetch_factor", "dataloader_multiprocessing_context"),
    *("dataloader_in_order", "ddp_find_unused_parameters", "ddp_bucket_cap_mb", "ddp_broadcast_buffers"),
    *("ddp_static_graph", "ddp_backend", "ddp_timeout", "fsdp", "fsdp_config", "deepspeed", "local_rank"),
)
# Used by publishing, which is a separate stage here.
PUBLISHING_ARGUMENTS = ("push_to_hub", "hub_token", "hub_private_repo", "hub_model_id")

_STAGES = "a recipe always trains, evaluates and tests; leave it out"
_SET_HERE = "it is always set to what feature datasets need; leave it out"
_PUSHED_ONCE = "the finished run is published once, by --push_to_hub; leave it out"
_TOKENS = "it is for text models; leave it out"
_METRICS = "clips are scored over all windows of a split at once; leave it out"
# These would have no effect, or break a promise: that a resumed run gives the same result as an uninterrupted one, and
# that reports are true. Each message says what to do instead.
REFUSED_ARGUMENTS = {
    **dict.fromkeys(("do_train", "do_eval", "do_predict"), _STAGES),
    "resume_from_checkpoint": "a run resumes automatically from the newest complete checkpoint in its --output_dir; "
    "leave it out, or use --model CHECKPOINT_FOLDER to start from its weights",
    "ignore_data_skip": "a resumed run continues with the windows that it has not seen yet; leave it out",
    **dict.fromkeys(("restore_callback_states_from_checkpoint", "accelerator_config"), _SET_HERE),
    "parallelism_config": "a window fits on one GPU; for models that do not, use recipes/accelerate/fsdp.yaml",
    **dict.fromkeys(("remove_unused_columns", "label_names"), _SET_HERE),
    **dict.fromkeys(("hub_strategy", "hub_always_push", "hub_revision"), _PUSHED_ONCE),
    **dict.fromkeys(("use_liger_kernel", "liger_kernel_config", "use_cache", "neftune_noise_alpha"), _TOKENS),
    **dict.fromkeys(("include_num_input_tokens_seen", "average_tokens_across_devices", "length_column_name"), _TOKENS),
    **dict.fromkeys(("prediction_loss_only", "eval_do_concat_batches", "eval_use_gather_object"), _METRICS),
    **dict.fromkeys(("include_for_metrics", "batch_eval_metrics"), _METRICS),
    **dict.fromkeys(
        ("bf16_full_eval", "fp16_full_eval"),
        "clips are scored in bfloat16 on a GPU with --bf16, and in float32 otherwise",
    ),
    "load_best_model_at_end": "the best model by --metric_for_best_model is always loaded if --eval_strategy and "
    "--save_strategy are the same; leave it out",
    "auto_find_batch_size": "the report would show the wrong batch size; use a smaller --per_device_train_batch_size "
    "and more --gradient_accumulation_steps",
    "save_only_model": "a run cannot be resumed without the optimizer's state; use --save_total_limit 1 to save space",
    "enable_jit_checkpoint": "a run resumes from its newest complete checkpoint; use --save_strategy steps to save "
    "checkpoints more often",
}
