"""Fine-tune only the convolutional feature encoder of Wav2Vec2 on IRMAS, without the transformer after it.

    accelerate launch recipes/wav2vec2_cnn_irmas.py --data_dir DIR
    accelerate launch recipes/wav2vec2_cnn_irmas.py --data_dir DIR --head deep --head_sizes 1000 500
    accelerate launch recipes/wav2vec2_cnn_irmas.py --demo                              a small model from scratch

It has a twentieth of the full model's weights; compare with recipes/wav2vec2_irmas.py and recipes/fluffy_irmas.py.

Hardware: one GPU; a CPU for --demo.
Time: not measured.
Expected score: not measured.
"""

import hf_audio

VALUES = {
    "output_dir": "runs/wav2vec2_cnn_irmas",
    "corpus": "irmas",
    "window_s": 3.0,
    "features": "waveform",
    "model": "facebook/wav2vec2-base",
    "model_options": {"encoder": "convolutional"},
    "head": "deep",
    "head_sizes": [512],
    "head_dropout": 0.2,
    "num_train_epochs": 20,
    "learning_rate": 3e-4,
    "weight_decay": 0.01,
    "per_device_train_batch_size": 32,
    "early_stopping_patience": 4,
}
DEMO = {
    "output_dir": "runs/wav2vec2_cnn_irmas_demo",
    "corpus": "general_midi",
    "model": "wav2vec2-mini",
    "num_train_epochs": 6,
    "learning_rate": 1e-3,
    "per_device_train_batch_size": 16,
    "early_stopping_patience": 0,
}

if __name__ == "__main__":
    hf_audio.run_network(VALUES, DEMO, doc=__doc__)
