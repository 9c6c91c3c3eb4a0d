"""Runs the code of cards unchanged in transformers 4.57. `make compatibility` does so for all models and releases."""

from __future__ import annotations

import pytest
from card_environments import is_made, python_of
from compatibility import faults, make_cards, run_cards

VERSION = "4.57.6"


@pytest.mark.skipif(
    not is_made(VERSION, small=True),
    reason=f"needs an environment of transformers {VERSION}: python tests/card_environments.py --small {VERSION}",
)
def test_cards_run_as_they_are_printed(hub, tmp_path):
    """A stock model and one with its own code, loaded from the Hub and from the folder of a run."""
    expected = make_cards(tmp_path, hub, small=True)
    assert len(expected) == 2
    found = run_cards(python_of(VERSION, small=True), tmp_path, expected, hub)
    assert faults(expected, found) == []
