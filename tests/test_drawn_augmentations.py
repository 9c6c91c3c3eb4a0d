"""The page of augmentations: one file that contains every augmentation."""

from __future__ import annotations

import base64
import html
import io
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image
from waveforms import RATE, tone, white

from hf_audio.augment.examples import example_augmentations, example_patch_dropouts
from hf_audio.augment.waveform import example_waveform_augmentations
from hf_audio.errors import InputError
from hf_audio.figures.augmentations import made_up_sound

SCRIPT = Path(__file__).parents[1] / "scripts" / "draw_augmentations.py"


def draw(monkeypatch, *argv) -> None:
    monkeypatch.setattr(sys, "argv", [SCRIPT.name, *map(str, argv)])
    runpy.run_path(str(SCRIPT))["main"]()


def test_a_page_shows_and_plays_every_augmentation_of_a_recording(tmp_path, monkeypatch, capsys):
    recording, page = tmp_path / "a <b>tone.wav", tmp_path / "page.html"
    soundfile.write(recording, tone(440.0, 2 * RATE).numpy(), RATE)
    draw(monkeypatch, "--file", recording, "--start_s", "0.5", "--duration_s", "1", "--output", page)
    written = page.read_text()
    assert "<b>" not in written and "a &lt;b&gt;tone.wav" in written
    assert not re.search(r'(src|href)="(?!data:)', written) and str(tmp_path) not in written
    rows = {
        html.unescape(name): row
        for row in re.findall(r"<tr><td>.*?</tr>", written)
        for name in re.findall("<td>(.*?)</td>", row)[:1]
    }
    of_all = (example_waveform_augmentations(), example_augmentations(), example_patch_dropouts())
    assert set().union(*of_all) <= set(rows)
    pictures = {name: re.search('image/png;base64,([^"]+)', row)[1] for name, row in rows.items()}
    with Image.open(io.BytesIO(base64.b64decode(pictures["original"]))) as picture:
        assert picture.size == (98, 128)
    assert pictures["noise"] != pictures["original"] != pictures["mp3"]
    assert pictures["polarity"] == pictures["original"]
    with Image.open(io.BytesIO(base64.b64decode(pictures["half of the columns"]))) as picture:
        blank = [(np.asarray(picture)[:, 16 * column : 16 * (column + 1)] == 255).all() for column in range(6)]
    assert sum(blank) == 3 and "--patch_dropout_time 0.5" in rows["half of the columns"]
    for name in ("original", "speed", "effect reverse"):
        flac = base64.b64decode(re.search('audio/flac;base64,([^"]+)', rows[name])[1])
        sound, rate = soundfile.read(io.BytesIO(flac))
        assert len(sound) == rate == RATE
    assert "--wave_speed_probability 1.0" in rows["speed"] and capsys.readouterr().out.strip() == str(page)


def test_what_cannot_be_drawn_is_refused(tmp_path, monkeypatch):
    short = tmp_path / "short.wav"
    soundfile.write(short, tone(440.0, RATE // 2).numpy(), RATE)
    for argv, sentence in (
        (("--file", short), "has 0.50 s of sound after --start_s, expected 1 s or more"),
        (("--file", tmp_path / "none.wav"), r"cannot be used \(missing\)"),
        (("--duration_s", "0.1"), "--duration_s between 1 and 30: try --duration_s 3"),
        (("--seed", "-1"), "--seed must be 0 or more, found -1"),
    ):
        with pytest.raises(InputError, match=sentence):
            draw(monkeypatch, *argv, "--output", tmp_path / "page.html")
    assert len(made_up_sound(RATE)) == 3 * RATE


def test_libraries_are_timed_beside_our_augmentations_or_their_install_requested(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPT.parent)
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    script = runpy.run_path(str(SCRIPT.with_name("benchmark_waveform_libraries.py")))
    windows = white(2, 4000)
    ways = script["ours"](windows)
    assert set(ways) == set(script["PAIRS"]) <= set(example_waveform_augmentations())
    assert all(way()[0].shape == windows.shape for way in ways.values())
    monkeypatch.setitem(sys.modules, "audiomentations", None)
    monkeypatch.setitem(sys.modules, "torch_audiomentations", None)
    with pytest.raises(InputError, match="pip install torch-audiomentations audiomentations first"):
        script["theirs"](windows, "room.wav")
