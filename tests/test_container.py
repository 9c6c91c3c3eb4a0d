"""The Dockerfile, as far as it can be tested without Docker: copied files, installation, command, health check."""

from __future__ import annotations

import configparser
import json
import re
from fnmatch import fnmatch
from pathlib import Path

import pytest
from serving_process import running
from tagging_models import save_classifier

from hf_audio.commands.serve import _parser

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def steps() -> list[tuple[str, str]]:
    """(instruction, rest) of each step, without comments and with continued lines joined."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if line and line[0] != "#"]
    return [tuple(line.strip().split(None, 1)) for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines()]


def test_it_is_short_and_does_not_run_as_root(steps):
    assert len((ROOT / "Dockerfile").read_text().splitlines()) < 40
    users = [rest for name, rest in steps if name == "USER"]
    assert users and int(users[-1]) > 0
    names = [name for name, _ in steps]
    assert names.index("USER") < names.index("ENTRYPOINT") and "HEALTHCHECK" in names


def test_copied_files_exist_and_nothing_else_is_in_the_image(steps):
    ignored = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert ignored[0] == "*"  # everything except the following
    kept = [line[1:] for line in ignored if line[0] == "!"]
    copied = [source for name, rest in steps if name == "COPY" for source in rest.split()[:-1]]
    assert sorted(copied) == sorted(kept)
    assert all((ROOT / source).exists() for source in copied)
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    described = config["metadata"]
    assert {described["long_description"].removeprefix("file: "), described["license_files"]} <= set(copied)
    assert not any(fnmatch(".env", pattern) for pattern in kept)


def test_it_installs_existing_extras(steps):
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    (install,) = [rest for name, rest in steps if name == "RUN" and "pip install" in rest]
    extras = set(re.search(r"\.\[([\w,]+)\]", install)[1].split(","))
    assert "serve" in extras and extras <= set(config["options.extras_require"])


def test_its_command_and_its_health_check_work(steps, tmp_path):
    entry = json.loads(next(rest for name, rest in steps if name == "ENTRYPOINT"))
    assert entry[:2] == ["hf-audio", "serve"]
    given = _parser().parse_args([*entry[2:], "--model", "/models/cnn_folder"])
    port = next(rest for name, rest in steps if name == "EXPOSE")
    assert given.host == "0.0.0.0" and str(given.port) == port
    check = next(rest for name, rest in steps if name == "HEALTHCHECK")
    program, flag, code = json.loads(check.partition("CMD ")[2])
    assert (program, flag) == ("python", "-c")
    with running(save_classifier(tmp_path / "cnn", "cnn")) as served:
        exec(code.replace(f"http://127.0.0.1:{port}", served.url))
        with pytest.raises(OSError):
            exec(code.replace(f"http://127.0.0.1:{port}/ready", f"{served.url}/nothing"))
