"""Downloads one file over HTTP: resumes after an interruption, and verifies the checksum.

pooch verifies and stores finished files. Its own downloader always starts from the beginning, so ours replaces it. A
partial download is NAME.part next to the finished file, and NAME.part.version holds the version of the server's file
that it belongs to. All URLs, including redirects, must be https, and downloads that are too large are stopped.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from hf_audio.data.index.table import CorpusCard
from hf_audio.errors import InputError, one_line
from hf_audio.files import open_for_writing, read_text, write_atomically
from hf_audio.terminal import progress

if TYPE_CHECKING:
    from requests import Response

CONNECT_S, READ_S = 15.0, 60.0  # timeouts
MAX_FAILURES = 4  # in a row without a byte of progress
FIRST_WAIT_S = 1.0  # doubled after each failure
CHUNK_BYTES = 1 << 14  # small, so that little is lost with the connection
BUSY = (408, 425, 429)  # status codes to retry, besides those from 500
REDIRECTED = (301, 302, 303, 307, 308)
MAX_REDIRECTS = 10
MARGIN, MARGIN_BYTES = 0.1, 1_000_000  # tolerance for the size of a file, which is usually rounded
MAX_VERSION_BYTES = 1_000
LOOPBACK = ("127.0.0.1", "localhost", "::1")  # needs no encryption


class _InterruptedError(Exception):
    """The transfer ended early; the partial download is kept."""


def fetch(url: str, path: Path, checksum: str, num_bytes: float, card: CorpusCard) -> None:
    """Downloads `url` to `path`, resuming NAME.part if it exists; does nothing if the file is complete.

    Args:
        url: an https URL; http is allowed only for this machine.
        path: where to store the finished file.
        checksum: "md5:..." or "sha1:..." or "sha256:...".
        num_bytes: approximate size; 10 % more is refused.
        card: the card of the corpus, for messages.

    Raises:
        InputError: pooch is missing, a URL is not https, the server has no such file or cannot be reached, the file is
            too large, the connection was lost repeatedly, the checksum differs (the file is then removed), or the disk
            cannot be written.
    """
    try:
        import pooch
    except ImportError:
        raise InputError(
            f'Downloading {card.name} needs pooch: pip install "hf_audio[corpora]", or give --data_dir'
        ) from None
    pooch.get_logger().setLevel(logging.WARNING)
    downloader = _ResumingDownloader(path, int(with_margin(num_bytes)), card)
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise InputError(f"{path} is a link, folder or pipe, not a regular file: remove it")
    try:
        pooch.retrieve(url, known_hash=checksum, fname=path.name, path=path.parent, downloader=downloader)
        downloader.forget()
    except InputError:
        raise
    except ValueError as error:  # the checksum differs, and pooch has removed the file
        downloader.forget()
        raise InputError(
            f"{path.name} from {urlsplit(url).hostname} differs from its checksum {checksum} and was "
            f"removed; run the same command again; if that does not help, get {card.name} from {card.homepage}"
        ) from error
    except OSError as error:
        raise unwritable(path.parent, error) from error


def arrived_bytes(path: Path) -> int:
    """Bytes of the finished or partial download of `path` on disk."""
    for candidate in (path, _part(path)):
        with contextlib.suppress(OSError):
            return candidate.stat().st_size
    return 0


def with_margin(num_bytes: float) -> float:
    """The maximum accepted size for a file of about `num_bytes`."""
    return num_bytes * (1 + MARGIN) + MARGIN_BYTES


def as_size(num_bytes: float) -> str:
    """A human-readable number of bytes, such as 7.7 GB."""
    power = next((power for power in range(4) if num_bytes < 999.5 * 1000**power), 4)
    shown = num_bytes / 1000**power
    return f"{shown:.{0 if power == 0 or shown >= 99.95 else 1}f} {('bytes', 'kB', 'MB', 'GB', 'TB')[power]}"


def unwritable(folder: Path, error: OSError) -> InputError:
    """The error for a file below `folder` that could not be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return InputError(f"The disk of {folder} is full; free some space and run the same command again to resume")
    reason = error.strerror or one_line(error)
    return InputError(f"{error.filename or folder} cannot be written ({reason}); fix that or choose another --data_dir")


def _part(path: Path) -> Path:
    return path.with_name(path.name + ".part")


class _ResumingDownloader:
    """A downloader for pooch: requests the rest of a partial download, and retries when the connection is lost."""

    def __init__(self, path: Path, max_bytes: int, card: CorpusCard) -> None:
        self.name, self.max_bytes, self.card, self.part = path.name, max_bytes, card, _part(path)
        self.version = self.part.with_name(self.part.name + ".version")

    def __call__(self, url: str, output_file: str, _: Any) -> None:
        failures, furthest = 0, self._arrived()
        while True:
            try:
                self._receive(url)
                break
            except _InterruptedError as stop:
                arrived = self._arrived()
                failures = 1 if arrived > furthest else failures + 1
                furthest = max(furthest, arrived)
                if failures >= MAX_FAILURES:
                    raise InputError(self._gave_up(url, arrived, str(stop))) from stop
                time.sleep(FIRST_WAIT_S * 2 ** (failures - 1))
        try:  # a second name, so that nothing is lost if the run is killed while pooch computes the checksum
            os.unlink(output_file)
            os.link(self.part, output_file)
        except OSError:
            os.replace(self.part, output_file)

    def forget(self) -> None:
        """Removes the partial download."""
        self.part.unlink(missing_ok=True)
        self.version.unlink(missing_ok=True)

    def _receive(self, url: str) -> None:
        """Requests the missing part once and writes it.

        Raises:
            _InterruptedError: the transfer was incomplete.
            InputError: retrying would not help.
        """
        import requests
        import urllib3

        arrived = self._arrived()
        self._require_right_size(arrived, url)
        # without compression in transit, because a range would then refer to the compressed file
        headers = {"User-Agent": "hf_audio", "Accept-Encoding": "identity"}
        if arrived:
            headers["Range"] = f"bytes={arrived}-"
            if self.version.is_file():  # if the file has changed since, the server sends all of it
                headers["If-Range"] = read_text(self.version, MAX_VERSION_BYTES)
        try:
            with self._ask(url, headers) as response:
                start, total = self._understand(response, url, arrived)
                if response.status_code != 416:
                    self._require_right_size(total or 0, url)
                    self._write(response, url, start, total)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise _InterruptedError(_reason(error)) from error
        if total is not None and self._arrived() != total:
            raise _InterruptedError(f"{as_size(self._arrived())} of {as_size(total)} arrived")

    def _ask(self, url: str, headers: dict[str, str]) -> Response:
        """The response after redirects, each of which is checked; bodies of redirects are not read."""
        import requests

        for _ in range(MAX_REDIRECTS):
            self._require_private(url)
            with requests.Session() as session:
                # otherwise requests would read the whole body of a redirect
                session.get_redirect_target = lambda resp: None  # type: ignore[method-assign]
                response = session.get(url, headers=headers, stream=True, timeout=(CONNECT_S, READ_S))
            if response.status_code not in REDIRECTED or "Location" not in response.headers:
                return response
            response.close()
            try:
                url = urljoin(url, response.headers["Location"])
            except ValueError as error:
                raise _InterruptedError("it redirects to an invalid URL") from error
        raise _InterruptedError("it redirects endlessly")

    def _require_private(self, url: str) -> None:
        """Refuses a URL without encryption, where the file could be replaced or the request read on the way."""
        address = urlsplit(url)
        if address.scheme != "https" and not (address.scheme == "http" and address.hostname in LOOPBACK):
            raise InputError(
                f"{self.name} would be downloaded from {url}, which is not https, so it could be replaced on the way; "
                f"get {self.card.name} from {self.card.homepage} and give its folder as --data_dir"
            )

    def _require_right_size(self, num_bytes: int, url: str) -> None:
        if num_bytes > self.max_bytes:
            self.forget()
            raise InputError(
                f"{urlsplit(url).hostname} sends {as_size(num_bytes)} or more for {self.name}, expected at most "
                f"{as_size(self.max_bytes)}, so it is the wrong file; get {self.card.name} from "
                f"{self.card.homepage} and give its folder as --data_dir"
            )

    def _understand(self, response: Response, url: str, arrived: int) -> tuple[int, int | None]:
        """The position in the file where the response begins, and the file's size if the server states it."""
        status, headers = response.status_code, response.headers
        if status >= 500 or status in BUSY:
            raise _InterruptedError(f"it answers {status} {response.reason}")
        if status in (206, 416):  # 416: the download is already complete
            said = re.fullmatch(r"bytes (?:(\d{1,18})-\d{1,18}|\*)/(\d{1,18})", headers.get("Content-Range", ""))
            start, total = (int(said[1] or said[2]), int(said[2])) if said else (None, None)
            if start != arrived:
                self.forget()
                raise _InterruptedError("it does not resume the partial download")
            return start, total
        by_hand = f"get {self.card.name} from {self.card.homepage} and give its folder as --data_dir"
        host = urlsplit(url).hostname
        if status != 200:
            raise InputError(f"{host} answers {status} {response.reason} for {url}, so it may have moved; {by_hand}")
        if headers.get("Content-Type", "").startswith("text/html"):
            raise InputError(
                f"{host} sends a web page instead of {self.name}; open {url} in a browser to see what it says, or "
                f"{by_hand}"
            )
        self.forget()
        versions = (headers.get("ETag", ""), headers.get("Last-Modified", ""))
        # weak validators (W/...) are not allowed in If-Range, and valid ones are printable ASCII
        usable = (version for version in versions if re.fullmatch(r"(?!W/)[!-~ ]{1,200}", version))
        version = next(usable, None)
        if version:
            write_atomically(self.version, version)
        length = headers.get("Content-Length", "")
        return 0, int(length) if re.fullmatch(r"[0-9]{1,18}", length) else None

    def _write(self, response: Response, url: str, start: int, total: int | None) -> None:
        arrived = start
        try:
            with (
                open_for_writing(self.part, "ab") as file,
                progress(desc=self.name, initial=start, total=total, unit="B", unit_scale=True) as bar,
            ):
                for chunk in response.raw.stream(CHUNK_BYTES, decode_content=False):
                    arrived += len(chunk)
                    self._require_right_size(arrived, url)
                    file.write(chunk)
                    bar.update(len(chunk))
                file.flush()
                os.fsync(file.fileno())  # before the rename: a power failure then leaves no file with holes
        except OSError as error:  # not of the network: urllib3 has its own exceptions
            raise unwritable(self.part.parent, error) from error

    def _arrived(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _gave_up(self, url: str, arrived: int, reason: str) -> str:
        host = urlsplit(url).hostname
        if arrived:
            return (
                f"The connection to {host} was lost {MAX_FAILURES} times after {as_size(arrived)} of {self.name} "
                f"({reason}); the partial download is kept: run the same command again to resume"
            )
        return (
            f"{self.name} could not be downloaded from {host} ({reason}); check the connection and run the same "
            f"command again, or get {self.card.name} from {self.card.homepage} and give its folder as --data_dir"
        )


def _reason(error: Exception) -> str:
    """The innermost cause in one line; requests and urllib3 wrap it several times."""
    inner = error.args[0] if error.args else error
    return one_line(getattr(inner, "reason", inner) or error)
