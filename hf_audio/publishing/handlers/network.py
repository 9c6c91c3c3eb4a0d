"""Runs this model on Hugging Face Inference Endpoints, with transformers alone.

    EndpointHandler(path)({"inputs": the bytes of a recording, "parameters": {"top_k": 3}})
    → [{"label": "violin", "score": 0.87}, ...]

It processes the whole recording in the same way as the evaluation did: in windows, whose logits are averaged. `inputs`
may also be base64 text, or {"array": samples, "sampling_rate": Hz}.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

from .request import padded, request_of, resampled, samples_of, scores_of

BATCH_SIZE = 32


class EndpointHandler:
    """Loads the model once.

    Args:
        path: folder with the repository's files.
    """

    def __init__(self, path: str = "") -> None:
        folder = Path(path)
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        preprocessor = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
        # Those who deploy this repository run its handler.py; its other code is run only if the model needs it
        own_code = "auto_map" in config or "auto_map" in preprocessor
        self.rule = config["sample_windows"]
        self.several = config.get("problem_type") == "multi_label_classification"
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.extractor = AutoFeatureExtractor.from_pretrained(path, trust_remote_code=own_code)
        model = AutoModelForAudioClassification.from_pretrained(path, trust_remote_code=own_code)
        self.model = model.eval().to(self.device)

    def __call__(self, data: dict[str, Any]) -> list[dict[str, Any]]:
        """Labels with their scores, the highest first.

        Raises:
            ValueError: the request has no valid recording, or unknown parameters.
        """
        inputs, top_k, function = request_of(data, "sigmoid" if self.several else "softmax")
        samples, sample_rate = samples_of(inputs)
        channels = pair_of(samples) if getattr(self.extractor, "is_stereo", False) else samples.mean(axis=1)
        sound, starts = padded(resampled(channels, sample_rate, self.extractor.sampling_rate), self.rule)
        windows = [sound[..., start : start + self.rule["window"]] for start in starts]
        parts = [self._logits(windows[first : first + BATCH_SIZE]) for first in range(0, len(windows), BATCH_SIZE)]
        scores = scores_of(torch.cat(parts).double().mean(dim=0).numpy(), function)
        order = np.argsort(-scores, kind="stable")[:top_k]
        names = self.model.config.id2label
        return [{"label": names[int(index)], "score": float(scores[index])} for index in order]

    def _logits(self, windows: list[np.ndarray]) -> torch.Tensor:
        rate = self.extractor.sampling_rate
        inputs = self.extractor(windows, sampling_rate=rate, return_tensors="pt").to(self.device)
        with torch.inference_mode():
            return self.model(**inputs).logits.float().cpu()


def pair_of(samples: np.ndarray) -> np.ndarray:
    """The left and right channel, `[samples, 2]`; a mono sound is duplicated."""
    return samples[:, :2] if samples.shape[1] > 1 else np.repeat(samples, 2, axis=1)
