"""Places where a token could be left: output of commands that use a model, written files, published files."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path

import httpx2
from forks import Fork, Forks
from hub_server import Hub

from hf_audio.serving.access import TOKEN_VARIABLE

COMMAND = "from hf_audio.commands.main import main; main()"
OF_SERVICE = "s3cret-of-the-service"


def holding(token: str, contents: Mapping[str, bytes]) -> list[str]:
    """The names of contents that contain a token."""
    return [name for name, content in contents.items() if token.encode() in content]


def written_below(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    paths = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return {str(path): path.read_bytes() for path in paths}


def written_on(hub: Hub) -> dict[str, bytes]:
    """All files of all repositories."""
    repos = hub.storage.repos.items()
    return {f"{name}/{path} on the Hub": repo.read(path) for (_, name), repo in repos for path in repo.paths()}


def said_by_commands(forks: Forks, model: str, recording: Path, token: str, env: Mapping[str, str], cwd: Path) -> str:
    """Standard output and errors of `tag` and `embed`, also for a refused model; their files are below `cwd`."""
    given, said = ("--model", model, "--token", token), ""
    for argv in (
        ("tag", recording, *given, "--format", "json"),
        ("embed", recording, *given, "--output", "embeddings.parquet"),
    ):
        done = forks.run(COMMAND, *argv, env=env, cwd=cwd)
        assert done.returncode == 0, done.errors[-3000:]
        said += done.output + done.errors
    refused = forks.run(COMMAND, "tag", recording, "--model", f"{model}-none", "--token", token, env=env, cwd=cwd)
    assert refused.returncode == 2 and f"{model}-none" in refused.errors, refused.errors[-3000:]
    return said + refused.output + refused.errors


def said_by_service(forks: Forks, model: str, recording: Path, env: Mapping[str, str], cwd: Path) -> str:
    """All responses of a service of the model to clients with and without its token, and its log."""
    env = {**env, TOKEN_VARIABLE: OF_SERVICE}
    process = forks.start(COMMAND, "serve", "--model", f"m={model}", "--port", "0", env=env, cwd=cwd)
    try:
        url, said = _address(process), ""
        with httpx2.Client(trust_env=False, base_url=url, timeout=60) as client:
            for header in ({"authorization": f"Bearer {OF_SERVICE}"}, {}, {"authorization": f"Bearer {OF_SERVICE}x"}):
                for path in ("/v1/audio-classification", "/v1/audio-classification?timeline=true", "/v1/embeddings"):
                    answer = client.post(path, content=recording.read_bytes(), headers=header)
                    assert answer.status_code == (401 if header.get("authorization") != f"Bearer {OF_SERVICE}" else 200)
                    said += answer.text + str(answer.headers)
                for path in ("/metrics", "/openapi.json", "/health", "/ready", "/v1/models"):
                    answer = client.get(path, headers=header)
                    said += answer.text + str(answer.headers)
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(60) == 0
        return said + process.output + process.errors
    finally:
        process.kill()


def _address(process: Fork) -> str:
    until = time.monotonic() + 120
    while "Serving m at " not in process.errors:
        assert process.poll(0.05) is None and time.monotonic() < until, process.errors[-3000:]
    return process.errors.split("Serving m at ")[1].partition('"')[0].split()[0]
