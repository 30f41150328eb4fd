"""A real browser without a screen, driven as WebDriver says; and its pictures for people."""

import base64
import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from testbed.guest import REPOSITORY
from testbed.ports import free_port
from testbed.waiting import limit, wait_until

ARTEFACTS = REPOSITORY / ".artefacts"
START_SECONDS = 60.0
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def dump_dom(url: str) -> str:
    """The document that a browser of its own makes of a page, as HTML."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = ["chromium", *FLAGS, f"--user-data-dir={profile}", "--dump-dom", url]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=limit(120), check=True
        )
    return done.stdout


class Browser:
    """A Chromium with a profile of its own, for a with statement.

    Args:
        scripts: whether pages may run scripts.
        dark: whether its user likes dark pages.
        size: of its window, in pixels.
    """

    def __init__(
        self, *, scripts: bool = True, dark: bool = False, size: tuple[int, int] = (1300, 1000)
    ) -> None:
        self._scripts = scripts
        self._dark = dark
        self._size = size

    def __enter__(self) -> Self:
        port = free_port()
        self._url = f"http://127.0.0.1:{port}"
        self._profile = Path(tempfile.mkdtemp(prefix="browser-"))
        self._driver = subprocess.Popen(
            ["chromedriver", f"--port={port}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            wait_until(self._ready, START_SECONDS, "chromedriver")
            self._url += f"/session/{self._start()}"
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        try:
            self._ask("DELETE", "")
        finally:
            self._end()

    def open(self, url: str) -> None:
        """Load a page."""
        self._ask("POST", "/url", {"url": url})

    def run(self, script: str) -> Any:
        """What a script returns, run beside the page's own."""
        return self._ask("POST", "/execute/sync", {"script": script, "args": []})

    def text(self, selector: str) -> str:
        """What a reader sees of the first element that a CSS selector finds."""
        found = self._ask("POST", "/element", {"using": "css selector", "value": selector})
        return str(self._ask("GET", f"/element/{next(iter(found.values()))}/text"))

    def press(self, *keys: str) -> None:
        """Press keys where the focus is, one after the other."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        board = {"type": "key", "id": "keyboard", "actions": actions}
        self._ask("POST", "/actions", {"actions": [board]})

    def complaints(self) -> list[str]:
        """What the browser has complained of since it was last asked, broken policies included."""
        return [each["message"] for each in self._ask("POST", "/se/log", {"type": "browser"})]

    def picture(self, name: str) -> Path:
        """Keep what is seen, the whole length of the page, for people to look at."""
        height = self.run("return document.documentElement.scrollHeight")
        width = self._size[0]
        self._ask("POST", "/window/rect", {"width": width, "height": min(int(height) + 150, 4000)})
        ARTEFACTS.mkdir(exist_ok=True)
        path = ARTEFACTS / f"{name}.png"
        path.write_bytes(base64.b64decode(self._ask("GET", "/screenshot")))
        return path

    def _start(self) -> str:
        width, height = self._size
        preferences = {"profile.managed_default_content_settings.javascript": 2}
        options = {
            "binary": shutil.which("chromium"),
            "args": [
                *FLAGS,
                f"--user-data-dir={self._profile}",
                f"--window-size={width},{height}",
                f"--blink-settings=preferredColorScheme={0 if self._dark else 1}",
            ],
            "prefs": {} if self._scripts else preferences,
        }
        wish = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        return str(
            self._ask("POST", "/session", {"capabilities": {"alwaysMatch": wish}})["sessionId"]
        )

    def _ready(self) -> bool:
        try:
            return bool(self._ask("GET", "/status")["ready"])
        except urllib.error.URLError:
            return False

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self._url + path, data, headers, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=limit(120)) as response:
                return json.load(response)["value"]
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{method} {path}: {error.read().decode()}") from None

    def _end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._driver.pid, signal.SIGKILL)
        self._driver.wait()
        shutil.rmtree(self._profile, ignore_errors=True)
