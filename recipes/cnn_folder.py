"""Train a convolutional network on your own recordings, from scratch: a few hundred are enough to start.

    accelerate launch recipes/cnn_folder.py --data_dir DIR
    accelerate launch recipes/cnn_folder.py --data_dir DIR --fold fold1            test on one official fold
    accelerate launch recipes/cnn_folder.py --data_dir DIR --test_groups theo      test on one speaker, song ...
    python scripts/cross_validate.py recipes/cnn_folder.py --data_dir DIR          every fold in turn: mean ± std

DIR holds class folders (DIR/violin/a.wav), optionally below train, validation and test, or a CSV with the columns path
and label (or labels: "violin;piano") and optionally group, split, start_s and end_s. Give groups: clips cut from one
recording must not be in both train and test, or leakage inflates every score.

With few recordings, all are used for training: there is no validation split, and all epochs are run. With many, or to
watch for overfitting, use --validation_fraction 0.15 --early_stopping_patience 10. A pretrained model is nearly always
better: recipes/ast_folder.py --model MIT/ast-finetuned-audioset-10-10-0.4593.

Hardware: 2 CPU cores.
Time: 3 to 7 minutes for 320 clips of 5 s on one of them, with bfloat16 instructions.
Expected score: accuracy 0.92 ± 0.03 on ESC-10, 0.66 ± 0.05 on Freesound instruments (docs/results.md).
"""

import hf_audio

VALUES = {
    "output_dir": "runs/cnn_folder",
    "corpus": "folder",
    "validation_fraction": 0.0,
    "model": "cnn",
    "num_train_epochs": 50,
    "learning_rate": 2e-3,
    "warmup_steps": 0.1,
    "weight_decay": 0.05,
    "label_smoothing_factor": 0.1,
    "logit_adjustment": 1.0,
    "per_device_train_batch_size": 16,
    "gain_db": 3.0,
    "equalizer_db": 1.5,
    "noise_probability": 0.2,
    "noise_snr_db": 10.0,
    "mixup_alpha": 10.0,
    "mixup_probability": 0.15,
}

if __name__ == "__main__":
    hf_audio.run_network(VALUES, doc=__doc__)
