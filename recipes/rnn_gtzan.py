"""A recurrent network on classical features of GTZAN's tracks, one vector per 3 s: which genre?

    accelerate launch recipes/rnn_gtzan.py --data_dir DIR
    accelerate launch recipes/rnn_gtzan.py --data_dir DIR --model_options '{"cell": "gru", "bidirectional": true}'
    accelerate launch recipes/rnn_gtzan.py --demo

The split is the fault-filtered, artist-disjoint one (443 / 197 / 290 tracks): random splits inflate accuracy by
about 10 points.
Sizes and learning rate were chosen by the search of github.com/Mathieeeu/data832_projet: 256 units, 2 layers, 5e-4.

Hardware: a CPU.
Time: not measured.
Expected score: not measured on GTZAN; accuracy 0.80 ± 0.02 on notes of 12 instruments (docs/results.md).
"""

import hf_audio

VALUES = {
    "output_dir": "runs/rnn_gtzan",
    "corpus": "gtzan",
    "features": "classical",
    "window_s": 30.0,
    "step_s": 3.0,
    "model": "rnn",
    "num_train_epochs": 60,
    "learning_rate": 5e-4,
    "weight_decay": 0.01,
    "per_device_train_batch_size": 16,
    "early_stopping_patience": 10,
}
DEMO = {
    "output_dir": "runs/rnn_gtzan_demo",
    "corpus": "general_midi",
    "window_s": 3.0,
    "step_s": None,
    "num_train_epochs": 20,
    "early_stopping_patience": 0,
}

if __name__ == "__main__":
    hf_audio.run_network(VALUES, DEMO, doc=__doc__)
