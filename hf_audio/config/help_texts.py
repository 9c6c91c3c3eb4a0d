"""Which flags a recipe's --help shows, and its texts for transformers' own arguments."""

from __future__ import annotations

# The flags in a recipe's --help, besides those that the recipe itself sets; --help_all shows all flags.
COMMON_FLAGS = {
    *("corpus", "data_dir", "dataset", "label_map", "label_overrides"),
    *("fold", "test_groups", "validation_fraction", "features", "window_s", "num_workers"),
    *("model", "head", "freeze", "lora_rank", "early_stopping_patience"),
    *("mixup_alpha", "time_mask_s", "frequency_mask_bins", "loss", "class_weights", "classical_model"),
    *("output_dir", "num_train_epochs", "max_steps", "learning_rate", "per_device_train_batch_size", "bf16", "seed"),
    *("push_to_hub", "hub_model_id", "hub_private_repo", "config", "demo", "help", "help_all"),
}

# Replaces transformers' own texts where they are long, or do not apply here
HELP = {
    "output_dir": "Run folder: model, report, card, plots, config.yaml, checkpoints. The same command resumes the run.",
    "num_train_epochs": "Number of epochs.",
    "max_steps": "Number of optimizer steps, instead of --num_train_epochs; -1 is off.",
    "learning_rate": "Peak learning rate, reached at the end of the warm-up.",
    "warmup_steps": "Steps of linear warm-up; a value below 1 is a share of all steps.",
    "weight_decay": "Weight decay of all weights except biases and norms.",
    "label_smoothing_factor": "Label smoothing; 0 is off.",
    "per_device_train_batch_size": "Windows per batch on each GPU.",
    "per_device_eval_batch_size": "Windows per batch on each GPU during evaluation.",
    "gradient_accumulation_steps": "Batches per optimizer step.",
    "bf16": "Train in bfloat16. Default: true on GPUs that support it, and on CPUs where it is faster.",
    "seed": "Random seed of weights, data order and augmentation.",
    "push_to_hub": "Publish on the Hub: features once they are built; model, card and report when the run ends. Log in "
    "with `hf auth login` first.",
    "hub_model_id": "With --push_to_hub: Hub name of the model, USER/NAME. Default: the run folder's name.",
    "hub_private_repo": "With --push_to_hub: make new repositories private (true). Default: public.",
    "hub_token": "Hub token. Default: HF_TOKEN, or that of `hf auth login`.",
    "help": "Show the most common flags and exit.",
}
