"""A feature dataset of a few seconds of tones, for tests of the steps after building."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from hf_audio.data.building.build import build_features
from hf_audio.data.index.labels import LabelSpace
from hf_audio.data.index.table import Clip, CorpusCard, index_of
from hf_audio.kinds import WindowExtractor
from hf_audio.kinds._kaldi_fbank import KaldiFbank

PITCH_HZ = {"bell": 3000.0, "flute": 900.0, "tuba": 120.0}
SAMPLE_RATE = 16_000
FREE = CorpusCard("Tones", license="CC0 1.0", may_redistribute=True, citation="Nobody: Tones.", protocol="One split.")


def build_small_features(
    folder: Path, card: CorpusCard = FREE, broken_clips: int = 0, extractor: WindowExtractor | None = None
) -> Path:
    """Three classes, each with 4 training, 1 validation and 1 test clip of 1.5 s; windows of 1 s every 0.5 s."""
    random = np.random.default_rng(0)
    clips = []
    for name, pitch_hz in PITCH_HZ.items():
        for number, split in enumerate(["train"] * 4 + ["validation", "test"]):
            path = folder.parent / "wav" / name / f"{number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            time_s = np.arange(round(1.5 * SAMPLE_RATE)) / SAMPLE_RATE
            tone = 0.3 * np.sin(2 * np.pi * pitch_hz * (1 + 0.02 * number) * time_s)
            soundfile.write(path, tone + 0.01 * random.standard_normal(len(tone)), SAMPLE_RATE)
            clips.append(Clip(path, (name,), f"{name}-{number}", f"{name}/{number}", split=split))
    for number in range(broken_clips):
        path = folder.parent / "wav" / f"broken{number}.wav"
        path.write_bytes(b"no sound")
        clips.append(Clip(path, ("tuba",), f"broken{number}", f"broken{number}", split="train"))
    labels = LabelSpace.of_clips(index_of(clips))
    return build_features(
        index_of(clips), labels, folder, extractor or KaldiFbank(), window_s=1.0, hop_s=0.5, card=card
    )
