"""Run docs/tour.ipynb from start to end in a temporary folder, and store the outputs of its cells.

    python scripts/run_tour.py                                       in place: make tour; under 5 minutes on 2 cores
    python scripts/run_tour.py --output tour.ipynb --set NUM_CLIPS=132 NUM_EPOCHS=1

Progress bars are omitted. If a cell fails, the run ends and nothing is written.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from hf_audio.errors import InputError, clear_errors, unknown_name
from hf_audio.files import write_atomically
from hf_audio.terminal import show

TOUR = Path(__file__).resolve().parents[1] / "docs" / "tour.ipynb"
MAX_CELL_S = 1200
# tqdm's warning about missing ipywidgets, which would contain a path of this machine.
QUIET = "ignore:IProgress not found"
PROGRESS = re.compile(r"\d%\||\d+ examples \[|\d+it \[")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", help="path for the notebook with outputs; default: in place")
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help="other values for its first cell")
    given = parser.parse_args()
    if given.set and not given.output:
        raise InputError(
            "--set changes the first cell of the notebook: give --output, so that the notebook in docs/ stays unchanged"
        )
    values = dict(one.split("=", 1) for one in given.set if "=" in one)
    if len(values) != len(given.set):
        raise InputError(f"Found --set {' '.join(given.set)}, expected NAME=VALUE each, with different names")
    path = Path(given.output or TOUR)
    write_atomically(path, executed(values))
    show(f"{path}, {path.stat().st_size / 1e3:.0f} kB")


def executed(values: Mapping[str, str], env: Mapping[str, str] | None = None) -> str:
    """The notebook with the outputs of its cells, as JSON.

    Args:
        values: Python expressions for names in the first cell.
        env: environment of the kernel. Default: that of this process.

    Raises:
        InputError: the first cell has no such name, or a cell fails.
    """
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    notebook = nbformat.read(TOUR, as_version=4)
    _set(notebook, values)
    with tempfile.TemporaryDirectory(prefix="tour_") as folder:
        place = {"metadata": {"path": folder}}
        client = NotebookClient(
            notebook,
            timeout=MAX_CELL_S,
            startup_timeout=300,
            kernel_name="python3",
            resources=place,
            record_timing=False,
            coalesce_streams=True,
        )
        try:
            client.execute(env=_environment(env or os.environ, folder))
        except CellExecutionError as error:
            raise InputError(f"A cell of the tour fails: {error}") from error
    for cell in code_cells(notebook):
        for output in cell.outputs:
            if output.output_type == "stream":
                output.text = _final_text(output.text)
        cell.outputs = [one for one in cell.outputs if one.get("text", "-").strip()]
    notebook.metadata["executed"] = digest(notebook)
    return nbformat.writes(notebook) + "\n"


def code_cells(notebook: Any) -> list[Any]:
    """The code cells in order."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def digest(notebook: Any) -> str:
    """A digest of the executed code, which shows whether outputs belong to the current code."""
    return sha256("\0".join(cell.source for cell in code_cells(notebook)).encode()).hexdigest()


def _set(notebook: Any, values: Mapping[str, str]) -> None:
    first = code_cells(notebook)[0]
    lines = {line.split(" = ")[0]: line for line in first.source.splitlines()}
    for name, value in values.items():
        if name not in lines:
            raise unknown_name("name in the first cell", name, lines)
        lines[name] = f"{name} = {value}"
    first.source = "\n".join(lines.values())


def _environment(env: Mapping[str, str], folder: str) -> dict[str, str]:
    """Environment of the kernel: this Python's programs come first, and nothing is written to the user's folders."""
    path = os.pathsep.join((str(Path(sys.executable).parent), env.get("PATH", "")))
    own = {"JUPYTER_RUNTIME_DIR": f"{folder}/.jupyter", "IPYTHONDIR": f"{folder}/.ipython"}
    return {**env, **own, "PATH": path, "PYTHONWARNINGS": QUIET}


def _final_text(text: str) -> str:
    """The text as a terminal shows it at the end, without progress bars."""
    lines = [line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n")]
    return "\n".join(line for line in lines if not PROGRESS.search(line)).strip("\n") + "\n"


if __name__ == "__main__":
    with clear_errors():
        main()
