"""Build a feature dataset from recordings: windows, features and splits, in shards. Interrupted builds are resumed.

    hf-audio build --data_dir DIR --features_dir feature_sets/mine
    hf-audio build --corpus irmas --data_dir DIR --features_dir feature_sets/irmas --window_s 3
    hf-audio build --dataset USER/NAME --features_dir feature_sets/theirs     # recordings on the Hub
    hf-audio build --corpus irmas --data_dir DIR --features_dir feature_sets/mixed --window_s 3 \
        --mix_fraction 1.0 --mix_clips 2 4 --mix_same genre       # new clips of several instruments, for training
    hf-audio build --data_dir DIR --features_dir feature_sets/mix --several_labels --mix_fraction 1.0
    hf-audio build --data_dir DIR --features_dir feature_sets/sound --features waveform --window_s 0
    accelerate launch --config_file recipes/accelerate/two_cpu.yaml --num_processes 4 scripts/build_features.py ...
    accelerate launch --num_machines 2 --machine_rank 0 --main_process_ip HOST ...    in a folder that both share

Unusable files are listed with the reason in excluded.csv next to the dataset; with --strict they are an error. Publish
the result with hf-audio push features, or train on it with --dataset feature_sets/mine.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import hf_audio

SHOWN_FIRST = (
    *("corpus", "data_dir", "dataset", "label_map", "label_overrides", "split", "fold", "test_groups"),
    *("validation_fraction", "features", "window_s", "hop_s", "sample_rate", "num_mel_bins", "mix_fraction"),
    *("features_dir", "num_workers", "strict"),
)
VALUES = {"features_dir": "feature_sets/features"}


def main(argv: Sequence[str]) -> None:
    """Builds the features that the flags describe; under `accelerate launch` in every process."""
    from accelerate import PartialState

    kinds = (hf_audio.DataConfig, hf_audio.FeatureConfig, hf_audio.MixingConfig)
    settings = hf_audio.parse_settings(
        *kinds, values=VALUES, doc=__doc__ or "", argv=list(argv), program="hf-audio build", shown=SHOWN_FIRST
    )
    folder = hf_audio.build_corpus_features(settings[0], Path(settings[0].features_dir), *settings[1:])
    if PartialState().is_main_process:
        hf_audio.write_dataset_card(folder)
