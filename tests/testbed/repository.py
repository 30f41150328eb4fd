"""Git repositories of manifests, as people use them."""

import os
import subprocess
from pathlib import Path

from testbed.waiting import limit

MANIFEST = """apiVersion: reconvirt/v1
kind: VirtualServer
metadata: {{name: {name}}}
spec: {{memory: {memory}, vcpu: 1, os: {{arch: s390x, machine: s390-ccw-virtio}}}}
"""


class Repository:
    """A work tree, used as people use it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        self("init", "--quiet", "--initial-branch=main")

    def __call__(self, *arguments: str | Path) -> str:
        environment = {
            **os.environ,
            **{f"GIT_{who}_NAME": "Ann" for who in ("AUTHOR", "COMMITTER")},
            **{f"GIT_{who}_EMAIL": "ann@example.com" for who in ("AUTHOR", "COMMITTER")},
            "GIT_CONFIG_GLOBAL": "/dev/null",
        }
        command = ["git", "-C", self.path, *arguments]
        done = subprocess.run(
            command, env=environment, check=True, capture_output=True, text=True, timeout=limit(60)
        )
        return done.stdout.strip()

    def write(self, name: str = "web1", memory: str = "1 GiB", folder: str = "desired") -> Path:
        file = self.path / folder / f"{name}.yaml"
        file.parent.mkdir(exist_ok=True, parents=True)
        file.write_text(MANIFEST.format(name=name, memory=memory))
        return file

    def commit(self, *options: str) -> str:
        self("add", "--all")
        self("commit", "--quiet", "--allow-empty", "--message=a change", *options)
        return self("rev-parse", "HEAD")
