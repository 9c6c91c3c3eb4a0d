"""A convolutional network on FMA's genres: ten windows of 3 s per clip, or one of 30 s.

    accelerate launch recipes/cnn_fma.py --data_dir DIR            ten windows of 3 s per clip
    accelerate launch recipes/cnn_fma.py --data_dir DIR --window_s 30 --output_dir runs/cnn_fma_30s
    accelerate launch recipes/cnn_fma.py --demo

DIR has fma_small (or _medium, _large) and fma_metadata from https://github.com/mdeff/fma. The split is the official
one, which keeps artists apart. Features are those of C. Minini's project: log-mel of 128 bins at 22,050 Hz.

Hardware: one GPU; a CPU for --demo.
Time: not measured.
Expected score: not measured; published scores are for another split (docs/results.md).
"""

import hf_audio

VALUES = {
    "output_dir": "runs/cnn_fma",
    "corpus": "fma",
    "features": "spectrogram",
    "sample_rate": 22_050,
    "n_fft": 2048,
    "hop_samples": 512,
    "num_mel_bins": 128,
    "window_s": 3.0,
    "model": "cnn-genre",
    "num_train_epochs": 20,
    "learning_rate": 1e-3,
    "weight_decay": 0.01,
    "per_device_train_batch_size": 64,
    "early_stopping_patience": 4,
    "gain_db": 3.0,
    "equalizer_db": 1.5,
    "noise_probability": 0.2,
    "noise_snr_db": 10.0,
    "mixup_alpha": 10.0,
    "mixup_probability": 0.15,
}
DEMO = {
    "output_dir": "runs/cnn_fma_demo",
    "corpus": "general_midi",
    "num_train_epochs": 10,
    "per_device_train_batch_size": 16,
    "early_stopping_patience": 0,
    "gain_db": 0.0,
    "equalizer_db": 0.0,
    "noise_probability": 0.0,
    "mixup_alpha": 0.0,
}

if __name__ == "__main__":
    hf_audio.run_network(VALUES, DEMO, doc=__doc__)
