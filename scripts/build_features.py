"""Recordings to a feature dataset: index, split, windows, log-mel features, in shards. Can be interrupted and resumed.

    python scripts/build_features.py --data_dir DIR --features_dir feature_sets/mine
    python scripts/build_features.py --corpus irmas --data_dir DIR --features_dir feature_sets/irmas --window_s 3
    python scripts/build_features.py --dataset USER/NAME --features_dir feature_sets/theirs     # recordings on the Hub
    python scripts/build_features.py --corpus irmas --data_dir DIR --features_dir feature_sets/mixed --window_s 3 \
        --mix_fraction 1.0 --mix_clips 2 4 --mix_same genre       # new clips of several instruments, for training
    python scripts/build_features.py --data_dir DIR --features_dir feature_sets/mix --several_labels --mix_fraction 1.0
    python scripts/build_features.py --data_dir DIR --features_dir feature_sets/sound --features waveform --window_s 0
    accelerate launch --config_file recipes/accelerate/two_cpu.yaml --num_processes 4 scripts/build_features.py ...
    accelerate launch --num_machines 2 --machine_rank 0 --main_process_ip HOST ... on a folder that both machines see

Files that cannot be used are listed with the reason in excluded.csv beside the dataset; --strict makes them an error.
Publish the result with scripts/push_features.py, train on it with --dataset feature_sets/mine.
"""

from pathlib import Path

from accelerate import PartialState

import hf_audio

VALUES = {"features_dir": "feature_sets/features"}


def main() -> None:
    settings = hf_audio.parse_settings(
        hf_audio.DataConfig, hf_audio.FeatureConfig, hf_audio.MixingConfig, values=VALUES, doc=__doc__
    )
    folder = hf_audio.build_corpus_features(settings[0], Path(settings[0].features_dir), *settings[1:])
    if PartialState().is_main_process:
        hf_audio.write_dataset_card(folder)


if __name__ == "__main__":
    with hf_audio.clear_errors():
        main()
