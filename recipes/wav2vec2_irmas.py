"""Fine-tune Wav2Vec2 on IRMAS: 11 instruments from the raw waveform, with the whole encoder.

    accelerate launch recipes/wav2vec2_irmas.py --data_dir DIR
    accelerate launch recipes/wav2vec2_irmas.py --data_dir DIR --model microsoft/wavlm-base
    accelerate launch recipes/wav2vec2_irmas.py --data_dir DIR --lora_rank 8
    accelerate launch recipes/wav2vec2_irmas.py --demo                                  a small model from scratch

The convolutions stay frozen, as is usual in fine-tuning Wav2Vec2.

Hardware: one GPU; a CPU for --demo.
Time: not measured.
Expected score: not measured.
"""

import hf_audio

VALUES = {
    "output_dir": "runs/wav2vec2_irmas",
    "corpus": "irmas",
    "window_s": 3.0,
    "features": "waveform",
    "model": "facebook/wav2vec2-base",
    "freeze": "convolutional",
    "num_train_epochs": 10,
    "learning_rate": 5e-5,
    "weight_decay": 0.01,
    "per_device_train_batch_size": 32,
    "early_stopping_patience": 3,
}
DEMO = {
    "output_dir": "runs/wav2vec2_irmas_demo",
    "corpus": "general_midi",
    "model": "wav2vec2-mini",
    "freeze": "none",
    "num_train_epochs": 4,
    "learning_rate": 5e-4,
    "per_device_train_batch_size": 16,
    "early_stopping_patience": 0,
}

if __name__ == "__main__":
    hf_audio.run_network(VALUES, DEMO, doc=__doc__)
