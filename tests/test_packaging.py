"""Packaging: the wheel has the whole package, and the workflow covers the Python versions that setup.cfg names."""

from __future__ import annotations

import configparser
import fnmatch
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
CONFIG = configparser.ConfigParser()
CONFIG.read(ROOT / "setup.cfg")


def package_files() -> list[Path]:
    return [path for path in (ROOT / "hf_audio").rglob("*") if path.is_file() and "__pycache__" not in path.parts]


def pythons() -> list[str]:
    return re.findall(r"Python :: (3\.\d+)", CONFIG["metadata"]["classifiers"])


def test_the_wheel_has_every_module():
    folders = {path.parent for path in package_files() if path.suffix == ".py"}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_the_wheel_has_every_other_file():
    patterns = [one.strip() for one in CONFIG["options.package_data"]["hf_audio"].split(",")]
    names = [path.relative_to(ROOT / "hf_audio").as_posix() for path in package_files() if path.suffix != ".py"]
    depths = [(pattern, pattern.count("/")) for pattern in patterns]
    missing = [
        name
        for name in names
        if not any(fnmatch.fnmatch(name, pattern) and name.count("/") == depth for pattern, depth in depths)
    ]
    assert missing == []
    assert [pattern for pattern in patterns if not fnmatch.filter(names, pattern)] == []


def test_the_sdist_has_every_other_file():
    lines = [line.split() for line in (ROOT / "MANIFEST.in").read_text().splitlines()]
    there = {"hf_audio", "LICENSE", "MANIFEST.in", "README.md", "pyproject.toml", "setup.cfg"}  # setuptools adds these
    there |= {name for command, *names in lines if command in ("graft", "include") for name in names}
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert {name.split("/")[0] for name in tracked.split("\0") if name} - there == set()


def test_the_workflow_runs_on_every_supported_python():
    jobs = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text())["jobs"]
    assert jobs["newest"]["strategy"]["matrix"]["python"] == pythons()
    (lowest,) = (step for step in jobs["lowest"]["steps"] if "setup-python" in step.get("uses", ""))
    assert lowest["with"]["python-version"] == pythons()[0]
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    called = {
        target
        for job in jobs.values()
        for step in job["steps"]
        for target in re.findall(r"make (\S+)", step.get("run", ""))
    }
    assert called and called <= targets


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_make_keeps_the_python_of_an_environment(tmp_path):
    """A second Python's files over an environment would mix two standard libraries."""
    python = tmp_path / "env" / "bin" / "python"

    def make(*words: str) -> subprocess.CompletedProcess:
        command = ["make", "--dry-run", f"VENV={tmp_path / 'env'}", str(tmp_path / "env" / "installed"), *words]
        # this test may run in `make test PYTHON=...`, whose values are passed on in MAKEFLAGS
        env = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
        return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)

    assert " -m venv " in make().stdout
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\necho Python 3.10.99\n")
    python.chmod(0o755)
    kept = make()
    assert kept.returncode == 0 and " -m venv " not in kept.stdout and " -m pip install " in kept.stdout
    other = make(f"PYTHON={sys.executable}")
    assert other.returncode != 0 and "was made with Python 3.10.99" in other.stderr


def test_pre_commit_hooks_cover_make_lint():
    lint = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    run = {"-".join(words).rstrip("-") for words in re.findall(r"/bin/(\w+)(?: (check|format)\b)?", lint)}
    repos = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert run and run <= {hook["id"] for repo in repos for hook in repo["hooks"]}
    for tool in ("ruff", "codespell"):
        required = re.search(rf"^\s*{tool}>=(\S+)$", CONFIG["options.extras_require"]["test"], re.MULTILINE)[1]
        (pinned,) = (repo["rev"] for repo in repos if tool in repo["repo"])
        assert tuple(map(int, pinned[1:].split("."))) >= tuple(map(int, required.split(".")))
