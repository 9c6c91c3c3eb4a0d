"""handler.py of a published model, which Inference Endpoints run, and the packages that it needs."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from hf_audio.files import read_json, write_atomically, write_json
from hf_audio.windows import SampleWindows

HANDLER, REQUIREMENTS = "handler.py", "requirements.txt"
FOLDER = Path(__file__).parent / "handlers"
REQUEST, MODELS = "request.py", {"transformers": "network.py", "sklearn": "classical.py"}  # by library
# A line of requirements.txt. Anyone who deploys a repository installs what the file lists, so it may list nothing else
REQUIREMENT = re.compile(r"(torch|soundfile|soxr|(transformers|timm|librosa|skops)>=[\d.]+|scikit-learn==[\w.]+)")


def write_handler(folder: Path, library: str, rule: SampleWindows, packages: Sequence[str]) -> None:
    """Writes handler.py and requirements.txt into a model's folder, and the window rule into its config.json.

    Args:
        folder: contains config.json; without one nothing is written.
        library: "transformers" or "sklearn".
        rule: how a sound at the model's sample rate is cut into windows.
        packages: requirements as `pip install` takes them.
    """
    config = folder / "config.json"
    if not config.is_file():
        return
    content = read_json(config)
    completed = {**content, "sample_windows": rule._asdict()}
    if completed != content:
        write_json(config, completed)
    write_atomically(folder / HANDLER, handler_of(library))
    write_atomically(folder / REQUIREMENTS, "".join(f"{one}\n" for one in packages))


@cache
def handler_of(library: str) -> bytes:
    """handler.py for a library's models, as one file: an endpoint cannot import other files beside it."""
    title, imports, model = _parts((FOLDER / MODELS[library]).read_text(encoding="utf-8"))
    _, more, request = _parts((FOLDER / REQUEST).read_text(encoding="utf-8"))
    lines = sorted({*imports, *more}, key=lambda line: (line.startswith("from "), line))
    of_python = [line for line in lines if line.split()[1] in sys.stdlib_module_names]
    others = [line for line in lines if line not in of_python]
    future = "from __future__ import annotations"
    parts = [title, future, "\n".join(of_python), "\n".join(others), f"{request}\n\n\n{model}"]
    return ("\n\n".join(parts) + "\n").encode()


def _parts(source: str) -> tuple[str, list[str], str]:
    """A module's docstring, its imports (one line each, no relative ones), and the code after them."""
    title, *statements = ast.parse(source).body
    imports = [one for one in statements if isinstance(one, ast.Import | ast.ImportFrom)]
    lines = source.splitlines()
    others = [one for one in imports if not getattr(one, "level", 0) and getattr(one, "module", "") != "__future__"]
    rest = "\n".join(lines[imports[-1].end_lineno :])
    return "\n".join(lines[: title.end_lineno]), [ast.unparse(one) for one in others], rest.strip("\n")


def handlers() -> set[bytes]:
    """All contents that a handler.py written by hf_audio can have."""
    return {handler_of(library) for library in MODELS}


def is_requirements(content: bytes) -> bool:
    """Whether a requirements.txt lists only packages that our cards list."""
    return all(REQUIREMENT.fullmatch(line) for line in content.decode("utf-8", "replace").splitlines())
