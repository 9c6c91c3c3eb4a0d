"""Support vector machines, one per class, on 174 classical features of IRMAS: which of 11 instruments are playing?

    accelerate launch recipes/svm_irmas.py --data_dir /data/IRMAS                       C 10, gamma scale
    python scripts/tune.py recipes/svm_irmas.py --space spaces/svm.yaml --data_dir /data/IRMAS          C and gamma
    accelerate launch recipes/svm_irmas.py --data_dir /data/IRMAS --classical_model boosting    gradient-boosted trees
    accelerate launch recipes/svm_irmas.py --data_dir /data/IRMAS --step_s 3 --entropy_frame_s 0.1    and 30 entropies
    accelerate launch recipes/svm_irmas.py --demo

An ensemble: a network's embedding of each window is appended to the classical features, with one SVM on both. The
network must have been trained on the same split, with windows of the same length:

    accelerate launch recipes/ast_irmas.py --data_dir /data/IRMAS
    accelerate launch recipes/svm_irmas.py --data_dir /data/IRMAS --network runs/ast_irmas --output_dir runs/both
    accelerate launch recipes/svm_irmas.py --dataset USER/irmas-classical --network USER/ast-irmas \
        --network_features USER/irmas-fbank

Hardware: a CPU.
Time: not measured.
Expected score: not measured.
"""

import hf_audio

VALUES = {
    "output_dir": "runs/svm_irmas",
    "corpus": "irmas",
    "features": "classical",
    "window_s": 3.0,
    "classical_model": "svm",
}
DEMO = {
    "output_dir": "runs/svm_irmas_demo",
    "corpus": "general_midi",
}

if __name__ == "__main__":
    hf_audio.run_classical(VALUES, DEMO, doc=__doc__)
