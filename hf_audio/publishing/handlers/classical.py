"""Runs this model on Hugging Face Inference Endpoints, with scikit-learn and transformers alone.

    EndpointHandler(path)({"inputs": the bytes of a recording, "parameters": {"top_k": 3}})
    → [{"label": "violin", "score": 0.87}, ...]

It hears all of a recording, as the model was evaluated: in windows, whose decision values are averaged. `inputs` may
also be base64 text, or {"array": samples, "sampling_rate": Hz}.
"""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import skops.io
import soundfile
import soxr
from transformers import AutoFeatureExtractor

MAX_SAMPLES = 120_000_000  # ten minutes of stereo at 48 kHz are 58 million

LOWEST_RATE, HIGHEST_RATE = 1_000, 1_000_000  # Hz; resampling a second of a lower one could fill the memory
EXPECTED = "A recording is at least one sample, finite, [samples] or [channels, samples], at 1,000 to 1,000,000 Hz"


class EndpointHandler:
    """Loads the model once.

    Args:
        path: of the repository's files.
    """

    def __init__(self, path: str = "") -> None:
        folder = Path(path)
        self.config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self.rule = self.config["sample_windows"]
        self.several = self.config.get("problem_type") == "multi_label_classification"
        # Of this repository, whose handler.py whoever deploys it runs: the types that its config names, and its code
        self.classifiers = skops.io.load(folder / "model.skops", trusted=self.config["trusted_types"])
        self.extractor = AutoFeatureExtractor.from_pretrained(path, trust_remote_code=True)
        self.network = Network(folder / "network", self.config) if self.config.get("network") else None

    def __call__(self, data: dict[str, Any]) -> list[dict[str, Any]]:
        """Labels with their scores, the highest first.

        Raises:
            ValueError: no recording, or parameters that there are not.
        """
        top_k, function = parameters_of(data, "sigmoid" if self.several else "softmax")
        samples, sample_rate = samples_of(data.get("inputs"))
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


class Network:
    """The network whose embedding stands behind the classical features.

    Args:
        folder: where it is.
        config: of the model.
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
        """What its classifier is given, `[windows, size]`, of windows that start at samples of another rate."""
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


def parameters_of(data: dict[str, Any], function: str) -> tuple[int | None, str]:
    """`top_k` and `function_to_apply` of a request."""
    found = {} if data.get("parameters") is None else data["parameters"]
    given = {name: value for name, value in found.items() if value is not None} if isinstance(found, dict) else {}
    others = set(given) - {"top_k", "function_to_apply"} or not isinstance(found, dict)
    top_k, function = given.get("top_k"), given.get("function_to_apply", function)
    is_count = top_k is None or (type(top_k) is int and top_k >= 1)
    if others or function not in ("sigmoid", "softmax", "none") or not is_count:
        raise ValueError(
            f"Parameters are top_k, from 1, and function_to_apply, sigmoid, softmax or none; found {found}"
        )
    return top_k, function


def samples_of(inputs: Any) -> tuple[np.ndarray, int]:
    """float32 `[samples, channels]` and their rate, of what a request holds."""
    if isinstance(inputs, dict) and "sampling_rate" in inputs and {"array", "raw"} & set(inputs):
        try:
            samples = np.asarray(inputs.get("array", inputs.get("raw")), dtype=np.float32)
            rate = int(inputs["sampling_rate"])
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"{EXPECTED} ({error})") from error
        samples = samples[:, None] if samples.ndim == 1 else samples.T
    else:
        samples, rate = decoded(base64.b64decode(inputs, validate=True) if isinstance(inputs, str) else inputs)
    is_sound = samples.ndim == 2 and samples.size and np.isfinite(samples).all()
    if not is_sound or not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise ValueError(EXPECTED)
    return samples, rate


def decoded(content: Any) -> tuple[np.ndarray, int]:
    """A file of sound, in memory."""
    if not isinstance(content, bytes | bytearray) or not content:
        raise ValueError('inputs must be the bytes of a recording, base64, or {"array": samples, "sampling_rate": Hz}')
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            if file.frames * file.channels > MAX_SAMPLES:
                raise ValueError(f"The recording has more than the {MAX_SAMPLES:,} samples that are taken: cut it")
            return file.read(dtype="float32", always_2d=True), file.samplerate
    except soundfile.LibsndfileError as error:
        raise ValueError(f"The recording cannot be read ({error.error_string}): send WAV, FLAC, MP3 or Ogg") from error


def resampled(sound: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """`[samples]` at the rate of the model."""
    return sound if rate == wanted else soxr.resample(sound, rate, wanted)


def padded(sound: np.ndarray, rule: dict[str, int]) -> tuple[np.ndarray, list[int]]:
    """A sound of whole frames, padded to be heard, and where its windows start, as the model was evaluated."""
    window, hop, shortest, step = (rule[name] for name in ("window", "hop", "shortest", "step"))
    sound = np.pad(sound, (0, max(0, shortest - len(sound))))
    sound = sound[: len(sound) - (len(sound) - shortest) % step]
    starts = list(range(0, max(len(sound) - window, 0) + 1, hop))
    if 2 * (len(sound) - starts[-1] - window) >= hop:
        starts.append(len(sound) - window)
    return sound, starts


def scores_of(logits: np.ndarray, function: str) -> np.ndarray:
    """Scores of the mean logits."""
    if not np.isfinite(logits).all():
        raise ValueError("The model's answers are not finite: look for samples far outside of [-1, 1]")
    if function == "sigmoid":
        return 1 / (1 + np.exp(-logits))
    if function == "softmax":
        scores = np.exp(logits - logits.max())
        return scores / scores.sum()
    return logits
