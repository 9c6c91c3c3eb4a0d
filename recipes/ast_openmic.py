"""Fine-tune the Audio Spectrogram Transformer on OpenMIC-2018: 20 instruments, clips of 10 s, partial labels.

    accelerate launch recipes/ast_openmic.py --data_dir DIR
    accelerate launch recipes/ast_openmic.py --data_dir DIR --lora_rank 8
    accelerate launch recipes/ast_openmic.py --demo

Most clips have labels for only a few instruments: the label mask excludes the others from loss and scores.

Hardware: one GPU for the checkpoint; a CPU for --demo.
Time: not measured.
Expected score: not measured.
"""

import hf_audio

VALUES = {
    "output_dir": "runs/ast_openmic",
    "corpus": "openmic",
    "window_s": 10.0,
    "model": "MIT/ast-finetuned-audioset-10-10-0.4593",
    "num_train_epochs": 6,
    "learning_rate": 5e-5,
    "weight_decay": 0.01,
    "per_device_train_batch_size": 16,
    "early_stopping_patience": 2,
    "time_mask_s": 0.5,
    "frequency_mask_bins": 24,
    "mixup_alpha": 10.0,
    "mixup_labels": "union",
}
DEMO = {
    "output_dir": "runs/ast_openmic_demo",
    "corpus": "general_midi",
    "window_s": 3.0,
    "model": "ast-mini",
    "num_train_epochs": 10,
    "learning_rate": 1e-3,
    "weight_decay": 0.05,
    "early_stopping_patience": 0,
    "time_mask_s": 0.0,
    "frequency_mask_bins": 0,
    "mixup_alpha": 0.0,
}

if __name__ == "__main__":
    hf_audio.run_network(VALUES, DEMO, doc=__doc__)
