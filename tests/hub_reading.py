"""Responses of the tests' Hub to readers: accounts, listings, files."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from hub_storage import Commit, File, HubError, Repo, lfs_pointer
from hub_wire import route

if TYPE_CHECKING:
    from hub_server import HubConnection


@route("GET", "/api/whoami-v2")
def whoami(connection: HubConnection) -> None:
    user = connection.user
    if user is None:
        raise HubError(401, "Invalid username or password.")
    connection.answer_json(
        {
            "type": "user",
            "name": user.name,
            "fullname": user.name,
            "orgs": [{"type": "org", "name": org, "roleInOrg": "write"} for org in user.orgs],
            "auth": {"type": "access_token", "accessToken": {"displayName": "tests", "role": user.role}},
        }
    )


def card_data(readme: bytes) -> dict:
    """The YAML block at the start of a README.md; ValueError if it is not a mapping."""
    import yaml  # a dependency of every client; the rest of this server needs no package

    match = re.match(r"\A---\s*\n(.*?)\n---\s*(\n|\Z)", readme.decode(), re.DOTALL)
    try:
        data = yaml.safe_load(match[1]) if match else {}
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    if not isinstance(data, dict):
        raise ValueError("the metadata are not a mapping")
    return data


@route("GET", "/api/{kind}/{repo_id}")
@route("GET", "/api/{kind}/{repo_id}/revision/{revision}")
def repo_info(connection: HubConnection, kind: str, repo_id: str, revision: str = "main") -> None:
    repo = connection.visible(kind, repo_id)
    commit = repo.resolve(revision)
    try:
        card = card_data(repo.read("README.md", commit.oid)) if "README.md" in commit.files else {}
    except ValueError:
        card = {}
    first = list(repo.history(commit))[-1]
    connection.answer_json(
        {
            "_id": first.oid[:24],
            "id": repo.repo_id,
            "author": repo.namespace,
            "sha": commit.oid,
            "private": repo.private,
            "gated": repo.gated,
            "disabled": False,
            "createdAt": first.date,
            "lastModified": commit.date,
            "downloads": 0,
            "likes": 0,
            "tags": card.get("tags") or [],
            "cardData": card,
            "siblings": [{"rfilename": path} | _blob(file) for path, file in sorted(commit.files.items())],
        }
    )


def _blob(file: File) -> dict:
    pointer_length = len(lfs_pointer(file.sha256, file.size))
    lfs = {"lfs": {"sha256": file.sha256, "oid": file.sha256, "size": file.size, "pointerSize": pointer_length}}
    return {"size": file.size, "blobId": file.git_oid} | (lfs if file.is_lfs else {})


def _nodes(repo: Repo, commit: Commit, expand: bool) -> dict[str, dict]:
    """Every file and folder of a commit by path, as in a tree listing."""
    nodes: dict[str, dict] = {}
    titles = {past.oid: past for past in repo.history(commit)}
    for path, file in sorted(commit.files.items()):
        last = titles[file.commit_oid]
        seen = {"lastCommit": {"id": last.oid, "title": last.title, "date": last.date}} if expand else {}
        parts = path.split("/")
        for depth in range(1, len(parts)):
            folder = "/".join(parts[:depth])
            oid = hashlib.sha1(f"{commit.oid}/{folder}".encode()).hexdigest()
            nodes.setdefault(folder, {"type": "directory", "oid": oid, "size": 0, "path": folder} | seen)
        nodes[path] = {"type": "file", "path": path, "oid": file.git_oid} | _blob(file) | seen
    return nodes


def _true(value: str | None) -> bool:
    return (value or "").lower() in ("true", "1")


@route("GET", "/api/{kind}/{repo_id}/tree/{revision}")
@route("GET", "/api/{kind}/{repo_id}/tree/{revision}/{path}")
def tree(connection: HubConnection, kind: str, repo_id: str, revision: str, path: str = "") -> None:
    repo = connection.visible(kind, repo_id)
    commit = repo.resolve(revision)
    query = {name: values[-1] for name, values in connection.query.items()}
    nodes = _nodes(repo, commit, _true(query.get("expand")))
    if path and nodes.get(path, {}).get("type") != "directory":
        raise HubError(404, f"{path} does not exist on {revision}", "EntryNotFound")
    start = f"{path}/" if path else ""
    below = [nodes[name] for name in sorted(nodes) if name.startswith(start)]
    if not _true(query.get("recursive")):
        below = [node for node in below if "/" not in node["path"][len(start) :]]
    first = int(query.get("cursor", 0))
    last = first + connection.hub.page_length
    headers = {}
    if last < len(below):
        rest = "".join(f"&{name}={value}" for name, value in query.items() if name != "cursor")
        headers["Link"] = f'<{connection.hub.endpoint}{connection.url_path}?cursor={last}{rest}>; rel="next"'
    connection.answer_json(below[first:last], headers=headers)


@route("POST", "/api/{kind}/{repo_id}/paths-info/{revision}")
def paths_info(connection: HubConnection, kind: str, repo_id: str, revision: str) -> None:
    repo = connection.visible(kind, repo_id)
    form = parse_qs(connection.body().decode())
    nodes = _nodes(repo, repo.resolve(revision), _true(form.get("expand", [""])[0]))
    connection.answer_json([nodes[path] for path in form.get("paths", []) if path in nodes])


@route("GET", "/api/{kind}/{repo_id}/refs")
def refs(connection: HubConnection, kind: str, repo_id: str) -> None:
    repo = connection.visible(kind, repo_id)

    def listed(named: dict[str, Commit], folder: str) -> list[dict]:
        return [{"name": n, "ref": f"refs/{folder}/{n}", "targetCommit": c.oid} for n, c in named.items()]

    branches, tags = listed(repo.branches, "heads"), listed(repo.tags, "tags")
    connection.answer_json({"branches": branches, "tags": tags, "converts": [], "pullRequests": []})


@route("GET", "/api/{kind}/{repo_id}/commits/{revision}")
def commits(connection: HubConnection, kind: str, repo_id: str, revision: str) -> None:
    repo = connection.visible(kind, repo_id)
    connection.answer_json(
        [
            {"id": past.oid, "title": past.title, "message": past.message, "date": past.date}
            | {"authors": [{"user": past.author}]}
            for past in repo.history(repo.resolve(revision))
        ]
    )


@route("GET", "/api/{kind}/{repo_id}/auth-check")
def auth_check(connection: HubConnection, kind: str, repo_id: str) -> None:
    connection.hub.storage.readable(kind, repo_id, connection.user)
    connection.answer_json({})


@route("GET", "/{prefix}{repo_id}/resolve/{revision}/{path}")
def resolve(connection: HubConnection, prefix: str, repo_id: str, revision: str, path: str) -> None:
    repo = connection.hub.storage.readable(prefix.rstrip("/") or "models", repo_id, connection.user)
    commit = repo.resolve(revision)
    headers = {"X-Repo-Commit": commit.oid}
    file = commit.files.get(path)
    if file is None:
        error = HubError(404, "Entry not found", "EntryNotFound")
        error.headers = headers  # clients cache that this commit has no such file
        raise error
    headers["ETag"] = f'"{file.git_oid}"'
    if not file.is_lfs:
        connection.answer_file(repo.blobs.path(file.sha256), headers)
        return
    headers["X-Linked-ETag"], headers["X-Linked-Size"] = f'"{file.sha256}"', str(file.size)
    headers["Location"] = connection.hub.storage_url(f"/blobs/{file.sha256}")
    connection.answer(302, b"Found", headers)
