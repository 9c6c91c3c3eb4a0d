"""Uses published models as a third party does: a program without hf_audio, for test_models.py.

    python tests/published_models.py FOLDER

FOLDER contains repos.json (Hub names), inputs.safetensors (`{repo}|{input}`) and sound.npy (one waveform, used at the
sampling rate of each model). Logits and the results of stock pipelines are written to the same folder.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.modules["hf_audio"] = None  # importing it, or any part of it, fails from here on

import numpy as np  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from packaging.version import Version  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from transformers import pipeline  # noqa: E402


def heard(repo: str, sound: np.ndarray, inputs: dict[str, torch.Tensor]) -> tuple[list[dict], torch.Tensor]:
    """Results of the pipeline, and logits of its model, which it loads with AutoModelForAudioClassification."""
    classifier = pipeline("audio-classification", model=repo, trust_remote_code=True)
    several = classifier.model.config.problem_type == "multi_label_classification"
    is_old = Version(transformers.__version__) < Version("5.21")  # applies softmax to multi-label models
    options = {"function_to_apply": "sigmoid"} if several and is_old else {}
    clip = {"raw": sound, "sampling_rate": classifier.feature_extractor.sampling_rate}
    with torch.no_grad():
        logits = classifier.model(**inputs).logits
    return classifier(clip, top_k=None, **options), logits.contiguous()


def main(folder: Path) -> None:
    inputs, sound = load_file(folder / "inputs.safetensors"), np.load(folder / "sound.npy")
    answers, logits = {}, {}
    for repo in json.loads((folder / "repos.json").read_text()):
        own = {name.split("|")[1]: tensor for name, tensor in inputs.items() if name.split("|")[0] == repo}
        answers[repo], logits[repo] = heard(repo, sound, own)
    save_file(logits, folder / "logits.safetensors")
    (folder / "answers.json").write_text(json.dumps(answers))


if __name__ == "__main__":
    try:
        import hf_audio  # noqa: F401
    except ImportError:
        main(Path(sys.argv[1]))
    else:
        sys.exit("hf_audio can be imported here, so nothing would be shown")
