"""Train a convolutional network on UrbanSound8K from scratch: 10 urban sounds, ten official folds.

    accelerate launch recipes/cnn_urbansound8k.py --data_dir DIR --fold fold1
    python scripts/cross_validate.py recipes/cnn_urbansound8k.py --data_dir DIR   all ten, and their mean
    accelerate launch recipes/cnn_urbansound8k.py --demo

Published results are means over the ten folds: run all of them. Excerpts of one recording are never in two folds;
with random folds they would be, and leakage would inflate the scores.

Hardware: one GPU; a CPU for --demo.
Time: not measured.
Expected score: not measured; run all ten folds to compare with published means.
"""

import hf_audio

VALUES = {
    "output_dir": "runs/cnn_urbansound8k",
    "corpus": "urbansound8k",
    "window_s": 4.0,
    "fold": "fold1",
    "validation_fraction": 0.0,
    "model": "cnn",
    "num_train_epochs": 40,
    "learning_rate": 2e-3,
    "warmup_steps": 0.1,
    "weight_decay": 0.05,
    "per_device_train_batch_size": 32,
    "label_smoothing_factor": 0.1,
    "logit_adjustment": 1.0,
    "gain_db": 3.0,
    "equalizer_db": 1.5,
    "noise_probability": 0.2,
    "noise_snr_db": 10.0,
    "mixup_alpha": 10.0,
    "mixup_probability": 0.15,
}
DEMO = {
    "output_dir": "runs/cnn_urbansound8k_demo",
    "corpus": "general_midi",
    "window_s": 3.0,
    "fold": None,
    "num_train_epochs": 15,
    "per_device_train_batch_size": 16,
}

if __name__ == "__main__":
    hf_audio.run_network(VALUES, DEMO, doc=__doc__)
