"""Pretrain the Audio Spectrogram Transformer without labels, then fine-tune it with few labels.

    accelerate launch recipes/pretrain_ast.py --demo                           no download, no GPU: about 12 minutes
    accelerate launch recipes/pretrain_ast.py --data_dir /data/IRMAS           predict hidden patches
    accelerate launch recipes/pretrain_ast.py --objective shuffled             find shuffled patches
    accelerate launch recipes/pretrain_ast.py --corpus folder --data_dir DIR   no labels: all recordings in DIR/any/

Then, with 5 % of the labels (--dataset runs/pretrain_ast/features saves building the features again):

    accelerate launch recipes/ast_irmas.py --model runs/pretrain_ast --train_fraction 0.05
    accelerate launch recipes/ast_irmas.py --demo --model runs/pretrain_ast_demo --train_fraction 0.05 --output_dir few

scripts/compare_pretraining.py measures the gain.

Hardware: one GPU; 2 CPU cores for --demo.
Time: about 12 minutes for --demo; IRMAS: not measured.
Expected score: fine-tuned with 5 % of the demo's labels, mAP +0.02 ± 0.02 over training from scratch (docs/results.md).
"""

import hf_audio

VALUES = {
    "output_dir": "runs/pretrain_ast",
    "corpus": "irmas",
    "window_s": 3.0,
    "model": "ast-small",
    "objective": "masked",
    "mask_fraction": 0.75,
    "shuffle_fraction": 0.15,
    "decoder_layers": 2,
    "num_train_epochs": 180,
    "learning_rate": 5e-4,
    "warmup_steps": 0.1,
    "weight_decay": 0.05,
    "per_device_train_batch_size": 64,
}
DEMO = {
    "output_dir": "runs/pretrain_ast_demo",
    "corpus": "general_midi",
    "model": "ast-mini",
    "objective": "shuffled",
    "num_train_epochs": 40,
    "learning_rate": 1e-3,
    "per_device_train_batch_size": 16,
    "per_device_eval_batch_size": 32,
}

if __name__ == "__main__":
    hf_audio.run_pretraining(VALUES, DEMO, doc=__doc__)
