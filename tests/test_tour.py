"""docs/tour.ipynb: its stored outputs are those of its code, and it runs from start to end."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sys
from pathlib import Path
from types import ModuleType

import nbformat
import pytest

from hf_audio.errors import InputError

ROOT = Path(__file__).parents[1]
MAX_BYTES = 1_000_000
A_MACHINE_PATH = re.compile(r"(?<![\w.:/])/(?:home|root|tmp|usr|opt|work|mnt|var|Users)/|[A-Z]:\\\\Users|site-packages")
BINARY = re.compile(r'base64,[^"\\\\]+|"image/png": "[^"]+')
SMALL = {"NUM_CLIPS": "66", "NUM_EPOCHS": "1", "NUM_PROCESSES": "1", "HUB_REPO": "'alice/tour'"}


@pytest.fixture(scope="module")
def run_tour() -> ModuleType:
    """scripts/run_tour.py, which `make tour` runs."""
    spec = importlib.util.spec_from_file_location("run_tour", ROOT / "scripts" / "run_tour.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def shown_by(notebook) -> dict[str, str]:
    """The outputs of each cell as JSON."""
    return {cell.id: json.dumps(cell.outputs) for cell in notebook.cells if cell.cell_type == "code"}


def test_stored_outputs_are_those_of_the_stored_code(run_tour):
    assert run_tour.TOUR.stat().st_size < MAX_BYTES
    notebook = nbformat.read(run_tour.TOUR, as_version=4)
    nbformat.validate(notebook)
    cells = run_tour.code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert notebook.metadata["executed"] == run_tour.digest(notebook), "the code has changed since: make tour"
    shown = shown_by(notebook)
    assert not [name for name, text in shown.items() if '"output_type": "error"' in text]
    found = {name: A_MACHINE_PATH.findall(BINARY.sub("", text)) for name, text in shown.items()}
    assert {name: paths for name, paths in found.items() if paths} == {}
    assert all("<audio controls" in shown[name] for name in ("listen", "hear", "tag"))
    assert all("image/png" in shown[name] for name in ("windows", "confusion", "explain"))


def test_it_runs_from_start_to_end_and_publishes_over_http(run_tour, hub, hub_env):
    """With fewer recordings; the model comes back from the Hub, in Python and on the command line."""
    notebook = nbformat.reads(run_tour.executed(SMALL, hub_env), as_version=4)
    shown = shown_by(notebook)
    assert len(shown) == len(run_tour.code_cells(notebook)) and all(shown[name] != "[]" for name in ("train", "tag"))
    assert "class-prior baseline" in shown["evaluate"] and "% intervals by group" in shown["intervals"]
    assert "Tags(" in shown["tag"] and "0.00 - 3.00 s" in shown["command-line"]
    assert "scores, test" not in shown["evaluate"], "progress bars are left out"
    repo = hub.storage.repos["models", "alice/tour"]
    assert repo.private


def test_failing_cells_and_unknown_names_are_reported(run_tour, monkeypatch, tmp_path):
    with pytest.raises(InputError, match="did you mean 'NUM_CLIPS'"):
        run_tour.executed({"NUM_CLIP": "3"})
    monkeypatch.setattr(sys, "argv", ["run_tour.py", "--set", "NUM_CLIPS=3"])
    with pytest.raises(InputError, match="give --output"):
        run_tour.main()
    assert os.listdir(tmp_path) == []


def test_finished_progress_bars_are_removed_from_outputs(run_tour):
    text = "\rscores:  50%|█ | 1/2\rscores: 100%|██| 2/2 \nkept\nworking\rdone\n"
    assert run_tour._final_text(text) == "kept\ndone\n"
