"""An LSTM with Bahdanau attention over the frames of IRMAS.

    accelerate launch recipes/lstm_irmas.py --data_dir DIR
    accelerate launch recipes/lstm_irmas.py --data_dir DIR --model_options '{"attention": "none"}'
    accelerate launch recipes/lstm_irmas.py --data_dir DIR --channels mfcc --mixup_alpha 0
    accelerate launch recipes/lstm_irmas.py --data_dir DIR --channels mel wavelet
    accelerate launch recipes/lstm_irmas.py --data_dir DIR --class_weights balanced
    accelerate launch recipes/lstm_irmas.py --demo

Hardware: one GPU; a CPU for --demo.
Time: not measured.
Expected score: not measured; published scores are for another split (docs/results.md).
"""

import hf_audio

VALUES = {
    "output_dir": "runs/lstm_irmas",
    "corpus": "irmas",
    "features": "spectrogram",
    "sample_rate": 22_050,
    "n_fft": 1024,
    "hop_samples": 220,
    "num_mel_bins": 128,
    "window_s": 3.0,
    "model": "lstm",
    "num_train_epochs": 30,
    "learning_rate": 1e-3,
    "weight_decay": 0.01,
    "per_device_train_batch_size": 64,
    "early_stopping_patience": 5,
    "gain_db": 3.0,
    "equalizer_db": 1.5,
    "noise_probability": 0.2,
    "noise_snr_db": 10.0,
    "mixup_alpha": 10.0,
    "mixup_probability": 0.15,
    "mixup_labels": "union",
}
DEMO = {
    "output_dir": "runs/lstm_irmas_demo",
    "corpus": "general_midi",
    "model_options": {"hidden_size": 96},
    "num_train_epochs": 8,
    "per_device_train_batch_size": 16,
    "early_stopping_patience": 0,
    "mixup_alpha": 0.0,
    "gain_db": 0.0,
    "equalizer_db": 0.0,
    "noise_probability": 0.0,
}

if __name__ == "__main__":
    hf_audio.run_network(VALUES, DEMO, doc=__doc__)
