"""Fine-tune the Audio Spectrogram Transformer on ESC-50: 50 environmental sounds, five official folds.

    accelerate launch recipes/ast_esc50.py --data_dir DIR --fold fold1
    python scripts/cross_validate.py recipes/ast_esc50.py --data_dir DIR   all five, and their mean
    accelerate launch recipes/ast_esc50.py --demo

Published results are means over the five folds: run all of them. Clips of one recording are never in two folds.

Hardware: one GPU for the checkpoint; a CPU for --demo.
Time: not measured.
Expected score: not measured; run all five folds to compare with published means.
"""

import hf_audio

VALUES = {
    "output_dir": "runs/ast_esc50",
    "corpus": "esc50",
    "window_s": 5.0,
    "fold": "fold1",
    "validation_fraction": 0.1,
    "model": "MIT/ast-finetuned-audioset-10-10-0.4593",
    "num_train_epochs": 10,
    "learning_rate": 3e-5,
    "weight_decay": 0.01,
    "per_device_train_batch_size": 24,
    "early_stopping_patience": 3,
    "time_mask_s": 0.5,
    "frequency_mask_bins": 24,
    "mixup_alpha": 10.0,
}
DEMO = {
    "output_dir": "runs/ast_esc50_demo",
    "corpus": "general_midi",
    "window_s": 3.0,
    "fold": None,
    "model": "ast-mini",
    "learning_rate": 1e-3,
    "weight_decay": 0.05,
    "per_device_train_batch_size": 16,
    "early_stopping_patience": 0,
    "time_mask_s": 0.0,
    "frequency_mask_bins": 0,
    "mixup_alpha": 0.0,
}

if __name__ == "__main__":
    hf_audio.run_network(VALUES, DEMO, doc=__doc__)
