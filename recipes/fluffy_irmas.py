"""Fluffy on IRMAS: a shared Wav2Vec2 feature encoder, and a small network per instrument.

    accelerate launch recipes/fluffy_irmas.py --data_dir DIR
    accelerate launch recipes/fluffy_irmas.py --data_dir DIR --model_options '{"encoder": "full"}'
    accelerate launch recipes/fluffy_irmas.py --data_dir DIR --model_options '{"encoder": "full"}' --lora_rank 8
    accelerate launch recipes/fluffy_irmas.py --data_dir DIR --metadata genre drums
    accelerate launch recipes/fluffy_irmas.py --demo                                    a small model from scratch

Any model can have this head: --head fluffy. --metadata appends a clip's metadata to its embedding.

Hardware: one GPU; a CPU for --demo.
Time: not measured.
Expected score: not measured; published scores are for another split (docs/results.md).
"""

import hf_audio

VALUES = {
    "output_dir": "runs/fluffy_irmas",
    "corpus": "irmas",
    "window_s": 3.0,
    "features": "waveform",
    "model": "facebook/wav2vec2-base",
    "model_options": {"encoder": "convolutional"},
    "head": "fluffy",
    "head_sizes": [256],
    "head_dropout": 0.2,
    "num_train_epochs": 20,
    "learning_rate": 3e-4,
    "weight_decay": 0.01,
    "per_device_train_batch_size": 32,
    "early_stopping_patience": 4,
}
DEMO = {
    "output_dir": "runs/fluffy_irmas_demo",
    "corpus": "general_midi",
    "model": "wav2vec2-mini",
    "head_sizes": [64],
    "num_train_epochs": 6,
    "learning_rate": 1e-3,
    "per_device_train_batch_size": 16,
    "early_stopping_patience": 0,
}

if __name__ == "__main__":
    hf_audio.run_network(VALUES, DEMO, doc=__doc__)
