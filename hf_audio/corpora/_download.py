"""Downloading one file over HTTP: resumed where it was interrupted, and checked against its checksum.

pooch does the checking and keeps finished files; its own downloader starts from nothing each time, so it is given ours.
What has arrived lies beside the finished file's place as NAME.part, and NAME.part.version says of which version of the
server's file it is a part. Every address on the way is https, and a server that sends more than there should be is cut
off.
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

CONNECT_S, READ_S = 15.0, 60.0  # how long a server may be silent
MAX_FAILURES = 4  # without a byte of progress in between
FIRST_WAIT_S = 1.0  # doubled after each failure
CHUNK_BYTES = 1 << 14  # small, so that little is lost when the connection is
BUSY = (408, 425, 429)  # answers, beside those from 500 on, that may be another one soon
REDIRECTED = (301, 302, 303, 307, 308)
MAX_REDIRECTS = 10
MARGIN, MARGIN_BYTES = 0.1, 1_000_000  # beyond the size that is known of a file, which is mostly rounded
MAX_VERSION_BYTES = 1_000
LOOPBACK = ("127.0.0.1", "localhost", "::1")  # nobody is on the way to it


class _InterruptedError(Exception):
    """The transfer ended early; what has arrived is kept."""


def fetch(url: str, path: Path, checksum: str, num_bytes: float, card: CorpusCard) -> None:
    """Downloads `url` to `path`, going on from NAME.part where there is one; does nothing where the file is complete.

    Args:
        url: https; http on this machine.
        path: the finished file.
        checksum: "md5:..." or "sha1:..." or "sha256:...".
        num_bytes: about how large it is; of a tenth more, nothing is taken.
        card: the corpus, for messages.

    Raises:
        InputError: pooch is missing, an address is not https, the server has no such file or cannot be reached, it
            sends too much, the connection was lost repeatedly, the checksum is another one (the file is then removed),
            or the disk cannot be written.
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
        raise InputError(f"{path} is a link, folder or pipe and not a regular file: remove it")
    try:
        pooch.retrieve(url, known_hash=checksum, fname=path.name, path=path.parent, downloader=downloader)
        downloader.forget()
    except InputError:
        raise
    except ValueError as error:  # pooch has found another checksum and removed the file
        downloader.forget()
        raise InputError(
            f"{path.name} from {urlsplit(url).hostname} differs from its checksum {checksum} and was "
            f"removed; run the same command again; if that does not help, get {card.name} from {card.homepage}"
        ) from error
    except OSError as error:
        raise unwritable(path.parent, error) from error


def arrived_bytes(path: Path) -> int:
    """How much of the file that will be `path` is on disk."""
    for candidate in (path, _part(path)):
        with contextlib.suppress(OSError):
            return candidate.stat().st_size
    return 0


def with_margin(num_bytes: float) -> float:
    """The most that may come where about `num_bytes` should."""
    return num_bytes * (1 + MARGIN) + MARGIN_BYTES


def as_size(num_bytes: float) -> str:
    """A number of bytes for people: 7.7 GB."""
    power = next((power for power in range(4) if num_bytes < 999.5 * 1000**power), 4)
    shown = num_bytes / 1000**power
    return f"{shown:.{0 if power == 0 or shown >= 99.95 else 1}f} {('bytes', 'kB', 'MB', 'GB', 'TB')[power]}"


def unwritable(folder: Path, error: OSError) -> InputError:
    """What to say when a file below `folder` could not be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return InputError(f"The disk of {folder} is full; free some space and run the same command again to resume")
    reason = error.strerror or one_line(error)
    return InputError(f"{error.filename or folder} cannot be written ({reason}); fix that or choose another --data_dir")


def _part(path: Path) -> Path:
    return path.with_name(path.name + ".part")


class _ResumingDownloader:
    """What pooch calls to download: asks for the rest of what a former run left, and again when the line breaks."""

    def __init__(self, path: Path, most_bytes: int, card: CorpusCard) -> None:
        self.name, self.most_bytes, self.card, self.part = path.name, most_bytes, card, _part(path)
        self.version = self.part.with_name(self.part.name + ".version")

    def __call__(self, url: str, output_file: str, _: Any) -> None:
        failures, most = 0, self._arrived()
        while True:
            try:
                self._receive(url)
                break
            except _InterruptedError as stop:
                arrived = self._arrived()
                failures = 1 if arrived > most else failures + 1
                most = max(most, arrived)
                if failures >= MAX_FAILURES:
                    raise InputError(self._gave_up(url, arrived, str(stop))) from stop
                time.sleep(FIRST_WAIT_S * 2 ** (failures - 1))
        try:  # a second name for it, so that a run that is killed while pooch reads all of it loses nothing
            os.unlink(output_file)
            os.link(self.part, output_file)
        except OSError:
            os.replace(self.part, output_file)

    def forget(self) -> None:
        """Removes what has arrived."""
        self.part.unlink(missing_ok=True)
        self.version.unlink(missing_ok=True)

    def _receive(self, url: str) -> None:
        """Asks once for what is missing and writes what comes.

        Raises:
            _InterruptedError: it ended before the end.
            InputError: trying again would not help.
        """
        import requests
        import urllib3

        arrived = self._arrived()
        self._require_right_size(arrived, url)
        # archives as they are, not packed once more: a range would be one of the packed file
        headers = {"User-Agent": "hf_audio", "Accept-Encoding": "identity"}
        if arrived:
            headers["Range"] = f"bytes={arrived}-"
            if self.version.is_file():  # where the file has changed since, the server then sends all of it
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
            raise _InterruptedError(f"{as_size(self._arrived())} of {as_size(total)} came")

    def _ask(self, url: str, headers: dict[str, str]) -> Response:
        """The answer at the end of redirections: each is looked at first, and what comes with it is not read."""
        import requests

        for _ in range(MAX_REDIRECTS):
            self._require_private(url)
            with requests.Session() as session:
                # else what comes with it is read to its end
                session.get_redirect_target = lambda resp: None  # type: ignore[method-assign]
                response = session.get(url, headers=headers, stream=True, timeout=(CONNECT_S, READ_S))
            if response.status_code not in REDIRECTED or "Location" not in response.headers:
                return response
            response.close()
            try:
                url = urljoin(url, response.headers["Location"])
            except ValueError as error:
                raise _InterruptedError("it redirects to something that is not an address") from error
        raise _InterruptedError("it redirects endlessly")

    def _require_private(self, url: str) -> None:
        """Refuse an address where what comes could be replaced, or the question read, on the way."""
        address = urlsplit(url)
        if address.scheme != "https" and not (address.scheme == "http" and address.hostname in LOOPBACK):
            raise InputError(
                f"{self.name} would be downloaded from {url}, which is not https, so it could be replaced on the "
                "way; get "
                f"{self.card.name} from {self.card.homepage} and give its folder as --data_dir"
            )

    def _require_right_size(self, num_bytes: int, url: str) -> None:
        if num_bytes > self.most_bytes:
            self.forget()
            raise InputError(
                f"{urlsplit(url).hostname} sends {as_size(num_bytes)} or more for {self.name} and there should be "
                f"{as_size(self.most_bytes)} at most, so it is another file; get {self.card.name} from "
                f"{self.card.homepage} and give its folder as --data_dir"
            )

    def _understand(self, response: Response, url: str, arrived: int) -> tuple[int, int | None]:
        """Where in the file the answer begins, and how long the whole file is where the server says so."""
        status, headers = response.status_code, response.headers
        if status >= 500 or status in BUSY:
            raise _InterruptedError(f"it answers {status} {response.reason}")
        if status in (206, 416):  # 416: there is nothing behind what has arrived
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
        # weak ones, W/..., may not be asked with, and what is not printable ASCII is none
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
                os.fsync(file.fileno())  # before it gets its last name: a power cut then leaves no file with holes
        except OSError as error:  # what the network does is no OSError here: urllib3 has its own
            raise unwritable(self.part.parent, error) from error

    def _arrived(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _gave_up(self, url: str, arrived: int, reason: str) -> str:
        host = urlsplit(url).hostname
        if arrived:
            return (
                f"The connection to {host} was lost {MAX_FAILURES} times after {as_size(arrived)} of {self.name} "
                f"({reason}); that much is kept, and the same command resumes from there"
            )
        return (
            f"{self.name} could not be downloaded from {host} ({reason}); check the connection and run the same "
            f"command again, or get {self.card.name} from {self.card.homepage} and give its folder as --data_dir"
        )


def _reason(error: Exception) -> str:
    """The innermost cause, in short: requests and urllib3 wrap it several times."""
    inner = error.args[0] if error.args else error
    return one_line(getattr(inner, "reason", inner) or error)
