"""Fine-tune the Audio Spectrogram Transformer on IRMAS: which of 11 instruments are playing?

    accelerate launch recipes/ast_irmas.py --demo                              no download, no GPU: about 5 minutes
    accelerate launch recipes/ast_irmas.py --data_dir /data/IRMAS              builds the features, then trains
    accelerate launch recipes/ast_irmas.py --dataset USER/irmas-fbank          streams features from the Hub
    accelerate launch recipes/ast_irmas.py --lora_rank 8 --push_to_hub         adapters only; publishes the result
    accelerate launch --config_file recipes/accelerate/multi_gpu.yaml recipes/ast_irmas.py

Without --data_dir or --dataset, IRMAS is downloaded through mirdata (12 GB).

Hardware: one GPU for the checkpoint; 2 CPU cores for --demo.
Time: 5 to 6 minutes for --demo; IRMAS: not measured.
Expected score: mAP 0.61 and micro F1 0.53 for --demo (docs/results.md); IRMAS: not measured.
"""

import hf_audio

VALUES = {
    "output_dir": "runs/ast_irmas",
    "corpus": "irmas",
    "window_s": 3.0,
    "model": "MIT/ast-finetuned-audioset-10-10-0.4593",
    "num_train_epochs": 8,
    "learning_rate": 5e-5,
    "warmup_steps": 0.1,
    "weight_decay": 0.01,
    "per_device_train_batch_size": 32,
    "early_stopping_patience": 3,
    "time_mask_s": 0.5,
    "frequency_mask_bins": 24,
    "mixup_alpha": 10.0,
    "mixup_labels": "union",
}
DEMO = {
    "output_dir": "runs/ast_irmas_demo",
    "corpus": "general_midi",
    "model": "ast-mini",
    "num_train_epochs": 13,
    "learning_rate": 1e-3,
    "weight_decay": 0.05,
    "per_device_train_batch_size": 16,
    "per_device_eval_batch_size": 32,
    "early_stopping_patience": 0,
    "time_mask_s": 0.0,
    "frequency_mask_bins": 0,
}

if __name__ == "__main__":
    hf_audio.run_network(VALUES, DEMO, doc=__doc__)
