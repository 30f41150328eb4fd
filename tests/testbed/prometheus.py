"""A real Prometheus that scrapes a real daemon, for as long as a test needs it."""

import json
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from testbed.ports import free_port
from testbed.waiting import limit, wait_until

START_SECONDS = 60.0


class Prometheus:
    """Scrapes one address every second into `directory`. Use it as a context manager."""

    def __init__(self, directory: Path, target: str, rules: Path) -> None:
        self._directory = directory
        self._address = f"127.0.0.1:{free_port()}"
        self._process: subprocess.Popen[bytes] | None = None
        parts = urllib.parse.urlsplit(target)
        settings = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(rules)],
            "scrape_configs": [
                {
                    "job_name": "reconvirt",
                    "metrics_path": parts.path,
                    "static_configs": [{"targets": [parts.netloc]}],
                }
            ],
        }
        directory.mkdir()
        (directory / "prometheus.yml").write_text(yaml.safe_dump(settings), encoding="utf-8")

    def __enter__(self) -> Self:
        with (self._directory / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={self._directory}/prometheus.yml",
                    f"--storage.tsdb.path={self._directory}/data",
                    f"--web.listen-address={self._address}",
                ],
                stdout=log,
                stderr=log,
            )
        wait_until(self._is_up, START_SECONDS, "Prometheus to have scraped")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait()

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The result of an instant query."""
        address = f"http://{self._address}/api/v1/query?" + urllib.parse.urlencode(
            {"query": expression}
        )
        with urllib.request.urlopen(address, timeout=limit(30)) as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return found

    def _is_up(self) -> bool:
        try:
            return bool(self.query("up == 1"))
        except OSError:
            return False
