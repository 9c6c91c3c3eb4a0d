"""Access to the Hub: retries after connection errors, and one-sentence messages for refusals."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential

from hf_audio.errors import InputError

MAX_TRIES = 4


def patiently(call: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Calls a function, and retries where the client library does not: broken connections, timeouts, status 503."""

    def is_temporary(error: BaseException) -> bool:
        if isinstance(error, HfHubHTTPError):
            return error.response is not None and error.response.status_code >= 500
        return isinstance(error, httpx2.TransportError) and not isinstance(error, httpx2.ConnectError)

    retrying = Retrying(
        retry=retry_if_exception(is_temporary),
        stop=stop_after_attempt(MAX_TRIES),
        wait=wait_exponential(),
        reraise=True,
    )
    return retrying(call, *args, **options)


@contextlib.contextmanager
def hub_errors_in_words(repo_id: str, revision: str | None, lacking: str = "lacks a file") -> Iterator[None]:
    """Turns errors of reading a dataset on the Hub into messages of one sentence.

    Args:
        repo_id, revision: the dataset.
        lacking: end of the message if a requested file does not exist.

    Raises:
        InputError: instead of the client libraries' errors.
    """
    try:
        yield
    except GatedRepoError as error:
        raise InputError(f"{repo_id} is a gated dataset: request access to it on its Hub page") from error
    except RepositoryNotFoundError as error:
        raise InputError(
            f"Dataset {repo_id} does not exist on the Hub, or this token cannot read it: check the name, and for a "
            "private dataset the token (HF_TOKEN, --hub_token or `hf auth login`)"
        ) from error
    except RevisionNotFoundError as error:
        raise InputError(f"Dataset {repo_id} has no revision {revision}: remove it to use the newest") from error
    except LocalEntryNotFoundError as error:
        raise InputError(
            f"{repo_id} is neither a local folder nor in the Hub's cache, and the Hub cannot be reached: check the "
            "name or the connection"
        ) from error
    except EntryNotFoundError as error:
        raise InputError(f"Dataset {repo_id} on the Hub {lacking}") from error
    except OfflineModeIsEnabled as error:
        raise InputError(
            f"HF_HUB_OFFLINE is set, and {repo_id} is not a local folder: unset it, or download the dataset and give "
            "its folder"
        ) from error
    except httpx2.TransportError as error:
        raise InputError(
            f"The connection to the Hub was lost while reading {repo_id} ({error}): run the same command again; "
            "finished downloads are reused"
        ) from error
    except HfHubHTTPError as error:
        if error.response is not None and error.response.status_code == 401:
            raise InputError(
                f"The Hub rejected the token for {repo_id}: check HF_TOKEN or --hub_token, or log in "
                "again with `hf auth login`"
            ) from error
        raise InputError(f"The Hub refused access to {repo_id}: {str(error).splitlines()[0]}") from error
