"""Environments like those of a model card's readers: one per release of transformers, made by pip, with torch linked.

    python tests/card_environments.py 4.48.0 4.57.6        makes these two, or uses existing ones
    python tests/card_environments.py --small 4.57.6       with few packages, for the tests: half a minute

The packages in a card's `pip install` line are installed with the requested release of transformers, and pip chooses
the other versions. Only torch is not downloaded again, since it takes 5 GB: it is linked from the environment that runs
this script, and its dependencies are installed. Nothing else of that environment can be imported.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from importlib.metadata import requires
from pathlib import Path

FOLDER = Path(__file__).parents[1] / ".compatibility"
# "nvidia", "cuda" and "triton" exist only for CUDA builds of torch
LINKED = ("torch", "torchgen", "functorch", "nvidia", "cuda", "triton")
PACKAGES = ("soundfile", "soxr", "timm", "librosa", "scikit-learn", "skops", "datasets", "pillow", "peft")
SMALL = ("soundfile", "soxr")
# Versions of other packages from the time of a release
OF_ITS_TIME = {"4.48.0": ("peft==0.14.0",)}


def python_of(version: str, small: bool = False) -> Path:
    """The path of an environment's Python, whether it exists or not."""
    name = f"transformers-{version}-python{sys.version_info.major}.{sys.version_info.minor}"
    return FOLDER / f"{name}{'-small' if small else ''}" / "bin" / "python"


def is_made(version: str, small: bool = False) -> bool:
    """Whether the environment is complete."""
    return (python_of(version, small).parents[1] / "made").exists()


def environment(version: str, small: bool = False) -> Path:
    """The Python of an environment with this release of transformers, which is made if it does not exist.

    Raises:
        subprocess.CalledProcessError: pip cannot install it; the package index may be out of reach.
    """
    python = python_of(version, small)
    folder = python.parents[1]
    if is_made(version, small):
        return python
    shutil.rmtree(folder, ignore_errors=True)
    run(sys.executable, "-m", "venv", folder)
    _link_torch(folder)
    pinned = {one.partition("==")[0]: one for one in OF_ITS_TIME.get(version, ())}
    wanted = [pinned.get(name, name) for name in (SMALL if small else PACKAGES)]
    torch_itself = _installed_torch()
    run(
        python, "-m", "pip", "install", "--quiet", *_needs_of_torch(), torch_itself, f"transformers=={version}", *wanted
    )
    (folder / "made").touch()
    return python


def run(*command: object) -> None:
    subprocess.run([str(part) for part in command], check=True)


def _link_torch(folder: Path) -> None:
    here = Path(sysconfig.get_paths()["platlib"])
    there = next(folder.glob("lib/python*/site-packages"))
    for path in here.iterdir():
        name = path.name.partition("-")[0]
        is_record = path.suffix == ".dist-info" and (name in LINKED or name.startswith(("nvidia_", "cuda_")))
        if path.name in LINKED or is_record:  # the records tell pip that it is installed
            (there / path.name).symlink_to(path)


def _installed_torch() -> str:
    import torch

    return f"torch=={torch.__version__.partition('+')[0]}"


def _needs_of_torch() -> list[str]:
    """The dependencies of torch without its CUDA libraries."""
    return [one for one in requires("torch") or () if ";" not in one and "cuda" not in one and "nvidia" not in one]


if __name__ == "__main__":
    for wanted in (one for one in sys.argv[1:] if one != "--small"):
        sys.stdout.write(f"{environment(wanted, '--small' in sys.argv)}\n")
