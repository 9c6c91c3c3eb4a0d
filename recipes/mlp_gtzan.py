"""A dense network on 174 classical features of GTZAN's tracks: which genre?

    accelerate launch recipes/mlp_gtzan.py --data_dir DIR
    accelerate launch recipes/mlp_gtzan.py --data_dir DIR --window_s 3          ten windows per track
    accelerate launch recipes/mlp_gtzan.py --demo

The split is the fault-filtered, artist-disjoint one (443 / 197 / 290 tracks): random splits inflate accuracy by
about 10 points.

Hardware: a CPU.
Time: not measured.
Expected score: not measured.
"""

import hf_audio

VALUES = {
    "output_dir": "runs/mlp_gtzan",
    "corpus": "gtzan",
    "features": "classical",
    "window_s": 30.0,
    "model": "mlp",
    "num_train_epochs": 60,
    "learning_rate": 5e-4,
    "weight_decay": 0.01,
    "per_device_train_batch_size": 16,
    "early_stopping_patience": 10,
}
DEMO = {
    "output_dir": "runs/mlp_gtzan_demo",
    "corpus": "general_midi",
    "window_s": 3.0,
    "num_train_epochs": 20,
    "early_stopping_patience": 0,
}

if __name__ == "__main__":
    hf_audio.run_network(VALUES, DEMO, doc=__doc__)
