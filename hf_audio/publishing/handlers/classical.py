"""Runs this model on Hugging Face Inference Endpoints, with scikit-learn and transformers alone.

    EndpointHandler(path)({"inputs": the bytes of a recording, "parameters": {"top_k": 3}})
    → [{"label": "violin", "score": 0.87}, ...]

It processes the whole recording in the same way as the evaluation did: in windows, whose decision values are averaged.
`inputs` may also be base64 text, or {"array": samples, "sampling_rate": Hz}.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import skops.io
from transformers import AutoFeatureExtractor

from .request import padded, request_of, resampled, samples_of, scores_of


class EndpointHandler:
    """Loads the model once.

    Args:
        path: folder with the repository's files.
    """

    def __init__(self, path: str = "") -> None:
        folder = Path(path)
        self.config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self.rule = self.config["sample_windows"]
        self.several = self.config.get("problem_type") == "multi_label_classification"
        # Those who deploy this repository run its handler.py, so they also trust the types and code that it loads
        self.classifiers = skops.io.load(folder / "model.skops", trusted=self.config["trusted_types"])
        self.extractor = AutoFeatureExtractor.from_pretrained(path, trust_remote_code=True)
        self.network = Embedder(folder / "network", self.config) if self.config.get("network") else None

    def __call__(self, data: dict[str, Any]) -> list[dict[str, Any]]:
        """Labels with their scores, the highest first.

        Raises:
            ValueError: the request has no valid recording, or unknown parameters.
        """
        inputs, top_k, function = request_of(data, "sigmoid" if self.several else "softmax")
        samples, sample_rate = samples_of(inputs)
        mono, rate = samples.mean(axis=1), self.extractor.sampling_rate
        sound, starts = padded(resampled(mono, sample_rate, rate), self.rule)
        window = self.rule["window"]
        vectors = np.stack([self.extractor.extract(sound[start : start + window]).mean(axis=0) for start in starts])
        if self.network is not None:
            vectors = np.concatenate([vectors, self.network.embeddings(mono, sample_rate, starts, rate)], axis=1)
        names = list(self.classifiers)
        scores = scores_of(np.array([self._logit(name, vectors) for name in names]), function)
        order = np.argsort(-scores, kind="stable")[:top_k]
        return [{"label": names[index], "score": float(scores[index])} for index in order]

    def _logit(self, name: str, vectors: np.ndarray) -> float:
        scale, bias = self.config["logits"][name]
        return scale * self.classifiers[name].decision_function(vectors).mean() + bias


class Embedder:
    """The network whose embedding is appended to the classical features.

    Args:
        folder: contains the network.
        config: the model's config.json.
    """

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        from transformers import AutoModelForAudioClassification

        texts = [(folder / name).read_text(encoding="utf-8") for name in ("config.json", "preprocessor_config.json")]
        own_code = any("auto_map" in json.loads(text) for text in texts)
        self.model = AutoModelForAudioClassification.from_pretrained(folder, trust_remote_code=own_code).eval()
        self.extractor = AutoFeatureExtractor.from_pretrained(folder, trust_remote_code=own_code)
        self.rate = self.extractor.sampling_rate
        self.window = round(config["window_s"] * self.rate)

    def embeddings(self, mono: np.ndarray, sample_rate: int, starts: list[int], rate: int) -> np.ndarray:
        """The inputs of the network's classifier, `[windows, size]`; `starts` are in samples at another rate."""
        import torch

        sound = resampled(mono, sample_rate, self.rate)
        last = max(len(sound) - self.window, 0)
        places = [min(round(start * self.rate / rate), last) for start in starts]
        seen: list[Any] = []
        hook = self.model.classifier.register_forward_pre_hook(lambda layer, arguments: seen.append(arguments[0]))
        windows = [sound[place : place + self.window] for place in places]
        with torch.no_grad():
            self.model(**self.extractor(windows, sampling_rate=self.rate, return_tensors="pt"))
        hook.remove()
        return seen[-1].numpy()
