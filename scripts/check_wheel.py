"""Install a wheel into a new environment, away from the sources, and use it there.

    python scripts/check_wheel.py dist

The wheel's requirements are installed from the package index, without extras, so that missing ones are noticed. Checked
there: the help of every command, all public names, and hf-audio tag on a tone with a small untrained model.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from hf_audio.commands.main import commands
from hf_audio.errors import InputError, clear_errors

ALL_NAMES = "import hf_audio; [getattr(hf_audio, name) for name in hf_audio.__all__]"
MODEL_AND_SOUND = """
import numpy
import soundfile
from hf_audio import LabelSpace, SpectrogramFeatureExtractor
from hf_audio.models.saving import save_extractor, save_model
from hf_audio.models.spectrogram_cnn import SpectrogramCNN, SpectrogramCNNConfig

labels = LabelSpace(("bell", "hum"), "single_label_classification")
save_model(SpectrogramCNN(SpectrogramCNNConfig(**labels.config_settings)), "model")
save_extractor(SpectrogramFeatureExtractor(num_mel_bins=32, max_length=98, mean=[-40.0], std=[15.0]), "model")
soundfile.write("tone.wav", numpy.sin(numpy.arange(22_050) * 0.1), 22_050)
"""


@clear_errors()
def main(argv: list[str] | None = None) -> None:
    """Raises InputError if there is not exactly one wheel, or a command fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder with one wheel")
    given = parser.parse_args(argv)
    wheels = sorted(given.folder.glob("hf_audio-*.whl"))
    if len(wheels) != 1:
        raise InputError(f"{given.folder} has {len(wheels)} wheels of hf_audio, expected one: run `make dist`")
    with tempfile.TemporaryDirectory() as scratch:
        use(_installed(Path(scratch), wheels[0].resolve()), Path(scratch))


def use(programs: Path, folder: Path) -> None:
    """Runs the commands and public names of the installed package, in `folder`.

    Args:
        programs: folder with the environment's hf-audio and python.

    Raises:
        InputError: something fails, or a tag does not name its classes.
    """
    command = programs / "hf-audio"
    for words in (["--help"], *([name, "--help"] for name in commands())):
        _run([command, *words], folder)
    _run([programs / "python", "-c", ALL_NAMES], folder)
    _run([programs / "python", "-c", MODEL_AND_SOUND], folder)
    tags = _run([command, "tag", "tone.wav", "--model", "model"], folder)
    if "bell" not in tags or "hum" not in tags:
        raise InputError(f"hf-audio tag printed {tags!r}, expected scores of bell and hum: fix the wheel")


def _installed(folder: Path, wheel: Path) -> Path:
    """Installs the wheel into a new environment; returns the folder of its commands."""
    venv.create(folder / "installed", with_pip=True)
    programs = folder / "installed" / ("Scripts" if sys.platform == "win32" else "bin")
    _run([programs / "python", "-m", "pip", "install", "--quiet", wheel], folder)
    return programs


def _run(command: list[object], folder: Path) -> str:
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=folder, check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise InputError(f"{Path(words[0]).name} {' '.join(words[1:])} ended with {done.returncode}: fix the wheel")
    return done.stdout


if __name__ == "__main__":
    main()
