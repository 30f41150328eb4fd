"""What a guest says on its console."""

import re
from pathlib import Path

from testbed.waiting import NotSeen, wait_until

BOOT_SECONDS = 90.0  # emulated on a busy machine; about 5 s on an idle one


class Console:
    """A guest's console log file, read as it grows.

    Each `wait_for` goes on behind the line the last one found, so a test reads as the
    conversation it expects; `text` is everything from the start.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._position = 0

    @property
    def text(self) -> str:
        """All that was said so far; empty while the file does not exist."""
        try:
            return self.path.read_text(encoding="utf-8", errors="replace").replace("\r", "")
        except FileNotFoundError:
            return ""

    def wait_for(self, pattern: str, timeout: float = BOOT_SECONDS) -> re.Match[str]:
        """Wait up to `timeout` seconds for `pattern` (multi-line, `^` and `$` match at lines).

        Raises `NotSeen`, with the console's last lines, when it does not come.
        """
        expression = re.compile(pattern, re.MULTILINE)
        try:
            match = wait_until(
                lambda: expression.search(self.text, self._position), timeout, f"/{pattern}/"
            )
        except NotSeen as error:
            tail = "\n".join(self.text.splitlines()[-15:])
            raise NotSeen(f"{error}; the console {self.path} ends with:\n{tail}") from None
        if match is None:  # cannot be: wait_until returns only what is true
            raise NotSeen(pattern)
        self._position = match.end()
        return match
