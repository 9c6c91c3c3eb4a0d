"""Fine-tune Wav2Vec2 on Speech Commands: 35 words of one second, official split by speaker.

    accelerate launch recipes/wav2vec2_speech_commands.py --data_dir DIR
    accelerate launch recipes/wav2vec2_speech_commands.py --data_dir DIR --model facebook/hubert-base-ls960
    accelerate launch recipes/wav2vec2_speech_commands.py --data_dir DIR --model openai/whisper-base --freeze none
    accelerate launch recipes/wav2vec2_speech_commands.py --demo                        a small model from scratch

Hardware: one GPU; a CPU for --demo.
Time: not measured.
Expected score: not measured.
"""

import hf_audio

VALUES = {
    "output_dir": "runs/wav2vec2_speech_commands",
    "corpus": "speech_commands",
    "window_s": 1.0,
    "features": "waveform",
    "model": "facebook/wav2vec2-base",
    "freeze": "convolutional",
    "num_train_epochs": 5,
    "learning_rate": 3e-5,
    "weight_decay": 0.01,
    "per_device_train_batch_size": 64,
    "early_stopping_patience": 2,
}
DEMO = {
    "output_dir": "runs/wav2vec2_speech_commands_demo",
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
