"""A network trained on stereo by a recipe: its inputs, and its use without hf_audio."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from corpus_trees import solo_tree
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

from hf_audio import load_features, parse_recipe
from hf_audio.data.loading.feature_collator import FeatureCollator
from hf_audio.preparation import window_extractor

RECIPE = Path(__file__).parents[1] / "recipes" / "cnn_solo.py"
STRANGER = """
import json, sys
import numpy as np
from transformers import pipeline
classifier = pipeline("audio-classification", model=sys.argv[1], trust_remote_code=True)
sound = {"raw": np.load(sys.argv[2]), "sampling_rate": 44_100}
print(json.dumps({one["label"]: one["score"] for one in classifier(sound)}))
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """The folder of a run with two steps."""
    folder = tmp_path_factory.mktemp("solo")
    settings = {"window_s": 0.5, "hop_s": 0.5, "max_steps": 2, "per_device_train_batch_size": 4, "num_workers": 1}
    flags = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
    argv = [RECIPE.name, "--data_dir", str(solo_tree(folder / "corpus")), "--output_dir", str(folder / "run"), *flags]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [*argv, "--report_to", "none"])
        runpy.run_path(str(RECIPE), run_name="__main__")
    return folder / "run"


def test_five_seconds_of_stereo_are_images_of_431_frames_and_64_bins():
    recipe = parse_recipe(runpy.run_path(str(RECIPE))["VALUES"], argv=[])
    source = window_extractor(recipe.features)
    frames = source.window_frames(recipe.features.window_s)
    extractor = source.to_feature_extractor(frames, 0.0, 1.0)
    stereo = np.random.default_rng(0).standard_normal((2, 5 * 44_100)).astype(np.float32)
    assert extractor(stereo, sampling_rate=44_100, return_tensors="pt")["input_values"].shape == (1, 2, 431, 64)


def test_it_reads_both_stored_channels(trained):
    features = load_features(trained / "features")
    rows = [features.splits["train"][number] for number in range(3)]
    windows = FeatureCollator(features.extractor, features.labels)(rows)["input_values"]
    assert windows.shape[:2] == (3, 2) and not torch.equal(windows[:, 0], windows[:, 1])
    model = AutoModelForAudioClassification.from_pretrained(trained).eval()
    assert model.config.num_channels == 2 and model(windows).logits.shape == (3, 2)
    assert type(AutoFeatureExtractor.from_pretrained(trained)) is type(features.extractor)


def test_the_stock_pipeline_takes_mono_in_a_process_without_hf_audio(trained, tmp_path, forks_without_hf_audio):
    mono = (0.1 * np.random.default_rng(1).standard_normal(22_050)).astype(np.float32)
    np.save(tmp_path / "sound.npy", mono)
    done = forks_without_hf_audio.run(STRANGER, trained, tmp_path / "sound.npy", cwd=tmp_path)
    assert done.returncode == 0, done.errors[-2000:]
    model, extractor = (
        kind.from_pretrained(trained) for kind in (AutoModelForAudioClassification, AutoFeatureExtractor)
    )
    both = extractor(np.stack([mono, mono]), sampling_rate=44_100, return_tensors="pt")
    with torch.no_grad():
        wanted = model.eval()(**both).logits.softmax(dim=1)[0].tolist()
    names = model.config.id2label
    assert json.loads(done.output.splitlines()[-1]) == pytest.approx(
        {names[number]: score for number, score in enumerate(wanted)}, abs=1e-5
    )
