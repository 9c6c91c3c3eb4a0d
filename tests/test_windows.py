"""The rule by which clips are cut into windows."""

from __future__ import annotations

import pytest

from hf_audio.windows import window_starts


@pytest.mark.parametrize(
    ("num_frames", "window", "hop", "starts"),
    [
        (298, 298, 298, [0]),
        (1, 298, 298, [0]),  # shorter than a window: one short window
        (299, 298, 298, [0]),  # one frame more gives no second window
        (446, 298, 298, [0]),  # 148 left of a hop of 298: less than half
        (447, 298, 298, [0, 149]),  # half a hop left: one more window at the end
        (596, 298, 298, [0, 298]),
        (100, 40, 20, [0, 20, 40, 60]),
        (109, 40, 20, [0, 20, 40, 60]),
        (110, 40, 20, [0, 20, 40, 60, 70]),
        (100, 10, 45, [0, 45, 90]),  # a hop longer than the window leaves gaps
    ],
)
def test_window_starts(num_frames, window, hop, starts):
    assert window_starts(num_frames, window, hop) == starts


@pytest.mark.parametrize("hop", [7, 20, 40])
def test_windows_fit_and_leave_less_than_half_a_hop(hop):
    for num_frames in range(1, 300):
        starts = window_starts(num_frames, 40, hop)
        assert starts == sorted(set(starts)) and starts[0] == 0
        if num_frames > 40:
            assert starts[-1] + 40 <= num_frames
            assert 2 * (num_frames - (starts[-1] + 40)) < hop
        else:
            assert starts == [0]


@pytest.mark.parametrize("frames", [(0, 10, 5), (10, 0, 5), (10, 10, 0)])
def test_numbers_of_frames_must_be_positive(frames):
    with pytest.raises(ValueError, match="must be positive"):
        window_starts(*frames)
