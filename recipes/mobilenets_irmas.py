"""Four small MobileNets in parallel on IRMAS, each for its own instruments.

    accelerate launch recipes/mobilenets_irmas.py --data_dir DIR
    accelerate launch recipes/mobilenets_irmas.py --data_dir DIR --model_options '{"num_backbones": 4}'
    accelerate launch recipes/mobilenets_irmas.py --data_dir DIR --model mobilenets                from scratch
    accelerate launch recipes/mobilenets_irmas.py --data_dir DIR --channels left right
    accelerate launch recipes/mobilenets_irmas.py --demo

The option combine is "predictions" (each network has a head for its classes) or "features" (one head reads them all).

Hardware: one GPU; a CPU for --demo.
Time: not measured.
Expected score: not measured.
"""

import hf_audio

VALUES = {
    "output_dir": "runs/mobilenets_irmas",
    "corpus": "irmas",
    "features": "spectrogram",
    "sample_rate": 22_050,
    "n_fft": 1024,
    "hop_samples": 220,
    "num_mel_bins": 128,
    "window_s": 3.0,
    "model": "timm/mobilenetv3_small_050",
    "model_options": {"num_backbones": 4, "combine": "predictions"},
    "num_train_epochs": 20,
    "learning_rate": 5e-4,
    "weight_decay": 0.02,
    "per_device_train_batch_size": 64,
    "early_stopping_patience": 4,
    "time_mask_s": 0.3,
    "frequency_mask_bins": 16,
    "mixup_alpha": 10.0,
    "mixup_labels": "union",
}
DEMO = {
    "output_dir": "runs/mobilenets_irmas_demo",
    "corpus": "general_midi",
    "model": "mobilenets",
    "num_train_epochs": 8,
    "learning_rate": 1e-3,
    "per_device_train_batch_size": 16,
    "early_stopping_patience": 0,
    "mixup_alpha": 0.0,
    "time_mask_s": 0.0,
    "frequency_mask_bins": 0,
}

if __name__ == "__main__":
    hf_audio.run_network(VALUES, DEMO, doc=__doc__)
