"""Reads a request to an endpoint, and prepares its recording as the evaluation did."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import soundfile
import soxr

MAX_SAMPLES = 120_000_000  # ten minutes of stereo at 48 kHz are 58 million
MAX_RATE = 1_000_000  # Hz; no recorder has a higher rate, and resampling from one would take forever
INPUTS = 'the bytes of a recording, base64 text of them, or {"array": samples, "sampling_rate": Hz}'
SAMPLES = "A recording must have finite samples, [samples] or [channels, samples], and a rate of 1 to 1,000,000 Hz"


def request_of(data: Any, function: str) -> tuple[Any, int | None, str]:
    """Returns the `inputs`, `top_k` and `function_to_apply` (default: `function`) of a request.

    Raises:
        ValueError: it has other fields or parameters.
    """
    if not isinstance(data, dict) or "inputs" not in data or set(data) - {"inputs", "parameters"}:
        names = ", ".join(sorted(map(str, data))) if isinstance(data, dict) else type(data).__name__
        raise ValueError(
            f'A request must be {{"inputs": ..., "parameters": {{...}}}}, where parameters is optional; found {names}'
        )
    found: Any = {} if data.get("parameters") is None else data["parameters"]
    given = {name: value for name, value in found.items() if value is not None} if isinstance(found, dict) else {}
    others = set(given) - {"top_k", "function_to_apply"} or not isinstance(found, dict)
    top_k, function = given.get("top_k"), given.get("function_to_apply", function)
    is_count = top_k is None or (type(top_k) is int and top_k >= 1)
    if others or function not in ("sigmoid", "softmax", "none") or not is_count:
        raise ValueError(
            f"Valid parameters are top_k (at least 1) and function_to_apply (sigmoid, softmax or none); found {found}"
        )
    return data["inputs"], top_k, function


def samples_of(inputs: Any) -> tuple[np.ndarray, int]:
    """The recording of a request: float32 `[samples, channels]`, and its sample rate in Hz.

    Raises:
        ValueError: it is not a valid recording.
    """
    if isinstance(inputs, dict) and "sampling_rate" in inputs and {"array", "raw"} & set(inputs):
        try:
            samples = np.asarray(inputs.get("array", inputs.get("raw")), dtype=np.float32)
            rate = int(inputs["sampling_rate"])
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"{SAMPLES} ({error})") from error
        if samples.ndim == 2 and samples.shape[0] > samples.shape[1]:
            raise ValueError(f"{SAMPLES}; found an array with {samples.shape[0]:,} channels")
        samples = samples[:, None] if samples.ndim == 1 else samples.T
    else:
        samples, rate = decoded(unpacked(inputs) if isinstance(inputs, str) else inputs)
    if samples.ndim != 2 or not samples.size or not 1 <= rate <= MAX_RATE or not np.isfinite(samples).all():
        raise ValueError(SAMPLES)
    return samples, rate


def unpacked(text: str) -> bytes:
    """The bytes encoded by base64 text, in which line breaks are ignored."""
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError as error:
        raise ValueError(f"inputs is text but not valid base64 ({error}): send {INPUTS}") from error


def decoded(content: Any) -> tuple[np.ndarray, int]:
    """Decodes a sound file that is in memory: float32 `[samples, channels]`, and its sample rate in Hz."""
    if not isinstance(content, bytes | bytearray) or not content:
        found = "nothing" if content is None or isinstance(content, bytes | bytearray) else type(content).__name__
        raise ValueError(f"inputs must be {INPUTS}; found {found}")
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            if file.frames * file.channels > MAX_SAMPLES:
                raise ValueError(f"The recording has more than the maximum of {MAX_SAMPLES:,} samples: shorten it")
            return file.read(dtype="float32", always_2d=True), file.samplerate
    except soundfile.LibsndfileError as error:
        raise ValueError(f"The recording cannot be read ({error.error_string}): send WAV, FLAC, MP3 or Ogg") from error


def resampled(sound: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """`[samples]` or `[samples, 2]` → `[samples]` or `[2, samples]` at the model's sample rate, `wanted`."""
    if rate == wanted:
        return sound.T
    if sound.size * (wanted / rate) > MAX_SAMPLES:
        raise ValueError(
            f"Resampled to {wanted:,} Hz, the recording has more than the maximum of {MAX_SAMPLES:,} samples: "
            "shorten it"
        )
    return soxr.resample(sound, rate, wanted).T


def padded(sound: np.ndarray, rule: dict[str, int]) -> tuple[np.ndarray, list[int]]:
    """Cuts a sound `[..., samples]` to whole frames or pads it to the minimum length; returns it and the window starts.

    The rule is the same as in evaluation.
    """
    window, hop, shortest, step = (rule[name] for name in ("window", "hop", "shortest", "step"))
    padding = max(0, shortest - sound.shape[-1])
    sound = np.pad(sound, [(0, 0)] * (sound.ndim - 1) + [(0, padding)])
    sound = sound[..., : sound.shape[-1] - (sound.shape[-1] - shortest) % step]
    starts = list(range(0, max(sound.shape[-1] - window, 0) + 1, hop))
    if 2 * (sound.shape[-1] - starts[-1] - window) >= hop:
        starts.append(sound.shape[-1] - window)
    return sound, starts


def scores_of(logits: np.ndarray, function: str) -> np.ndarray:
    """Scores from the mean logits.

    Raises:
        ValueError: a logit is not finite.
    """
    if not np.isfinite(logits).all():
        raise ValueError("The model's logits are not finite: check the recording for samples far outside [-1, 1]")
    if function == "sigmoid":
        return 1 / (1 + np.exp(-logits))
    if function == "softmax":
        scores = np.exp(logits - logits.max())
        return scores / scores.sum()
    return logits
