"""The window that is chosen when none is given."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from hf_audio.data.building.plan import check_window
from hf_audio.data.index.table import Clip, index_of
from hf_audio.preparation.window_lengths import default_window_s, longest_clip_s

RATE = 1000


@pytest.mark.parametrize(
    ("lengths_s", "window_s"),
    [
        ([0.93], 0.93),  # rounded to tenths, it would be cut off, or longer than every clip and refused
        ([1.27], 1.27),
        ([3.0], 3.0),
        ([0.05], 0.05),
        ([0.4] * 9 + [0.7], 0.7),  # one in ten is longer
        ([0.4] * 199 + [3.0], 0.4),  # one in 200 would make the others mostly padding
        ([0.31] * 100 + [0.42] * 3, 0.42),
        ([0.31] * 100 + [0.42] * 3 + [2.0], 0.5),
        ([9.0], 5.0),
    ],
)
def test_nearly_all_short_clips_are_one_window(tmp_path, lengths_s, window_s):
    clips = []
    for number, seconds in enumerate(lengths_s):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, np.zeros(round(seconds * RATE)), RATE)
        clips.append(Clip(str(path), ("a",), f"{number}", f"{number}", split="train"))
    assert default_window_s(index_of(clips)) == window_s
    check_window(window_s, np.array(lengths_s))


def test_the_longest_clip_is_rounded_up_to_hundredths_only_if_it_is_longer(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(1100), RATE)  # 100 times 1.1 is more than 110 in binary
    soundfile.write(tmp_path / "b.wav", np.zeros(1101), RATE)
    clips = [Clip(str(tmp_path / f"{name}.wav"), ("a",), name, name, split="train") for name in "ab"]
    assert longest_clip_s(index_of(clips[:1])) == 1.1 and longest_clip_s(index_of(clips)) == 1.11
