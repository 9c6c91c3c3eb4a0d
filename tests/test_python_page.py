"""docs/python.md: its snippets run exactly as printed, one after the other."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import soundfile

PAGE = Path(__file__).parents[1] / "docs" / "python.md"
PITCHES_HZ = {"drum": 90.0, "horn": 440.0, "whistle": 2500.0}
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday")


def write_recordings(folder: Path) -> None:
    """Three classes, each with two recordings of one second on each of six days."""
    random = np.random.default_rng(0)
    for name, pitch_hz in PITCHES_HZ.items():
        for day in DAYS:
            (folder / name / day).mkdir(parents=True)
            for take in (1, 2):
                time_s = np.arange(16_000) / 16_000
                tone = np.sin(2 * np.pi * pitch_hz * random.uniform(0.9, 1.1) * time_s)
                soundfile.write(
                    folder / name / day / f"{take}.wav", 0.2 * tone + 0.01 * random.normal(size=16_000), 16_000
                )


def test_every_snippet_runs_as_printed(forks, hub, token, tmp_path):
    write_recordings(tmp_path / "recordings")
    snippets = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert len(snippets) >= 9
    process = forks.run("\n".join(snippets), env=os.environ | {"HF_TOKEN": token}, cwd=tmp_path)
    assert process.returncode == 0, process.errors[-3000:]
    assert "36 clips" in process.output and "class-prior baseline" in process.output
    for written in ("runs/cnn/README.md", "evaluations/cnn-lstm/index.html", "explanations/horn-1/index.html"):
        assert (tmp_path / written).is_file()
    assert ("models", "alice/instruments-cnn") in set(hub.storage.repos)
