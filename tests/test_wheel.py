"""The wheel has all data files of the package, and its command starts."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_a_wheel_is_whole(tmp_path):
    source, target = tmp_path / "source", tmp_path / "installed"
    shutil.copytree(ROOT / "hf_audio", source / "hf_audio", ignore=shutil.ignore_patterns("__pycache__", ".*"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, tmp_path], cwd=source, check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(target)
    own = {path.relative_to(ROOT) for path in (ROOT / "hf_audio").rglob("*") if path.is_file()}
    wanted = {path for path in own if "__pycache__" not in path.parts and not path.name.startswith(".")}
    assert wanted == {path.relative_to(target) for path in (target / "hf_audio").rglob("*") if path.is_file()}
    assert {path.suffix for path in wanted} >= {".py", ".md", ".csv", ".html", ".js", ".typed"}

    (entry,) = target.glob("*.dist-info/entry_points.txt")
    assert "hf-audio = hf_audio.commands.main:main" in entry.read_text()
    command = "from hf_audio.commands.main import main; main()"
    environment = os.environ | {"PYTHONPATH": str(target), "PYTHONSAFEPATH": "1"}
    said = subprocess.run(
        [sys.executable, "-c", command, "--help"], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert said.returncode == 0 and "  tag " in said.stdout, said.stderr
