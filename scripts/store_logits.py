"""Store the logits of a trained classifier for every window of a feature dataset, for training other models.

    python scripts/store_logits.py runs/ast_folder runs/ast_folder/features --output_dir logits
    python scripts/store_logits.py someone/ast-large someone/birds-fbank --output_dir logits --push_to_hub me/logits
    accelerate launch recipes/cnn_folder.py --data_dir DIR --teacher_logits logits      learn from them

The classifier is a run folder or a Hub name, and the features are a folder or a Hub dataset that it reads. Logits are
for stored windows: a model that learns from them may augment its windows, but not mix them. It may read other features
than the teacher, built from the same recordings with the same --window_s and --hop_s.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from hf_audio import clear_errors, load_features
from hf_audio.publishing.stored_logits import push_logits, write_logits_card
from hf_audio.stored_scores import write_logits
from hf_audio.terminal import show
from hf_audio.training.network_teacher import open_teacher, teacher_facts


def main() -> None:
    options = parse_options()
    features = load_features(options.features, token=options.token)
    predictor, license = open_teacher(
        options.teacher, token=options.token, revision=options.revision, device=options.device
    )
    windows = {split: predictor.window_logits(features, split) for split in features.splits}
    folder = Path(options.output_dir)
    path = write_logits(folder, windows, predictor.labels, teacher_facts(predictor, license))
    write_logits_card(folder, features)
    show(f"Logits of {sum(len(one.clip_ids) for one in windows.values()):,} windows: {path}")
    if options.push_to_hub:
        show(push_logits(folder, features, options.push_to_hub, private=options.private, token=options.token))


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("teacher", help="Run folder, or Hub name.")
    parser.add_argument("features", help="Feature dataset that it reads: a folder or a Hub name.")
    parser.add_argument("--output_dir", required=True, help="Folder for the logits.")
    parser.add_argument("--revision", help="Branch, tag or commit of the teacher on the Hub.")
    parser.add_argument("--device", help="cpu, cuda, cuda:1 and so on. Default: the GPU if there is one.")
    parser.add_argument("--push_to_hub", metavar="NAME", help="Push the logits as this dataset: NAME or USER/NAME.")
    parser.add_argument("--private", action="store_true", default=None, help="Make a new dataset private.")
    parser.add_argument("--token", help="Hub token. Default: HF_TOKEN, or that of hf auth login.")
    return parser.parse_args()


if __name__ == "__main__":
    with clear_errors():
        main()
