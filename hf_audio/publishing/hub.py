"""A repository on the Hub, and pushing to it with retries.

The client library retries uploads of files by itself, but not the small calls around them (whoami, create_repo, the
commit), and it waits for ever for a Hub that went silent. Here every call has a time-out and is tried again where
another try can fix it; what another try cannot fix is said in one sentence.
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
from hf_audio.publishing.hub_failures import may_pass, status_of, telling_line
from hf_audio.terminal import named_logger

TRIES = 6
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 30.0
SILENCE_S = 120.0  # a commit of many files takes the Hub up to a minute
# of shards in one commit: an interrupted push resumes with the part that it was at
BYTES_A_COMMIT = 2 << 30
FILES_A_COMMIT = 200  # all of them are open at once

logger = named_logger(__name__)


class HubRepo:
    """A repository to push to.

    Args:
        repo_id: "name" or "namespace/name"; without a namespace, the user's own.
        repo_type: "model" or "dataset".
        token: a Hub token; None takes HF_TOKEN or the one of `hf auth login`.

    Raises:
        InputError: here and in every method: the token or the name is wrong, permission is missing, or the Hub cannot
            be reached for minutes.
    """

    def __init__(self, repo_id: str, repo_type: str, token: str | None = None) -> None:
        remember_token(token)
        self.api = HfApi(token=token)
        self.repo_id, self.repo_type = repo_id, repo_type
        self.account: dict[str, Any] = {}
        self.account = self._patiently(self.api.whoami)
        if "/" not in repo_id:
            self.repo_id = f"{self.account['name']}/{repo_id}"

    @property
    def url(self) -> str:
        return f"{self.api.endpoint}/{'datasets/' if self.repo_type == 'dataset' else ''}{self.repo_id}"

    def is_private(self) -> bool | None:
        """Whether it is private; None where there is no such repository yet."""

        def look() -> bool | None:
            try:
                return self.api.repo_info(self.repo_id, repo_type=self.repo_type).private
            except RepositoryNotFoundError:
                return None

        return self._patiently(look)

    def files(self) -> dict[str, str | None]:
        """The files of the repository, of large ones, such as Parquet, with their sha256; none where there is none."""

        def look() -> dict[str, str | None]:
            try:
                tree = list(self.api.list_repo_tree(self.repo_id, repo_type=self.repo_type, recursive=True))
            except RepositoryNotFoundError:
                return {}
            return {one.path: one.lfs.sha256 if one.lfs else None for one in tree if isinstance(one, RepoFile)}

        return self._patiently(look)

    def download(self, name: str, folder: Path, most_bytes: int) -> None:
        """Write a file of the repository into a folder; none where there is none of its name.

        Raises:
            InputError: it is larger than `most_bytes`.
        """
        for file in self._patiently(self.api.get_paths_info, self.repo_id, [name], repo_type=self.repo_type):
            if file.size > most_bytes:
                raise InputError(f"{name} of {self.repo_id} has {file.size:,} bytes, expected at most {most_bytes:,}")
            self._patiently(self.api.hf_hub_download, self.repo_id, name, repo_type=self.repo_type, local_dir=folder)

    def create(self, private: bool | None = None) -> None:
        """Make the repository unless it exists; `private` None leaves it to the Hub, which makes it public."""
        self._patiently(self.api.create_repo, self.repo_id, repo_type=self.repo_type, private=private, exist_ok=True)

    def create_branch(self, branch: str) -> None:
        """Make a branch from main unless it exists."""
        self._patiently(self.api.create_branch, self.repo_id, repo_type=self.repo_type, branch=branch, exist_ok=True)

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
        """Upload what the Hub does not have yet; large folders in several commits, of which a repeated push goes on.

        Args:
            folder: where the files lie.
            names: of the files, here and in the repository; nothing else in the folder is looked at.
            message: title of the commit.
            revision: a branch that exists; None is main.
            replace: patterns of files that are deleted from the Hub where they are not among `names` or `kept`.
            kept: files that are on the Hub and need not be here.
            ahead: those of `names` that may be committed before the others, BYTES_A_COMMIT at a time.

        Raises:
            InputError: also where one of the files is not one to be published, see `open_to_publish`.
        """
        parts = _parts([folder / name for name in ahead])
        if len(parts) > 1:
            for number, part in enumerate(parts, start=1):
                of_part = [path.relative_to(folder).as_posix() for path in part]
                title = f"{message}: part {number} of {len(parts)}"
                self._patiently(self._commit, folder, of_part, title, revision, [])
        last = [name for name in names if len(parts) <= 1 or name not in set(ahead)]
        self._patiently(self._commit, folder, last, message, revision, replace, kept=[*names, *kept])

    def _commit(
        self,
        folder: Path,
        names: Sequence[str],
        message: str,
        revision: str | None,
        replace: Sequence[str],
        kept: Sequence[str] = (),
    ) -> None:
        """One commit of files, and of the deletion of what matches `replace` and is not among `kept`."""
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
            opened.enter_context(warnings.catch_warnings())  # a run's scores are Parquet, and belong to its model
            warnings.filterwarnings("ignore", "It seems that you are about to commit a data file")
            self.api.create_commit(operations=operations, commit_message=message, **repo)

    def _patiently(self, call: Callable, *args: Any, **options: Any) -> Any:
        retrying = Retrying(
            retry=retry_if_exception(may_pass),
            stop=stop_after_attempt(TRIES),
            wait=wait_exponential(multiplier=FIRST_WAIT_S, max=LONGEST_WAIT_S) + wait_random(0, FIRST_WAIT_S),
            before_sleep=_report,
            reraise=True,
        )
        try:
            for attempt in retrying:
                with attempt, _time_out():
                    result = call(*args, **options)
            return result
        except (OSError, ValueError, RuntimeError, httpx2.HTTPError) as error:
            sentence = self._in_words(error)
            if sentence is None:
                raise
            raise InputError(sentence) from error

    def _in_words(self, error: BaseException) -> str | None:
        """What the user can do about an error; None where the error itself says it best."""
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
            return f"{self.repo_id!r} cannot be the name of a repository, expected name or namespace/name: {reason}"
        if may_pass(error):
            return (
                f"The Hub at {endpoint} failed {TRIES} times in a row, at last with {telling_line(error)!r}: push "
                "again later, only what is missing will be uploaded"
            )
        status = status_of(error)
        if status == 401:
            return (
                f"The Hub at {endpoint} does not accept the token {self._token_source()}: log in again with "
                "`hf auth login --force`, or set HF_TOKEN to a token with write permission from "
                f"{endpoint}/settings/tokens"
            )
        if status in (403, 404):
            return self._no_permission(telling_line(error))
        return None

    def _token_source(self) -> str:
        if self.api.token:
            return "that was given"
        return "in HF_TOKEN" if os.environ.get("HF_TOKEN") else "of `hf auth login`"

    def _no_permission(self, reason: str) -> str:
        name = self.account.get("name", "this account")
        if self.account.get("auth", {}).get("accessToken", {}).get("role") == "read":
            return (
                f"The token {self._token_source()} may read only, so nothing can be pushed to {self.repo_id}: make one "
                f"with write permission at {self.api.endpoint}/settings/tokens"
            )
        namespaces = [name, *(org["name"] for org in self.account.get("orgs", []))]
        return (
            f"{name} may not write to {self.repo_id} ({reason}): push to one of "
            f"{', '.join(f'{namespace}/...' for namespace in namespaces)}, or use the token of someone who may"
        )


def _what_is_open(file: BinaryIO, name: str, folder: Path) -> str | BinaryIO:
    """An open file for the client library, which opens paths again: by then another may lie under the old name.

    Where the system has names for open files, it is given one in a `folder` of ours: from a path the library uploads
    faster, and its last part is what progress bars show.
    """
    descriptor, path = f"/proc/self/fd/{file.fileno()}", folder / name
    if not os.path.exists(descriptor):
        return file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(descriptor)
    return str(path)


def _parts(paths: Sequence[Path]) -> list[list[Path]]:
    """Files in order, in parts of at most BYTES_A_COMMIT and FILES_A_COMMIT, or of one file that is larger."""
    parts: list[list[Path]] = []
    room = 0
    for path in paths:
        size = path.stat().st_size
        if not parts or size > room or len(parts[-1]) == FILES_A_COMMIT:
            parts.append([])
            room = BYTES_A_COMMIT
        parts[-1].append(path)
        room -= size
    return parts


@contextlib.contextmanager
def _time_out() -> Iterator[None]:
    """Gives the client library's session, which has none, a time-out."""
    session = get_session()
    before, session.timeout = session.timeout, SILENCE_S
    try:
        yield
    finally:
        session.timeout = before


def _report(state: RetryCallState) -> None:
    reason = telling_line(state.outcome.exception())
    logger.warning("The Hub answered %r; retrying in %.0f s", reason, state.next_action.sleep)
