"""Runs transformers' own common tests on our model classes and feature extractors.

    python scripts/peer_tests.py                         # or: make peer-tests
    python scripts/peer_tests.py -k "cnn and training"   # options of pytest

The tests are in the source distribution of the installed version of transformers. It is downloaded from the package
index, and its test modules are unpacked into a temporary folder. The subclasses that our classes need are in
tests/peer/, with a list of allowed failures and their reasons.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import transformers

from hf_audio import terminal
from hf_audio.errors import InputError

ROOT = Path(__file__).parents[1]
MAX_BYTES = 4 << 20  # of a test module
# Modules that the tests import but the distribution lacks. Our classes do not generate text, and our own tests cover
# their export.
ABSENT = {
    "exporters/test_export.py": "class ExportTesterMixin:\n    pass\n",
    "generation/test_utils.py": "class GenerationTesterMixin:\n    pass\n",
    "utils/test_configuration_utils.py": "config_common_kwargs = "
    '{"return_dict": False, "output_hidden_states": True, "num_labels": 7, "problem_type": "regression"}\n',
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--if_reachable", action="store_true", help="If the package index is unreachable, run no tests and say so."
    )
    options, of_pytest = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        try:
            unpack(fetch(Path(folder)), Path(folder) / "peers")
        except InputError as error:
            terminal.show(f"{'no tests were run' if options.if_reachable else 'error'}: {error}")
            return 0 if options.if_reachable else 2
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(folder) / "peers"), str(ROOT)])}
        ours = ["-q", "-o", "addopts=-rfE", "-W", "ignore"]  # its markers are unknown here
        command = [sys.executable, "-m", "pytest", *ours, str(ROOT / "tests" / "peer"), *of_pytest]
        return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


def fetch(folder: Path) -> Path:
    """The source distribution of the installed transformers.

    Raises:
        InputError: the index is unreachable, or lacks the source of this version.
    """
    wanted = f"transformers=={transformers.__version__}"
    options = ["--no-binary", ":all:", "--no-deps", "--quiet", "--dest", str(folder)]
    command = [sys.executable, "-m", "pip", "download", *options, wanted]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = sorted(folder.glob("transformers-*.tar.gz"))
    if done.returncode or not found:
        reason = (done.stderr.strip().splitlines() or ["no file was downloaded"])[-1]
        raise InputError(f"Cannot fetch the source distribution of {wanted} ({reason}): check the network")
    return found[0]


def unpack(archive: Path, folder: Path) -> None:
    """The test modules of a source distribution as the package `tests`, with stand-ins for what it lacks.

    Raises:
        InputError: there are none.
    """
    tests = folder / "tests"
    tests.mkdir(parents=True)
    (tests / "__init__.py").touch()
    count = 0
    with tarfile.open(archive) as members:
        for member in members:
            _, _, inner = member.name.partition("/")
            path = Path(inner)
            is_test = path.parent == Path("tests") and path.suffix == ".py" and path.name != "__init__.py"
            if is_test and member.isreg() and member.size <= MAX_BYTES:
                (tests / path.name).write_bytes(members.extractfile(member).read())
                count += 1
    if not count:
        raise InputError(f"{archive.name} has no tests/: install a version of transformers that has them")
    for name, text in ABSENT.items():
        (tests / name).parent.mkdir(exist_ok=True)
        (tests / name).parent.joinpath("__init__.py").touch()
        (tests / name).write_text(text)


if __name__ == "__main__":
    sys.exit(main())
