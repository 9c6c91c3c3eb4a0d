"""Train a convolutional network on UrbanSound8K from scratch: 10 urban sounds, ten official folds.

    accelerate launch recipes/cnn_urbansound8k.py --data_dir DIR --fold fold1
    python scripts/cross_validate.py recipes/cnn_urbansound8k.py --data_dir DIR   all ten, and their mean
    accelerate launch recipes/cnn_urbansound8k.py --demo

The published figures are means over the ten folds: run all of them. Excerpts of one recording are never in two folds;
shuffled anew they would be, and the scores far too good.
"""

import hf_audio

VALUES = {
    "output_dir": "runs/cnn_urbansound8k",
    "corpus": "urbansound8k",
    "window_s": 4.0,
    "fold": "fold1",
    "validation_fraction": 0.1,
    "model": "cnn",
    "num_train_epochs": 40,
    "learning_rate": 2e-3,
    "warmup_steps": 0.1,
    "weight_decay": 0.05,
    "per_device_train_batch_size": 32,
    "early_stopping_patience": 8,
    "time_shift": True,
    "gain_db": 6.0,
    "mixup_alpha": 10.0,
    "mixup_probability": 0.25,
    "time_mask_s": 0.4,
    "frequency_mask_bins": 16,
}
DEMO = {
    "output_dir": "runs/cnn_urbansound8k_demo",
    "corpus": "general_midi",
    "window_s": 3.0,
    "fold": None,
    "num_train_epochs": 15,
    "per_device_train_batch_size": 16,
    "early_stopping_patience": 0,
}

if __name__ == "__main__":
    hf_audio.run_network(VALUES, DEMO, doc=__doc__)
