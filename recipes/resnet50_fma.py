"""A frozen ResNet-50 on FMA's genres: it reads the first 10 s of each clip, and only the head is trained.

    accelerate launch recipes/resnet50_fma.py --data_dir DIR
    accelerate launch recipes/resnet50_fma.py --data_dir DIR --normalization dataset --gain_db 6
    accelerate launch recipes/resnet50_fma.py --data_dir DIR --freeze none --learning_rate 1e-4
    accelerate launch recipes/resnet50_fma.py --data_dir DIR --freeze none --model_options '{"trainable_blocks": 1}'
    accelerate launch recipes/resnet50_fma.py --demo                                      a small model from scratch

DIR has fma_small and fma_metadata from https://github.com/mdeff/fma. The split is the official one, artist-disjoint.
Features are those of the project XNAP-16 (UAB, 2023): log-mel at 22,050 Hz, each clip normalized by its own mean and
standard deviation. That hides a clip's loudness, so augmenting loudness and noise, as that project did,
needs --normalization dataset. The learning rate decays.

Hardware: one GPU; a CPU for --demo.
Time: not measured.
Expected score: not measured; published scores are for another split (docs/results.md).
"""

import hf_audio

VALUES = {
    "output_dir": "runs/resnet50_fma",
    "corpus": "fma",
    "clip_s": 10.0,
    "features": "spectrogram",
    "normalization": "clip",
    "sample_rate": 22_050,
    "n_fft": 2048,
    "hop_samples": 512,
    "num_mel_bins": 128,
    "window_s": 10.0,
    "model": "timm/resnet50",
    "freeze": "backbone",
    "head_dropout": 0.0,
    "num_train_epochs": 15,
    "learning_rate": 1e-3,
    "per_device_train_batch_size": 64,
    "early_stopping_patience": 4,
    "noise_snr_db": 20.0,
}
DEMO = {
    "output_dir": "runs/resnet50_fma_demo",
    "corpus": "general_midi",
    "window_s": 3.0,
    "clip_s": None,
    "model": "resnet10t",
    "freeze": "none",
    "num_train_epochs": 4,
    "per_device_train_batch_size": 16,
    "early_stopping_patience": 0,
}

if __name__ == "__main__":
    hf_audio.run_network(VALUES, DEMO, doc=__doc__)
