"""Storage of the tests' Hub: users, repositories with their commits, and the bytes of every file.

`hub_server.py` speaks HTTP and uses this module, which knows nothing of HTTP except for the status of a `HubError`.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path

KINDS = ("models", "datasets", "spaces")
LFS_SUFFIXES = (".parquet", ".safetensors", ".arrow", ".bin", ".png", ".wav", ".npz", ".zip")
LFS_FROM_BYTES = 10 * 1024 * 1024
GIT_ATTRIBUTES = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LFS_SUFFIXES).encode()


class HubError(Exception):
    """A refusal: HTTP status, the Hub's X-Error-Code (or None) and X-Error-Message."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


@dataclass(frozen=True)
class User:
    """An account; `role` is the permission of its token: "read" or "write"."""

    name: str
    token: str
    role: str = "write"
    orgs: tuple[str, ...] = ()

    def owns(self, namespace: str) -> bool:
        return namespace == self.name or namespace in self.orgs


@dataclass(frozen=True)
class File:
    """One version of a file; its content is in the blob folder under `sha256`."""

    size: int
    sha256: str
    git_oid: str
    is_lfs: bool
    commit_oid: str = ""  # the commit that added it

    @property
    def upload_oid(self) -> str:
        """The hash with which clients compare their file: sha256 for LFS, git's sha1 for a regular file."""
        return self.sha256 if self.is_lfs else self.git_oid


@dataclass(frozen=True)
class Commit:
    oid: str
    title: str
    message: str
    author: str
    date: str
    files: dict[str, File]
    parent: Commit | None = None


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def lfs_pointer(sha256: str, size: int) -> bytes:
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


def goes_to_lfs(path: str, size: int, sample: bytes) -> bool:
    """The Hub's rule: because of .gitattributes, by size, or because it is not text."""
    return path.endswith(LFS_SUFFIXES) or size > LFS_FROM_BYTES or b"\0" in sample


class Blobs:
    """Contents by sha256, each in one file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, sha256: str) -> Path:
        return self.folder / sha256

    def add(self, chunks: Iterable[bytes], expected_sha256: str | None = None) -> str:
        """Stores a content and returns its sha256; if it is not the expected one, nothing is stored."""
        digest = hashlib.sha256()
        handle, name = tempfile.mkstemp(dir=self.folder)
        try:
            with os.fdopen(handle, "wb") as file:
                for chunk in chunks:
                    digest.update(chunk)
                    file.write(chunk)
            sha256 = digest.hexdigest()
            if expected_sha256 not in (None, sha256):
                raise HubError(400, f"The content has sha256 {sha256}, not {expected_sha256}")
            os.replace(name, self.path(sha256))
            return sha256
        finally:
            Path(name).unlink(missing_ok=True)


@dataclass
class Repo:
    """A repository: branches and tags that point to commits.

    Attributes:
        gated: False, "auto" or "manual"; tests may set it, and add user names to `granted`.
        uploaded: sha256 of LFS contents that were uploaded for this repository, committed or not.
    """

    kind: str
    repo_id: str
    blobs: Blobs
    private: bool = False
    gated: str | bool = False
    granted: set[str] = field(default_factory=set)
    branches: dict[str, Commit] = field(default_factory=dict)
    tags: dict[str, Commit] = field(default_factory=dict)
    uploaded: set[str] = field(default_factory=set)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self.commit({".gitattributes": GIT_ATTRIBUTES}, title="initial commit")

    @property
    def namespace(self) -> str:
        return self.repo_id.split("/")[0]

    def regular_file(self, content: bytes) -> File:
        sha256 = self.blobs.add([content])
        return File(len(content), sha256, git_sha1(content), is_lfs=False)

    def lfs_file(self, sha256: str) -> File:
        """The file of an LFS content that was uploaded before."""
        if sha256 not in self.uploaded:
            raise HubError(400, f"LFS object {sha256} was never uploaded")
        size = self.blobs.path(sha256).stat().st_size
        return File(size, sha256, git_sha1(lfs_pointer(sha256, size)), is_lfs=True)

    def commit(
        self,
        contents: dict[str, bytes | File],
        deleted: Iterable[str] = (),
        *,
        branch: str = "main",
        expected_head: Commit | None = None,
        title: str = "commit",
        message: str = "",
        author: str = "hub",
    ) -> Commit:
        """Adds a commit to a branch; tests may call it to fill a repository without HTTP.

        Contents given as bytes become LFS files by the Hub's rule. If the branch is no longer at `expected_head`, the
        commit is refused with 412, as when two pushes race.
        """
        made = {path: self._as_file(path, content) for path, content in contents.items()}
        with self.lock:
            head = self.branches.get(branch)
            if expected_head is not None and head is not expected_head:
                raise HubError(412, "A commit has happened since. Please refresh and try again.")
            files = dict(head.files) if head else {}
            for path in deleted:
                if files.pop(path, None) is None:
                    raise HubError(404, "A file with this name doesn't exist", "EntryNotFound")
            oid = hashlib.sha1(uuid.uuid4().bytes).hexdigest()  # clients use it as a cache key, and tests reuse names
            files.update({path: replace(file, commit_oid=oid) for path, file in made.items()})
            date = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            self.branches[branch] = Commit(oid, title, message, author, date, files, parent=head)
            return self.branches[branch]

    def _as_file(self, path: str, content: bytes | File) -> File:
        if isinstance(content, File):
            return content
        if not goes_to_lfs(path, len(content), content[:512]):
            return self.regular_file(content)
        sha256 = self.blobs.add([content])
        self.uploaded.add(sha256)
        return self.lfs_file(sha256)

    def history(self, commit: Commit) -> Iterator[Commit]:
        current: Commit | None = commit
        while current is not None:
            yield current
            current = current.parent

    def resolve(self, revision: str = "main") -> Commit:
        """The commit of a branch, a tag or a commit hash."""
        short = revision.removeprefix("refs/heads/").removeprefix("refs/tags/")
        named = self.branches.get(short) or self.tags.get(short)
        if named is not None:
            return named
        for head in [*self.branches.values(), *self.tags.values()]:
            for commit in self.history(head):
                if commit.oid == revision:
                    return commit
        raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")

    def read(self, path: str, revision: str = "main") -> bytes:
        """The content of a file, for assertions."""
        return self.blobs.path(self.resolve(revision).files[path].sha256).read_bytes()

    def paths(self, revision: str = "main") -> list[str]:
        """Sorted paths of a revision without .gitattributes, for assertions."""
        return sorted(set(self.resolve(revision).files) - {".gitattributes"})


class Storage:
    """All users and repositories."""

    def __init__(self, folder: Path) -> None:
        self.blobs = Blobs(folder / "blobs")
        self.users: dict[str, User] = {}
        self.repos: dict[tuple[str, str], Repo] = {}
        self.moved: dict[tuple[str, str], str] = {}  # old names of repositories and their new ones
        self.lock = threading.RLock()

    def add_user(self, name: str, role: str = "write", orgs: tuple[str, ...] = ()) -> User:
        user = User(name, f"hf_{name}_{hashlib.sha256(name.encode()).hexdigest()[:20]}", role, orgs)
        self.users[name] = user
        return user

    def user_of_token(self, token: str) -> User:
        for user in self.users.values():
            if user.token == token:
                return user
        raise HubError(401, "Invalid credentials in Authorization header")

    def create(self, kind: str, repo_id: str, private: bool = False) -> Repo:
        with self.lock:
            if (kind, repo_id) in self.repos:
                raise HubError(409, f"You already created this {kind.removesuffix('s')} repo")
            repo = self.repos[kind, repo_id] = Repo(kind, repo_id, self.blobs, private)
            return repo

    def delete(self, kind: str, repo_id: str) -> None:
        with self.lock:
            del self.repos[kind, repo_id]

    def move(self, kind: str, old_id: str, new_id: str) -> None:
        with self.lock:
            if (kind, new_id) in self.repos:
                raise HubError(409, f"{new_id} exists already")
            repo = self.repos.pop((kind, old_id))
            repo.repo_id = new_id
            self.repos[kind, new_id] = repo
            self.moved[kind, old_id] = new_id

    def visible(self, kind: str, repo_id: str, user: User | None) -> Repo:
        """The repository, if this user may know that it exists."""
        repo = self.repos.get((kind, repo_id))
        if repo is not None and (not repo.private or (user is not None and user.owns(repo.namespace))):
            return repo
        if user is None:  # the Hub does not reveal whether it is missing or private
            raise HubError(401, "Invalid username or password.", "RepoNotFound")
        raise HubError(404, "Repository not found", "RepoNotFound")

    def readable(self, kind: str, repo_id: str, user: User | None) -> Repo:
        """The repository, if this user may read its files."""
        repo = self.visible(kind, repo_id, user)
        if repo.gated and user is None:
            raise HubError(401, f"Access to {repo_id} is restricted. You must be authenticated.", "GatedRepo")
        if repo.gated and not (user.owns(repo.namespace) or user.name in repo.granted):
            raise HubError(403, f"Access to {repo_id} is restricted and you are not in the list.", "GatedRepo")
        return repo

    def writable(self, kind: str, repo_id: str, user: User | None) -> Repo:
        """The repository, if this user's token may write to it."""
        repo = self.visible(kind, repo_id, user)
        self.check_may_write(repo.namespace, user)
        return repo

    def check_may_write(self, namespace: str, user: User | None) -> None:
        if user is None:
            raise HubError(401, "Invalid username or password.")
        if not user.owns(namespace):
            raise HubError(403, f'You don\'t have the rights to write under the namespace "{namespace}"')
        if user.role != "write":
            raise HubError(403, "This token has no write permission")
