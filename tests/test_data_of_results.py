"""Runs the commands of docs/results.md that create ESC-10 and FSDD, on the layouts in which both are published."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import soundfile

from hf_audio.corpora import folder
from hf_audio.data.index.table import rows_of

PAGE = Path(__file__).parents[1] / "docs" / "results.md"
ESC10, FSDD = re.findall(r"```python\n(.*?)```", PAGE.read_text().split("## Data")[1].split("\n## ")[0], re.DOTALL)
TABLE = """filename,fold,target,category,esc10,src_file,take
1-100032-A-0.wav,1,0,dog,True,100032,A
3-100038-B-14.wav,3,14,chirping_birds,False,100038,B
5-117773-A-16.wav,5,10,rain,True,117773,A
"""


def write_silence(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(800, dtype=np.float32), 8000)


def test_esc10_is_created_from_esc50(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = Path("esc50/ESC-50-master")
    for name in re.findall(r"^\d.*wav", TABLE, re.MULTILINE):
        write_silence(root / "audio" / name)
    (root / "meta").mkdir()
    (root / "meta/esc50.csv").write_text(TABLE)
    exec(ESC10, {})
    clips = [(clip.labels, clip.group, clip.split) for clip in rows_of(folder.index(Path("esc10")))]
    assert clips == [(("dog",), "100032", "fold1"), (("rain",), "117773", "fold5")]


def test_fsdd_gets_a_table_beside_the_clone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("0_george_0", "7_theo_12"):
        write_silence(Path("fsdd/recordings") / f"{name}.wav")
    Path("fsdd/utils").mkdir()
    for name in ("README.md", "metadata.py", "utils/spectogramer.py"):
        (Path("fsdd") / name).write_text("not a recording\n")
    exec(FSDD, {})
    clips = [(clip.clip_id, clip.labels, clip.group) for clip in rows_of(folder.index(Path("fsdd")))]
    assert clips == [("recordings/0_george_0.wav", ("0",), "george"), ("recordings/7_theo_12.wav", ("7",), "theo")]
