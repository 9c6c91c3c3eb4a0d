"""scripts/benchmark_judging.py prints speeds of intervals and comparisons, and the coverage of intervals."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "benchmark_judging.py"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--num_clips 300 --num_classes 3 --num_groups 30 --num_draws 200 --plain_draws 2", "f1_macro: time per draw"),
        ("--coverage 1", "over groups"),
    ],
)
def test_ratios_and_coverage_are_printed(flags, said, monkeypatch, capsys):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.syspath_prepend(SCRIPT.parent)
    monkeypatch.setattr(sys, "argv", [SCRIPT.name, *flags.split()])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    printed = capsys.readouterr().out
    assert said in printed
    numbers = re.findall(r"ratio .* (\d+\.\d+)", printed) or re.findall(r"\d\.\d{3}", printed)
    assert len(numbers) >= 5 and all(0 <= float(one) < 1e6 for one in numbers)
