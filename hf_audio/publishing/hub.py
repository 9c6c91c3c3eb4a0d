"""A repository on the Hub, and pushing to it with retries.

The client library retries file uploads, but not the small calls around them (whoami, create_repo, the commit), and it
waits forever if the Hub stops answering. Here every call has a timeout and is retried if a retry can help; other errors
are reported in one sentence.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import httpx2
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_session
from huggingface_hub.errors import (
    HFValidationError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import filter_repo_objects
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_exponential, wait_random

from hf_audio.errors import InputError
from hf_audio.privacy import remember_token
from hf_audio.publishing.contents import open_to_publish
from hf_audio.publishing.hub_failures import first_line, is_temporary, status_of
from hf_audio.terminal import named_logger

MAX_TRIES = 6
MIN_WAIT_S = 1.0
MAX_WAIT_S = 30.0
TIMEOUT_S = 120.0  # the Hub takes up to a minute for a commit of many files
# Limits of one commit of shards: an interrupted push resumes at the commit that was interrupted
MAX_COMMIT_BYTES = 2 << 30
MAX_COMMIT_FILES = 200  # all of them are open at once

logger = named_logger(__name__)


class HubRepo:
    """A repository to push to.

    Args:
        repo_id: "name" or "namespace/name"; without a namespace, the user's own.
        repo_type: "model" or "dataset".
        token: a Hub token; None uses HF_TOKEN or the token of `hf auth login`.

    Raises:
        InputError: the token or the name is wrong, permission is missing, or the Hub was unreachable for minutes. All
            methods raise it too.
    """

    def __init__(self, repo_id: str, repo_type: str, token: str | None = None) -> None:
        remember_token(token)
        self.api = HfApi(token=token)
        self.repo_id, self.repo_type = repo_id, repo_type
        self.account: dict[str, Any] = {}
        self.account = self._with_retries(self.api.whoami)
        if "/" not in repo_id:
            self.repo_id = f"{self.account['name']}/{repo_id}"

    @property
    def url(self) -> str:
        return f"{self.api.endpoint}/{'datasets/' if self.repo_type == 'dataset' else ''}{self.repo_id}"

    def is_private(self) -> bool | None:
        """Whether the repository is private; None if it does not exist yet."""

        def look() -> bool | None:
            try:
                return self.api.repo_info(self.repo_id, repo_type=self.repo_type).private
            except RepositoryNotFoundError:
                return None

        return self._with_retries(look)

    def files(self) -> dict[str, str | None]:
        """The repository's files, empty if it does not exist. Large ones, such as Parquet, have their SHA-256."""

        def look() -> dict[str, str | None]:
            try:
                tree = list(self.api.list_repo_tree(self.repo_id, repo_type=self.repo_type, recursive=True))
            except RepositoryNotFoundError:
                return {}
            return {one.path: one.lfs.sha256 if one.lfs else None for one in tree if isinstance(one, RepoFile)}

        return self._with_retries(look)

    def download(self, name: str, folder: Path, max_bytes: int) -> None:
        """Downloads a file of the repository into a folder; does nothing if the repository has no such file.

        Raises:
            InputError: it is larger than `max_bytes`.
        """
        for file in self._with_retries(self.api.get_paths_info, self.repo_id, [name], repo_type=self.repo_type):
            if file.size > max_bytes:
                raise InputError(f"{name} of {self.repo_id} has {file.size:,} bytes, expected at most {max_bytes:,}")
            self._with_retries(self.api.hf_hub_download, self.repo_id, name, repo_type=self.repo_type, local_dir=folder)

    def create(self, private: bool | None = None) -> None:
        """Creates the repository unless it exists. With `private` None the Hub decides, which makes it public."""
        self._with_retries(self.api.create_repo, self.repo_id, repo_type=self.repo_type, private=private, exist_ok=True)

    def create_branch(self, branch: str) -> None:
        """Creates a branch from main unless it exists."""
        self._with_retries(self.api.create_branch, self.repo_id, repo_type=self.repo_type, branch=branch, exist_ok=True)

    def upload(
        self,
        folder: Path,
        names: Sequence[str],
        message: str,
        *,
        revision: str | None = None,
        replace: Sequence[str] = (),
        kept: Sequence[str] = (),
        ahead: Sequence[str] = (),
    ) -> None:
        """Uploads files that the Hub does not have yet, large folders in several commits. A repeated call resumes.

        Args:
            folder: contains the files.
            names: names of the files, here and in the repository. Other files in the folder are ignored.
            message: title of the commit.
            revision: an existing branch; None is main.
            replace: patterns of files to delete from the Hub unless they are among `names` or `kept`.
            kept: files on the Hub that need not exist here.
            ahead: those of `names` that may be committed before the others, MAX_COMMIT_BYTES at a time.

        Raises:
            InputError: also if a file must not be published, see `open_to_publish`.
        """
        parts = _parts([folder / name for name in ahead])
        if len(parts) > 1:
            for number, part in enumerate(parts, start=1):
                of_part = [path.relative_to(folder).as_posix() for path in part]
                title = f"{message}: part {number} of {len(parts)}"
                self._with_retries(self._commit, folder, of_part, title, revision, [])
        last = [name for name in names if len(parts) <= 1 or name not in set(ahead)]
        self._with_retries(self._commit, folder, last, message, revision, replace, kept=[*names, *kept])

    def _commit(
        self,
        folder: Path,
        names: Sequence[str],
        message: str,
        revision: str | None,
        replace: Sequence[str],
        kept: Sequence[str] = (),
    ) -> None:
        """One commit that adds files, and deletes those that match `replace` and are not among `kept`."""
        repo: dict[str, Any] = {"repo_id": self.repo_id, "repo_type": self.repo_type, "revision": revision}
        with contextlib.ExitStack() as opened:
            operations: list[CommitOperationAdd | CommitOperationDelete] = []
            named = Path(opened.enter_context(tempfile.TemporaryDirectory()))
            for name in names:
                file = opened.enter_context(open_to_publish(folder, name))
                operations.append(CommitOperationAdd(name, _what_is_open(file, name, named)))
            if replace:
                found = filter_repo_objects(self.api.list_repo_files(**repo), allow_patterns=list(replace))
                operations += [CommitOperationDelete(name, is_folder=False) for name in found if name not in kept]
            opened.enter_context(warnings.catch_warnings())  # a run's scores are Parquet, and belong to the model repo
            warnings.filterwarnings("ignore", "It seems that you are about to commit a data file")
            self.api.create_commit(operations=operations, commit_message=message, **repo)

    def _with_retries(self, call: Callable, *args: Any, **options: Any) -> Any:
        retrying = Retrying(
            retry=retry_if_exception(is_temporary),
            stop=stop_after_attempt(MAX_TRIES),
            wait=wait_exponential(multiplier=MIN_WAIT_S, max=MAX_WAIT_S) + wait_random(0, MIN_WAIT_S),
            before_sleep=_report,
            reraise=True,
        )
        try:
            for attempt in retrying:
                with attempt, _timeout():
                    result = call(*args, **options)
            return result
        except (OSError, ValueError, RuntimeError, httpx2.HTTPError) as error:
            advice = self._advice(error)
            if advice is None:
                raise
            raise InputError(advice) from error

    def _advice(self, error: BaseException) -> str | None:
        """Advice for the user about an error; None if the error itself says enough."""
        endpoint = self.api.endpoint
        if isinstance(error, LocalTokenNotFoundError):
            return (
                "No Hugging Face token was found: log in with `hf auth login`, or set HF_TOKEN to a token with write "
                f"permission from {endpoint}/settings/tokens"
            )
        if isinstance(error, OfflineModeIsEnabled):
            return "HF_HUB_OFFLINE is set, so nothing can be pushed: unset it and push again"
        if isinstance(error, HFValidationError):
            reason = str(error).split(". ")[0]
            return f"{self.repo_id!r} is not a valid repository name, expected name or namespace/name: {reason}"
        if is_temporary(error):
            return (
                f"The Hub at {endpoint} failed {MAX_TRIES} times in a row, the last time with "
                f"{first_line(error)!r}: push again later, and only missing files will be uploaded"
            )
        status = status_of(error)
        if status == 401:
            return (
                f"The Hub at {endpoint} does not accept the token {self._token_source()}: log in again with "
                "`hf auth login --force`, or set HF_TOKEN to a token with write permission from "
                f"{endpoint}/settings/tokens"
            )
        if status in (403, 404):
            return self._no_permission(first_line(error))
        return None

    def _token_source(self) -> str:
        if self.api.token:
            return "that was given"
        return "in HF_TOKEN" if os.environ.get("HF_TOKEN") else "of `hf auth login`"

    def _no_permission(self, reason: str) -> str:
        name = self.account.get("name", "this account")
        if self.account.get("auth", {}).get("accessToken", {}).get("role") == "read":
            return (
                f"The token {self._token_source()} is read-only, so nothing can be pushed to {self.repo_id}: create "
                f"one with write permission at {self.api.endpoint}/settings/tokens"
            )
        namespaces = [name, *(org["name"] for org in self.account.get("orgs", []))]
        return (
            f"{name} is not allowed to write to {self.repo_id} ({reason}): push to one of "
            f"{', '.join(f'{namespace}/...' for namespace in namespaces)}, or use a token with permission"
        )


def _what_is_open(file: BinaryIO, name: str, folder: Path) -> str | BinaryIO:
    """An open file in a form for the client library, which opens paths again: by then the path could be another file.

    On systems where open files have paths, the library gets a link to that path in `folder`, because it uploads faster
    from paths and shows the file name in its progress bars.
    """
    descriptor, path = f"/proc/self/fd/{file.fileno()}", folder / name
    if not os.path.exists(descriptor):
        return file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(descriptor)
    return str(path)


def _parts(paths: Sequence[Path]) -> list[list[Path]]:
    """Files in order, in parts of at most MAX_COMMIT_BYTES and MAX_COMMIT_FILES; a larger file is a part of its own."""
    parts: list[list[Path]] = []
    room = 0
    for path in paths:
        size = path.stat().st_size
        if not parts or size > room or len(parts[-1]) == MAX_COMMIT_FILES:
            parts.append([])
            room = MAX_COMMIT_BYTES
        parts[-1].append(path)
        room -= size
    return parts


@contextlib.contextmanager
def _timeout() -> Iterator[None]:
    """Gives the client library's session a timeout; it has none by default."""
    session = get_session()
    before, session.timeout = session.timeout, TIMEOUT_S
    try:
        yield
    finally:
        session.timeout = before


def _report(state: RetryCallState) -> None:
    reason = first_line(state.outcome.exception())
    logger.warning("The Hub answered %r; retrying in %.0f s", reason, state.next_action.sleep)
