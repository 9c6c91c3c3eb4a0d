"""A Hugging Face Hub on 127.0.0.1 for the tests, built on the standard library.

The unmodified client libraries (huggingface_hub, datasets, transformers, peft) run against it. Like the real Hub it has
two origins: the Hub itself, and the storage to which requests for large files are redirected.

    hub = Hub.start(folder)
    hub.endpoint                                    # for HF_ENDPOINT
    hub.token("alice")                              # for HF_TOKEN
    hub.create("datasets", "alice/x", private=True) # a repository made without HTTP; see hub_storage.Repo
    hub.faults.add("POST", "/commit/", "503")       # see hub_faults.Faults
    hub.log.bytes_received("PUT")                   # see hub_faults.RequestLog

On its own, for a benchmark or a second process: `python tests/hub_server.py FOLDER` prints addresses and tokens as JSON
and serves until standard input ends.
"""

from __future__ import annotations

import hashlib
import json
import sys
import threading
import traceback
from http.server import ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import hub_reading  # noqa: F401 - enters its routes
import hub_writing  # noqa: F401 - enters its routes
from hub_faults import Faults, RequestLog
from hub_storage import HubError, Repo, Storage, User
from hub_wire import ROUTES, Connection

PAGE_LENGTH = 1000


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exc_info()[1], OSError):  # a client that disconnected is no error of ours
            self.hub.errors.append(traceback.format_exc())


class Hub:
    """The running server.

    Attributes:
        endpoint, storage_endpoint: addresses of the two origins.
        faults, log: deliberate faults, and the log of requests.
        errors: stack traces of this server's own errors; there should be none at the end of a test session.
        page_length: number of entries per page of a tree listing.
    """

    def __init__(self, folder: Path) -> None:
        self.storage = Storage(folder)
        self.faults, self.log, self.errors = Faults(), RequestLog(), []
        self.page_length = PAGE_LENGTH
        self._servers = [_Server(("127.0.0.1", 0), connection) for connection in (HubConnection, StorageConnection)]
        here, storage = (server.server_port for server in self._servers)
        # huggingface_hub 2.0 tells origins apart by host alone, so the two have different names
        self.endpoint, self.storage_endpoint = f"http://127.0.0.1:{here}", f"http://localhost:{storage}"

    @classmethod
    def start(cls, folder: Path) -> Hub:
        """Serves from background threads, with three users: alice (in the organization acme), bob, and reader, whose
        token may only read."""
        hub = cls(folder)
        hub.storage.add_user("alice", orgs=("acme",))
        hub.storage.add_user("bob")
        hub.storage.add_user("reader", role="read")
        for server in hub._servers:
            server.hub = hub
            threading.Thread(target=server.serve_forever, daemon=True).start()
        return hub

    def stop(self) -> None:
        self.faults.clear()
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def token(self, user: str) -> str:
        return self.storage.users[user].token

    def create(self, kind: str, repo_id: str, files: dict[str, bytes] | None = None, private: bool = False) -> Repo:
        """A repository made without HTTP, of any namespace; kind is "models", "datasets" or "spaces"."""
        repo = self.storage.create(kind, repo_id, private)
        if files:
            repo.commit(files)
        return repo

    def repo(self, kind: str, repo_id: str) -> Repo:
        return self.storage.repos[kind, repo_id]

    def signature(self, name: str) -> str:
        """The signature that makes an address of the storage origin valid, which needs no token."""
        return hashlib.sha256(f"{id(self)} {name}".encode()).hexdigest()[:16]

    def storage_url(self, path: str) -> str:
        return f"{self.storage_endpoint}{path}?signature={self.signature(path)}"


class HubConnection(Connection):
    """The Hub's own origin."""

    origin = "hub"

    def dispatch(self) -> None:
        method = "GET" if self.command == "HEAD" else self.command
        for wanted, pattern, function in ROUTES:
            match = pattern.fullmatch(self.url_path) if wanted == method else None
            if match and (address := self._address_since(match.groupdict())):
                return self.answer(307, b"Moved", {"Location": address})
            if match:
                return function(self, **{name: unquote(part) for name, part in match.groupdict().items()})
        raise HubError(404, f"This Hub has no page {self.url_path}")

    def _address_since(self, parts: dict[str, str]) -> str | None:
        """The current address of a page of a renamed repository."""
        kind = parts.get("kind") or (parts.get("prefix") or "models").rstrip("/")
        old = unquote(parts.get("repo_id") or "")
        new = self.hub.storage.moved.get((kind, old))
        if new is None or (kind, old) in self.hub.storage.repos:
            return None
        query = f"?{self.path.partition('?')[2]}" if "?" in self.path else ""
        return self.hub.endpoint + self.url_path.replace(old, new, 1) + query

    @property
    def user(self) -> User | None:
        token = self._token()
        return self.hub.storage.user_of_token(token) if token else None

    def visible(self, kind: str, repo_id: str) -> Repo:
        return self.hub.storage.visible(kind, repo_id, self.user)

    def writable(self, kind: str, repo_id: str) -> Repo:
        return self.hub.storage.writable(kind, repo_id, self.user)


class StorageConnection(Connection):
    """The origin of large files, like cloud storage with signed addresses: it needs no token."""

    origin = "storage"

    def dispatch(self) -> None:
        path = unquote(self.url_path)
        if self.query.get("signature") != [self.hub.signature(path)]:
            raise HubError(403, "The signature of this address is not valid")
        if self.command == "PUT":
            _, _, kind, namespace, name, sha256 = path.split("/")
            repo = self.hub.storage.repos.get((kind, f"{namespace}/{name}"))
            if repo is None:  # a client left over from a finished test
                raise HubError(404, "Repository not found", "RepoNotFound")
            repo.blobs.add(self.unread, expected_sha256=sha256)
            repo.uploaded.add(sha256)
            self.answer(200, headers={"ETag": f'"{sha256}"'})
        else:
            self.answer_file(self.hub.storage.blobs.path(path.rsplit("/", 1)[-1]), {})


def main() -> None:
    """Serves on its own until standard input ends."""
    hub = Hub.start(Path(sys.argv[1]))
    tokens = {user.name: user.token for user in hub.storage.users.values()}
    print(json.dumps({"endpoint": hub.endpoint, "storage": hub.storage_endpoint, "tokens": tokens}), flush=True)
    sys.stdin.read()
    hub.stop()


if __name__ == "__main__":
    main()
