"""Install a wheel into a new environment, away from the sources, and run its command and public names.

    python scripts/check_wheel.py dist
    python scripts/check_wheel.py dist --model runs/cnn_folder --sound song.wav        # also tag a sound

All requirements of the wheel are installed from the package index, so missing ones are found.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from hf_audio.errors import InputError, clear_errors

ALL_NAMES = "import hf_audio; [getattr(hf_audio, name) for name in hf_audio.__all__]"


@clear_errors()
def main(argv: list[str] | None = None) -> None:
    """Raises InputError if there is not exactly one wheel, or a command fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder with one wheel")
    parser.add_argument("--model", help="run folder of the model to tag a sound with")
    parser.add_argument("--sound", type=Path, help="sound to tag")
    given = parser.parse_args(argv)
    if (given.model is None) != (given.sound is None):
        raise InputError("--model and --sound need each other: give both or none")
    wheels = sorted(given.folder.glob("hf_audio-*.whl"))
    if len(wheels) != 1:
        raise InputError(f"{given.folder} has {len(wheels)} wheels of hf_audio, expected one: run `make dist`")
    with tempfile.TemporaryDirectory() as scratch:
        commands = _installed(Path(scratch), wheels[0].resolve())
        _run([commands / "hf-audio", "--help"], scratch)
        _run([commands / "python", "-c", ALL_NAMES], scratch)
        if given.sound:
            model = Path(given.model).resolve() if Path(given.model).exists() else given.model
            _run([commands / "hf-audio", "tag", given.sound.resolve(), "--model", model], scratch)


def _installed(folder: Path, wheel: Path) -> Path:
    """Installs the wheel into a new environment; returns the folder of its commands."""
    venv.create(folder / "installed", with_pip=True)
    commands = folder / "installed" / ("Scripts" if sys.platform == "win32" else "bin")
    _run([commands / "python", "-m", "pip", "install", "--quiet", wheel], folder)
    return commands


def _run(command: list[object], folder: str | Path) -> None:
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=folder, check=False)
    if done.returncode:
        raise InputError(f"{Path(words[0]).name} {' '.join(words[1:])} ended with {done.returncode}: fix the wheel")


if __name__ == "__main__":
    main()
