"""Support vector machines, one per genre, on 174 classical features of GTZAN's tracks.

    accelerate launch recipes/svm_gtzan.py --data_dir DIR
    python scripts/tune.py recipes/svm_gtzan.py --space spaces/svm.yaml --data_dir DIR          C and gamma
    accelerate launch recipes/svm_gtzan.py --data_dir DIR --classical_model boosting     gradient-boosted trees
    accelerate launch recipes/svm_gtzan.py --data_dir DIR --window_s 30          one vector per track
    accelerate launch recipes/svm_gtzan.py --data_dir DIR --network RUN --network_features FEATURES
    accelerate launch recipes/svm_gtzan.py --demo

Tracks of 30 s are cut into ten windows of 3 s, whose decision values are averaged: ten times the training examples, and
ten predictions per track. An ensemble's network must be trained on the same windows and split.

The split is the fault-filtered, artist-disjoint one (443 / 197 / 290 tracks): random splits inflate accuracy by
about 10 points.

Hardware: a CPU.
Time: not measured.
Expected score: not measured.
"""

import hf_audio

VALUES = {
    "output_dir": "runs/svm_gtzan",
    "corpus": "gtzan",
    "features": "classical",
    "window_s": 3.0,
    "classical_model": "svm",
}
DEMO = {
    "output_dir": "runs/svm_gtzan_demo",
    "corpus": "general_midi",
}

if __name__ == "__main__":
    hf_audio.run_classical(VALUES, DEMO, doc=__doc__)
