"""A real headless Chromium, driven through two pipes by the Chrome DevTools Protocol; no package is needed.

    with Chromium.start() as browser:
        page = browser.open(path)                    a local page
        page.click("button"); page.type("abc"); page.press("Enter")
        page.value("document.title")                 the value of a JavaScript expression
        page.complaints                              faults of the page: exceptions, errors, network requests

https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

PATIENCE_S = 60
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--mute-audio"),
    *("--disable-extensions", "--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--autoplay-policy=no-user-gesture-required", "--window-size=1400,1000", "--remote-debugging-pipe"),
)
# Chromium reads commands from descriptor 3 and answers on descriptor 4
WIRED = 'exec "$@" 3<&"$COMMANDS" 4>&"$ANSWERS"'
KEYS = {"Enter": (13, "\r"), "Escape": (27, ""), " ": (32, " "), "ArrowDown": (40, ""), "ArrowUp": (38, "")}


def chromium() -> str | None:
    """The path of an installed browser, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Chromium:
    """One browser for many pages, used as a context: see `start`."""

    def __init__(self, process: subprocess.Popen, commands: int, answers: int, folder: Path) -> None:
        self.process, self.folder = process, folder
        self._commands, self._answers = commands, answers
        self._number, self._rest, self._said = 0, b"", []

    @classmethod
    @contextlib.contextmanager
    def start(cls) -> Iterator[Chromium]:
        """Starts a browser. Its profile and downloads are in a temporary folder."""
        with tempfile.TemporaryDirectory(prefix="hf_audio_chromium_", ignore_cleanup_errors=True) as folder:
            (theirs, commands), (answers, back) = os.pipe(), os.pipe()
            env = os.environ | {"COMMANDS": str(theirs), "ANSWERS": str(back), "HOME": folder}
            command = ["bash", "-c", WIRED, "sh", chromium(), *FLAGS, f"--user-data-dir={folder}/profile"]
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            process = subprocess.Popen(command, env=env, pass_fds=(theirs, back), **quiet)
            os.close(theirs), os.close(back)
            browser = cls(process, commands, answers, Path(folder))
            try:
                yield browser
            finally:
                with contextlib.suppress(Exception):
                    browser.call("Browser.close")
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(10)
                process.kill(), process.wait()
                os.close(commands), os.close(answers)

    def open(self, path: str | Path) -> Page:
        """Opens a local page and waits until it is loaded; its tab shares no storage with others."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, target, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(f"{domain}.enable")
        downloads = self.folder / f"downloads-{session[:8]}"
        downloads.mkdir()
        where = {"behavior": "allow", "downloadPath": str(downloads), "browserContextId": context}
        self.call("Browser.setDownloadBehavior", **where)
        page.downloads = downloads
        page.go(path)
        return page

    def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """Sends a command and returns its answer; events in between are stored."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params} | ({"sessionId": session} if session else {})
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + PATIENCE_S
        while True:
            answer = self._next(until)
            if answer is None:
                raise TimeoutError(f"Chromium does not answer to {method}")
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            self._said.append(answer)

    def events(self, session: str) -> list[dict[str, Any]]:
        """Events of a page since the last call."""
        while (answer := self._next(0.0)) is not None:
            self._said.append(answer)
        found = [one for one in self._said if one.get("sessionId") == session]
        self._said = [one for one in self._said if one.get("sessionId") != session]
        return found

    def _next(self, until: float) -> dict[str, Any] | None:
        while b"\0" not in self._rest:
            if not select.select([self._answers], [], [], max(0.0, until - time.monotonic()))[0]:
                return None
            received = os.read(self._answers, 1 << 20)
            if not received:
                raise ConnectionError(f"Chromium has ended, exit code {self.process.poll()}")
            self._rest += received
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)


class Page:
    """One tab. `complaints` are exceptions, console errors, and requests to a network."""

    def __init__(self, browser: Chromium, target: str, session: str) -> None:
        self.browser, self.target, self.session = browser, target, session
        self.downloads = browser.folder
        self._complaints: list[str] = []

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        return self.browser.call(method, self.session, **params)

    def go(self, path: str | Path) -> None:
        """Opens a page in this tab."""
        self.call("Page.navigate", url=Path(path).absolute().as_uri())
        self.until("document.readyState === 'complete' && location.protocol === 'file:'")

    def value(self, expression: str) -> Any:
        """The value of a JavaScript expression; promises are awaited. Raises AssertionError with what it throws."""
        found = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True, userGesture=True
        )
        assert "exceptionDetails" not in found, (expression, found["exceptionDetails"])
        return found["result"].get("value")

    def until(self, expression: str) -> Any:
        """Waits until a JavaScript expression is true."""
        return wait_for(lambda: self.value(expression), expression)

    def click(self, selector: str, x: float | None = None, y: float | None = None) -> None:
        """Clicks in the middle of the first matching element, or at a position in it in pixels."""
        box = self.value(
            f"(() => {{ const one = document.querySelector({json.dumps(selector)}); one.scrollIntoView({{block: "
            "'center'}); const box = one.getBoundingClientRect(); return [box.x, box.y, box.width, box.height]; })()"
        )
        at = {"x": box[0] + (box[2] / 2 if x is None else x), "y": box[1] + (box[3] / 2 if y is None else y)}
        self.call("Input.dispatchMouseEvent", type="mouseMoved", **at)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **at)

    def type(self, text: str) -> None:
        """Types text into the element that has the focus."""
        self.call("Input.insertText", text=text)

    def press(self, key: str, modifiers: int = 0) -> None:
        """Presses one key; modifiers are 1 Alt, 2 Control, 8 Shift."""
        code, text = KEYS.get(key, (ord(key[0].upper()), key))
        pressed = {"key": key, "windowsVirtualKeyCode": code, "modifiers": modifiers}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **pressed)
        self.call("Input.dispatchKeyEvent", type="keyUp", **pressed)

    def choose_file(self, selector: str, path: Path) -> None:
        """Chooses a file in an input element."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", files=[str(path)], nodeId=node)

    def downloaded(self) -> Path:
        """Waits for the file that the page downloads."""
        return wait_for(
            lambda: next((one for one in self.downloads.iterdir() if one.suffix != ".crdownload"), None), "a download"
        )

    @property
    def complaints(self) -> list[str]:
        """All faults of the page up to now."""
        for event in self.browser.events(self.session):
            said = event["params"]
            if event["method"] == "Runtime.exceptionThrown":
                self._complaints.append(str(said["exceptionDetails"].get("exception", said))[:500])
            elif event["method"] == "Log.entryAdded" and said["entry"]["level"] == "error":
                self._complaints.append(f"{said['entry']['text']} {said['entry'].get('url', '')}")
            elif event["method"] == "Network.requestWillBeSent":
                url = said["request"]["url"]
                if not url.startswith(("file:", "data:", "blob:")):
                    self._complaints.append(f"requests {url}")
        return self._complaints

    def close(self) -> None:
        self.browser.call("Target.closeTarget", targetId=self.target)


def wait_for(found: Callable[[], Any], what: str) -> Any:
    """Calls a function until its result is true."""
    until = time.monotonic() + PATIENCE_S
    while not (answer := found()):
        assert time.monotonic() < until, f"waited in vain for {what}"
        time.sleep(0.02)
    return answer
