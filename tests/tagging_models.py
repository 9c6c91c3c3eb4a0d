"""Small classifiers in folders, and sounds, for tests of tagging."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import torch
from model_cases import CASES, NAMES
from training_run import sound

from hf_audio.data.index.labels import MULTI_LABEL, LabelSpace
from hf_audio.models.saving import save_extractor, save_model
from hf_audio.models.usage import Usage, write_usage

WINDOW_S, HOP_S, THRESHOLD = 0.5, 0.25, 0.45
USAGE = Usage(THRESHOLD, WINDOW_S, HOP_S)


def save_classifier(folder: Path, case_name: str, problem_type: str = MULTI_LABEL, usage: Usage | None = USAGE) -> Path:
    """A published model of `model_cases` whose scores differ from window to window."""
    case = next(case for case in CASES if case.name == case_name)
    torch.manual_seed(3)
    model = case.make(LabelSpace(NAMES, problem_type)).eval()
    with torch.no_grad():
        for weights in model.parameters():
            weights += 0.15 * torch.randn_like(weights)
    folder.mkdir(parents=True, exist_ok=True)
    save_model(model, folder)
    save_extractor(case.extractor(), folder)
    if usage is not None:
        write_usage(folder, usage)
    return folder


def changing_sound(duration_s: float, seed: int = 7) -> np.ndarray:
    """A tone, noise and a low tone in turn, half a second each; float32 at 16 kHz."""
    random = np.random.default_rng(seed)
    pieces = [sound(number % 3, 0.5, random) for number in range(int(duration_s * 2) + 1)]
    return np.concatenate(pieces)[: round(duration_s * 16_000)].astype(np.float32)


def write_sound(path: Path, duration_s: float, seed: int = 7) -> Path:
    """Writes `changing_sound` as a WAV file of floats."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, changing_sound(duration_s, seed), 16_000, subtype="FLOAT")
    return path
