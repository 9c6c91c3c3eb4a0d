"""Runs this model on Hugging Face Inference Endpoints, with transformers alone.

    EndpointHandler(path)({"inputs": the bytes of a recording, "parameters": {"top_k": 3}})
    → [{"label": "violin", "score": 0.87}, ...]

It hears all of a recording, as the model was evaluated: in windows, whose logits are averaged. `inputs` may also be
base64 text, or {"array": samples, "sampling_rate": Hz}.
"""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
import torch
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

MAX_SAMPLES = 120_000_000  # ten minutes of stereo at 48 kHz are 58 million
BATCH_SIZE = 32

LOWEST_RATE, HIGHEST_RATE = 1_000, 1_000_000  # Hz; resampling a second of a lower one could fill the memory
EXPECTED = "A recording is at least one sample, finite, [samples] or [channels, samples], at 1,000 to 1,000,000 Hz"


class EndpointHandler:
    """Loads the model once.

    Args:
        path: of the repository's files.
    """

    def __init__(self, path: str = "") -> None:
        folder = Path(path)
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        preprocessor = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
        # Whoever deploys a repository runs its handler.py; only where its model needs it is other code of it run too.
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
            ValueError: no recording, or parameters that there are not.
        """
        top_k, function = parameters_of(data, "sigmoid" if self.several else "softmax")
        samples, sample_rate = samples_of(data.get("inputs"))
        stereo = getattr(self.extractor, "is_stereo", False)
        sound = resampled(
            pair_of(samples) if stereo else samples.mean(axis=1), sample_rate, self.extractor.sampling_rate
        )
        windows = windows_of(sound, self.rule)
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


def pair_of(samples: np.ndarray) -> np.ndarray:
    """Left and right, `[samples, 2]`: of mono twice the same."""
    return samples[:, :2] if samples.shape[1] > 1 else np.repeat(samples, 2, axis=1)


def resampled(sound: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """`[samples]` or `[samples, 2]` → `[samples]` or `[2, samples]` at the rate of the model."""
    return (sound if rate == wanted else soxr.resample(sound, rate, wanted)).T


def windows_of(sound: np.ndarray, rule: dict[str, int]) -> list[np.ndarray]:
    """The windows that the model was evaluated on, of `[..., samples]`; a short sound is one, padded to be heard."""
    window, hop, shortest, step = (rule[name] for name in ("window", "hop", "shortest", "step"))
    padding = max(0, shortest - sound.shape[-1])
    sound = np.pad(sound, [(0, 0)] * (sound.ndim - 1) + [(0, padding)])
    sound = sound[..., : sound.shape[-1] - (sound.shape[-1] - shortest) % step]
    starts = list(range(0, max(sound.shape[-1] - window, 0) + 1, hop))
    if 2 * (sound.shape[-1] - starts[-1] - window) >= hop:
        starts.append(sound.shape[-1] - window)
    return [sound[..., start : start + window] for start in starts]


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
