"""A two-layer LSTM (41 MB) that reads the mel rows of long solo recordings: which instrument is playing?

    accelerate launch recipes/lstm_solo.py --data_dir DIR                                          see below
    accelerate launch recipes/lstm_solo.py --data_dir DIR --model_options '{"num_channels": 2}'    rows side by side
    accelerate launch recipes/lstm_solo.py --data_dir DIR --model_options '{"sequence": "frames"}'
    accelerate launch recipes/lstm_solo.py --demo

DIR/cello/concert.wav and so on; recordings are split first, then cut into windows. Features are those of
recipes/cnn_solo.py; the network reads the mean of both channels, 64 rows of 431 frames.

Hardware: one GPU; a CPU for --demo.
Time: not measured.
Expected score: not measured; published scores are for another split (docs/results.md).
"""

import hf_audio

VALUES = {
    "output_dir": "runs/lstm_solo",
    "corpus": "solo",
    "features": "spectrogram",
    "channels": ["left", "right"],
    "sample_rate": 44_100,
    "n_fft": 1024,
    "hop_samples": 512,
    "num_mel_bins": 64,
    "window_s": 5.0,
    "hop_s": 1.0,
    "model": "lstm-concert",
    "num_train_epochs": 20,
    "learning_rate": 3e-4,
    "weight_decay": 0.01,
    "per_device_train_batch_size": 16,
    "class_weights": "balanced",
    "early_stopping_patience": 5,
    "gain_db": 3.0,
    "equalizer_db": 1.5,
    "noise_probability": 0.2,
    "noise_snr_db": 10.0,
    "mixup_alpha": 10.0,
    "mixup_probability": 0.15,
}
DEMO = {
    "output_dir": "runs/lstm_solo_demo",
    "corpus": "general_midi",
    "window_s": 3.0,
    "hop_s": 3.0,
    "model_options": {"hidden_size": 256},
    "num_train_epochs": 8,
    "early_stopping_patience": 0,
    "class_weights": "none",
    "gain_db": 0.0,
    "equalizer_db": 0.0,
    "noise_probability": 0.0,
    "mixup_alpha": 0.0,
}

if __name__ == "__main__":
    hf_audio.run_network(VALUES, DEMO, doc=__doc__)
