"""A small convolutional network (100 kB) on long solo recordings: which instrument is playing?

    accelerate launch recipes/cnn_solo.py --data_dir DIR                      see below
    accelerate launch recipes/cnn_solo.py --data_dir DIR --channels mel       mono
    accelerate launch recipes/cnn_solo.py --demo

DIR/cello/concert.wav and so on; DIR/cuts.csv (path,start_s,end_s) lists the parts to keep, without applause and speech.
Windows of 5 s every 1 s overlap by 4 s: recordings are split before they are cut, so that no part of a test recording
is trained on. Features are those of the project Instruments Recognition (C. Dumoulin and L. Ricour-Dumas):
stereo log-mel at 44.1 kHz, 431 frames of 64 bins in two channels.

Hardware: a CPU, or one GPU for many hours of recordings.
Time: not measured.
Expected score: not measured; published scores are for another split (docs/results.md).
"""

import hf_audio

VALUES = {
    "output_dir": "runs/cnn_solo",
    "corpus": "solo",
    "features": "spectrogram",
    "channels": ["left", "right"],
    "sample_rate": 44_100,
    "n_fft": 1024,
    "hop_samples": 512,
    "num_mel_bins": 64,
    "window_s": 5.0,
    "hop_s": 1.0,
    "model": "cnn-concert",
    "num_train_epochs": 20,
    "learning_rate": 1e-3,
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
    "output_dir": "runs/cnn_solo_demo",
    "corpus": "general_midi",
    "window_s": 3.0,
    "hop_s": 3.0,
    "num_train_epochs": 15,
    "early_stopping_patience": 0,
    "class_weights": "none",
    "gain_db": 0.0,
    "equalizer_db": 0.0,
    "noise_probability": 0.0,
    "mixup_alpha": 0.0,
}

if __name__ == "__main__":
    hf_audio.run_network(VALUES, DEMO, doc=__doc__)
