"""Reading ahead: same items, not too many of them, errors where they belong, and an end when nobody takes any more."""

from __future__ import annotations

import threading
import time

import pytest

from hf_audio.data.recordings.ahead import read_ahead


def until(holds) -> bool:
    """Whether something comes true within five seconds."""
    ends = time.monotonic() + 5
    while not holds() and time.monotonic() < ends:
        time.sleep(0.001)
    return holds()


def test_the_next_ones_are_made_meanwhile_as_many_as_fit():
    made, makers = [], set()

    def items():
        for number in range(40):
            made.append(number)
            makers.add(threading.current_thread())
            yield number

    ahead = read_ahead(items(), lambda number: 10, 50)
    assert next(ahead) == 0
    assert until(lambda: made == list(range(7))), "five wait, and one more is made"
    time.sleep(0.05)
    assert len(made) == 7 and threading.current_thread() not in makers
    assert list(ahead) == list(range(1, 40)) and made == list(range(40))


def test_an_error_comes_behind_what_was_made_before_it():
    def items():
        yield "a"
        raise OSError("the disk is full")

    ahead = read_ahead(items(), len, 100)
    assert next(ahead) == "a"
    with pytest.raises(OSError, match="the disk is full"):
        next(ahead)


def test_who_stops_early_stops_the_maker():
    made, threads = [], threading.active_count()

    def items():
        for number in range(1000):
            made.append(number)
            yield number

    for number in read_ahead(items(), lambda number: 1, 2):
        if number == 3:
            break
    assert 4 <= len(made) <= 7, "two wait, and one is in the making"
    assert threading.active_count() == threads
