"""Train a convolutional network on your own recordings, from scratch: a few hundred are enough to begin with.

    accelerate launch recipes/cnn_folder.py --data_dir DIR
    accelerate launch recipes/cnn_folder.py --data_dir DIR --fold fold1            test on one official fold
    accelerate launch recipes/cnn_folder.py --data_dir DIR --test_groups theo      test on one speaker, song ...
    python scripts/cross_validate.py recipes/cnn_folder.py --data_dir DIR          every fold in turn, mean and sd

DIR holds class folders (DIR/violin/a.wav), optionally below train, validation and test, or a CSV with the columns path
and label (or labels: "violin;piano") and optionally group, split, start_s and end_s. Give groups: clips cut from one
recording must not be in both train and test, or every score is too good.

Few recordings are better trained on than held back: there is no validation split, and all epochs are trained. With
many, or to watch for overfitting: --validation_fraction 0.15 --early_stopping_patience 10. With the Hub at hand a
trained model is nearly always better: recipes/ast_folder.py --model MIT/ast-finetuned-audioset-10-10-0.4593.
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
    "per_device_train_batch_size": 16,
    "time_shift": True,
    "time_stretch": 0.2,
    "frequency_shift_bins": 6.0,
    "gain_db": 6.0,
    "equalizer_db": 3.0,
    "noise_probability": 0.4,
    "noise_snr_db": 10.0,
    "mixup_alpha": 10.0,
    "mixup_probability": 0.25,
    "time_mask_s": 0.5,
    "frequency_mask_bins": 12,
}

if __name__ == "__main__":
    hf_audio.run_network(VALUES, doc=__doc__)
