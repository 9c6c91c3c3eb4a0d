"""handler.py of a published model, by which Inference Endpoints run it, and the packages that it needs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from hf_audio.files import read_json, write_atomically, write_json
from hf_audio.windows import SampleWindows

HANDLER, REQUIREMENTS = "handler.py", "requirements.txt"
FOLDER = Path(__file__).parent / "handlers"
FILES = {"transformers": FOLDER / "network.py", "sklearn": FOLDER / "classical.py"}  # by library
# A line of requirements.txt: whoever deploys a repository installs what it names, so it may name nothing else
REQUIREMENT = re.compile(r"(torch|soundfile|soxr|(transformers|timm|librosa|skops)>=[\d.]+|scikit-learn==[\w.]+)")


def write_handler(folder: Path, library: str, rule: SampleWindows, packages: Sequence[str]) -> None:
    """Writes handler.py and requirements.txt beside a model, and into its config.json how it cuts a sound.

    Args:
        folder: with config.json.
        library: "transformers" or "sklearn".
        rule: how a sound at the model's rate is cut.
        packages: as `pip install` takes them.
    """
    config = folder / "config.json"
    if not config.is_file():
        return
    content = read_json(config)
    said = {**content, "sample_windows": rule._asdict()}
    if said != content:
        write_json(config, said)
    write_atomically(folder / HANDLER, FILES[library].read_bytes())
    write_atomically(folder / REQUIREMENTS, "".join(f"{one}\n" for one in packages))


def handlers() -> set[bytes]:
    """What a handler.py of ours can be."""
    return {path.read_bytes() for path in FILES.values()}


def is_requirements(content: bytes) -> bool:
    """Whether a requirements.txt names nothing but packages that our cards name."""
    return all(REQUIREMENT.fullmatch(line) for line in content.decode("utf-8", "replace").splitlines())
