"""Measure the cost of 8-bit storage: a trained model's scores on stored features and on exact float32 features.

    python scripts/compare_storage.py runs/ast_irmas_demo corpora/general_midi

The first argument is a run whose features were built from the recordings in the second. Nothing is trained.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from hf_audio import KaldiFbank, clear_errors, load_features
from hf_audio.data.index.columns import of_split
from hf_audio.data.loading.feature_collator import FeatureCollator, clip_key
from hf_audio.data.loading.features_dataset import FeatureDataset
from hf_audio.data.recordings.audio import read_audio
from hf_audio.files import read_json
from hf_audio.metrics import METRIC_NAMES, average_per_clip, classification_metrics, main_metrics
from hf_audio.models.foreign_checkpoint import Checkpoint
from hf_audio.windows import window_starts

BATCH_SIZE = 64


def exact_windows(features: FeatureDataset, recordings: Path, split: str) -> tuple[torch.Tensor, list[int]]:
    """Recomputed, normalized float32 windows `[windows, frames, bins]` of a split, and the key of each clip."""
    extractor, fbank = features.extractor, KaldiFbank(num_mel_bins=features.extractor.num_mel_bins)
    hop_frames = round(features.manifest["hop_s"] * 100)
    windows, keys = [], []
    for row in of_split(features.clips(), split).to_pylist():
        file = recordings / row["clip_id"].partition("#")[0]
        samples = read_audio(file, extractor.sampling_rate, row["start_s"], row["end_s"])
        frames = fbank([torch.from_numpy(samples)])[0]
        for start in window_starts(len(frames), extractor.max_length, hop_frames):
            window = torch.zeros(extractor.max_length, extractor.num_mel_bins)
            cut = frames[start : start + extractor.max_length]
            window[: len(cut)] = cut
            windows.append((window - extractor.mean) / (2 * extractor.std))
            keys.append(clip_key(row["clip_id"]))
    return torch.stack(windows), keys


@torch.no_grad()
def score(model, windows: torch.Tensor, targets: np.ndarray, keys: list[int], features, threshold: float) -> dict:
    logits = torch.cat([model(input_values=batch).logits for batch in windows.split(BATCH_SIZE)]).numpy()
    clips = average_per_clip(logits, targets, np.array(keys))
    return classification_metrics(
        features.labels.probabilities(clips.logits), clips.targets, features.labels, threshold
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="Run folder with a trained model and its features.")
    parser.add_argument("recordings", type=Path, help="Folder of the corpus that the features were built from.")
    given = parser.parse_args()
    features = load_features(given.run / "features")
    report = read_json(given.run / "report.json")
    split = report["evaluated_split"]
    threshold = report["results"]["model"][split].get("threshold", 0.5)
    checkpoint = Checkpoint(str(given.run))
    model = checkpoint.load(checkpoint.config)[0].eval()

    collate = FeatureCollator(features.extractor, features.labels)
    stored = collate(list(features.splits[split]))
    targets, stored_keys = stored["labels"].numpy(), stored["clip_keys"].tolist()
    windows, keys = exact_windows(features, given.recordings, split)
    assert keys == stored_keys, "the recordings are not those that the features were built from"
    rows = {
        "8-bit": score(model, stored["input_values"], targets, keys, features, threshold),
        "float32": score(model, windows, targets, keys, features, threshold),
    }
    print(f"maximum difference of an input: {(windows - stored['input_values']).abs().max():.4f}")
    for name in main_metrics(features.labels.problem_type):
        exact, packed = (100 * rows[kind][name] for kind in ("float32", "8-bit"))
        print(f"{METRIC_NAMES[name]:<10} float32 {exact:6.2f}   8-bit {packed:6.2f}   ({packed - exact:+.2f} points)")


if __name__ == "__main__":
    with clear_errors():
        main()
