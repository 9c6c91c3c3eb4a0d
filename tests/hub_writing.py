"""Responses of the tests' Hub to writers: repositories, uploads, commits, references."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

from hub_reading import card_data
from hub_storage import File, HubError, goes_to_lfs
from hub_wire import route

if TYPE_CHECKING:
    from hub_server import HubConnection


def _asked_repo(connection: HubConnection, body: dict) -> tuple[str, str]:
    """(kind, repo id) of a create or delete request; the default namespace is the user's own."""
    user = connection.user
    namespace = body.get("organization") or (user.name if user else "")
    connection.hub.storage.check_may_write(namespace, user)
    return f"{body.get('type') or 'model'}s", f"{namespace}/{body['name']}"


def _url_prefix(kind: str) -> str:
    return "" if kind == "models" else f"{kind}/"


@route("POST", "/api/repos/create")
def create_repo(connection: HubConnection) -> None:
    body = connection.json()
    kind, repo_id = _asked_repo(connection, body)
    answer = {"name": repo_id, "url": f"{connection.hub.endpoint}/{_url_prefix(kind)}{repo_id}"}
    try:
        connection.hub.storage.create(kind, repo_id, body.get("visibility") == "private" or body.get("private") is True)
        connection.answer_json(answer)
    except HubError as error:
        connection.answer_json(answer | {"error": error.message}, error.status)


@route("DELETE", "/api/repos/delete")
def delete_repo(connection: HubConnection) -> None:
    kind, repo_id = _asked_repo(connection, connection.json())
    connection.visible(kind, repo_id)
    connection.hub.storage.delete(kind, repo_id)
    connection.answer_json({})


@route("POST", "/api/repos/move")
def move_repo(connection: HubConnection) -> None:
    body = connection.json()
    kind = f"{body.get('type') or 'model'}s"
    connection.writable(kind, body["fromRepo"])
    connection.hub.storage.check_may_write(body["toRepo"].split("/")[0], connection.user)
    connection.hub.storage.move(kind, body["fromRepo"], body["toRepo"])
    connection.answer_json({})


@route("PUT", "/api/{kind}/{repo_id}/settings")
def change_settings(connection: HubConnection, kind: str, repo_id: str) -> None:
    repo, body = connection.writable(kind, repo_id), connection.json()
    if "visibility" in body or "private" in body:
        repo.private = body.get("visibility") == "private" or body.get("private") is True
    repo.gated = body.get("gated", repo.gated)
    connection.answer_json({})


@route("POST", "/api/validate-yaml")
def validate_yaml(connection: HubConnection) -> None:
    try:
        card_data(connection.json()["content"].encode())
        connection.answer_json({"errors": [], "warnings": []})
    except ValueError as error:
        connection.answer_json({"errors": [{"message": str(error)}], "warnings": []}, 400)


@route("POST", "/api/{kind}/{repo_id}/preupload/{revision}")
def preupload(connection: HubConnection, kind: str, repo_id: str, revision: str) -> None:
    present = connection.writable(kind, repo_id).resolve(revision).files
    answers = []
    for asked in connection.json()["files"]:
        path, sample = asked["path"], base64.b64decode(asked["sample"])
        mode = "lfs" if goes_to_lfs(path, asked["size"], sample) else "regular"
        oid = present[path].upload_oid if path in present else None
        answers.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
    connection.answer_json({"files": answers})


@route("POST", r"/{prefix}{repo_id}\.git/info/lfs/objects/batch")
def lfs_batch(connection: HubConnection, prefix: str, repo_id: str) -> None:
    kind = prefix.rstrip("/") or "models"
    repo = connection.writable(kind, repo_id)
    objects = []
    for asked in connection.json()["objects"]:
        answer = {"oid": asked["oid"], "size": asked["size"]}
        if asked["oid"] not in repo.uploaded:
            upload = connection.hub.storage_url(f"/upload/{kind}/{repo_id}/{asked['oid']}")
            verify = f"{connection.hub.endpoint}/{prefix}{repo_id}.git/info/lfs/verify"
            answer["actions"] = {"upload": {"href": upload}, "verify": {"href": verify}}
        objects.append(answer)
    connection.answer_json({"transfer": "basic", "objects": objects})


@route("POST", r"/{prefix}{repo_id}\.git/info/lfs/verify")
def lfs_verify(connection: HubConnection, prefix: str, repo_id: str) -> None:
    body = connection.json()
    file = connection.writable(prefix.rstrip("/") or "models", repo_id).lfs_file(body["oid"])
    if file.size != body["size"]:
        raise HubError(400, f"The object has {file.size} bytes, not {body['size']}")
    connection.answer_json({})


@route("POST", "/api/{kind}/{repo_id}/commit/{revision}")
def commit(connection: HubConnection, kind: str, repo_id: str, revision: str) -> None:
    repo = connection.writable(kind, repo_id)
    head = repo.resolve(revision)  # the parent of this commit: the branch must still be there at the end
    header: dict = {}
    contents: dict[str, File] = {}
    deleted: list[str] = []
    for line in connection.body().splitlines():
        key, value = (entry := json.loads(line))["key"], entry["value"]
        if key == "header":
            header = value
        elif key == "file":
            contents[value["path"]] = repo.regular_file(base64.b64decode(value["content"]))
        elif key == "lfsFile":
            contents[value["path"]] = repo.lfs_file(value["oid"])
        elif key == "deletedFile":
            deleted.append(value["path"])
        elif key == "deletedFolder":
            deleted += [path for path in head.files if path.startswith(f"{value['path'].rstrip('/')}/")]
    parent = header.get("parentCommit")
    if parent and not head.oid.startswith(parent):
        raise HubError(412, "A commit has happened since. Please refresh and try again.")
    made = repo.commit(
        contents,
        deleted,
        branch=revision.removeprefix("refs/heads/"),
        expected_head=head,
        title=header.get("summary", ""),
        message=header.get("description", ""),
        author=connection.user.name,
    )
    url = f"{connection.hub.endpoint}/{_url_prefix(kind)}{repo_id}/commit/{made.oid}"
    connection.answer_json({"success": True, "commitOid": made.oid, "commitUrl": url})


@route("POST", "/api/{kind}/{repo_id}/branch/{revision}")
def create_branch(connection: HubConnection, kind: str, repo_id: str, revision: str) -> None:
    repo = connection.writable(kind, repo_id)
    if revision in repo.branches:
        raise HubError(409, f"Reference refs/heads/{revision} exists already")
    repo.branches[revision] = repo.resolve(connection.json().get("startingPoint") or "main")
    connection.answer_json({})


@route("POST", "/api/{kind}/{repo_id}/tag/{revision}")
def create_tag(connection: HubConnection, kind: str, repo_id: str, revision: str) -> None:
    repo, body = connection.writable(kind, repo_id), connection.json()
    if body["tag"] in repo.tags:
        raise HubError(409, f"Reference refs/tags/{body['tag']} exists already")
    repo.tags[body["tag"]] = repo.resolve(revision)
    connection.answer_json({})


@route("DELETE", "/api/{kind}/{repo_id}/(?P<folder>branch|tag)/{revision}")
def delete_reference(connection: HubConnection, kind: str, repo_id: str, folder: str, revision: str) -> None:
    repo = connection.writable(kind, repo_id)
    if (repo.branches if folder == "branch" else repo.tags).pop(revision, None) is None:
        raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
    connection.answer_json({})
