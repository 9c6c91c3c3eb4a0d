"""Fine-tune Wav2Vec2 on IRMAS: 11 instruments from the waveform itself, with the whole encoder.

    accelerate launch recipes/wav2vec2_irmas.py --data_dir DIR
    accelerate launch recipes/wav2vec2_irmas.py --data_dir DIR --model microsoft/wavlm-base
    accelerate launch recipes/wav2vec2_irmas.py --data_dir DIR --lora_rank 8
    accelerate launch recipes/wav2vec2_irmas.py --demo                                  a small one from scratch

The convolutions stay frozen, as is usual where Wav2Vec2 is fine-tuned.
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


def main() -> None:
    recipe = hf_audio.parse_recipe(VALUES, DEMO, doc=__doc__)
    features = hf_audio.prepare_features(recipe)
    model = hf_audio.prepare_model(recipe, features)
    trainer = hf_audio.train_model(recipe, model, features)
    report = hf_audio.evaluate_run(recipe, trainer)
    hf_audio.publish_run(recipe, trainer, report)


if __name__ == "__main__":
    with hf_audio.clear_errors():
        main()
