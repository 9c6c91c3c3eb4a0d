"""ResNeXt-50 32x4d, trained on photographs, fine-tuned on the spectrograms of IRMAS.

    accelerate launch recipes/resnext_irmas.py --data_dir DIR
    accelerate launch recipes/resnext_irmas.py --data_dir DIR --mixup_alpha 0 --time_mask_s 0 --frequency_mask_bins 0
    accelerate launch recipes/resnext_irmas.py --data_dir DIR --channels mfcc --mixup_alpha 0
    accelerate launch recipes/resnext_irmas.py --data_dir DIR --channels mel harmonic percussive
    accelerate launch recipes/resnext_irmas.py --data_dir DIR --model timm/convnext_tiny
    accelerate launch recipes/resnext_irmas.py --demo                             a small ResNet from scratch

With three channels, the first layer is the one trained on red, green and blue; with fewer, timm adapts it.

Hardware: one GPU; a CPU for --demo.
Time: not measured.
Expected score: not measured.
"""

import hf_audio

VALUES = {
    "output_dir": "runs/resnext_irmas",
    "corpus": "irmas",
    "features": "spectrogram",
    "sample_rate": 22_050,
    "n_fft": 1024,
    "hop_samples": 220,
    "num_mel_bins": 128,
    "window_s": 3.0,
    "model": "timm/resnext50_32x4d",
    "num_train_epochs": 10,
    "learning_rate": 1e-4,
    "weight_decay": 0.02,
    "per_device_train_batch_size": 32,
    "early_stopping_patience": 3,
    "time_mask_s": 0.3,
    "frequency_mask_bins": 16,
    "mixup_alpha": 10.0,
    "mixup_labels": "union",
}
DEMO = {
    "output_dir": "runs/resnext_irmas_demo",
    "corpus": "general_midi",
    "model": "resnet10t",
    "num_train_epochs": 4,
    "learning_rate": 1e-3,
    "per_device_train_batch_size": 16,
    "early_stopping_patience": 0,
    "mixup_alpha": 0.0,
    "time_mask_s": 0.0,
    "frequency_mask_bins": 0,
}

if __name__ == "__main__":
    hf_audio.run_network(VALUES, DEMO, doc=__doc__)
