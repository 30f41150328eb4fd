"""An iSCSI target in user space: a SCSI device that needs no driver in the kernel."""

import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from testbed.ports import free_port
from testbed.waiting import wait_until

START_SECONDS = 30.0


class IscsiTarget:
    """One logical unit, 1, on a file. Use it as a context manager."""

    NAME = "iqn.2024-01.reconvirt.test:unit"

    def __init__(self, file: Path, address: str) -> None:
        self._file, self._address = file, address
        self._port = free_port()
        self._environment = {**os.environ, "TGT_IPC_SOCKET": f"{file}.socket"}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self._file.open("wb") as file:
            file.truncate(1 << 20)
        portal = f"portal={self._address}:{self._port}"
        command = ["tgtd", "--foreground", "--iscsi", portal]
        with self._file.with_suffix(".log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=self._environment)
        try:
            self._make()
        except BaseException:
            self._end()
            raise
        return self

    def _make(self) -> None:
        target = ("--mode", "target", "--tid", "1")
        wait_until(
            lambda: self._tgtadm("--op", "new", *target, "--targetname", self.NAME),
            START_SECONDS,
            "the iSCSI target",
        )
        unit = ("--mode", "logicalunit", "--tid", "1", "--lun", "1")
        assert self._tgtadm("--op", "new", *unit, "--backing-store", str(self._file))
        assert self._tgtadm("--op", "bind", *target, "--initiator-address", "ALL")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def _end(self) -> None:
        assert self._process is not None
        self._process.kill()  # it does not end when it is asked to
        self._process.wait()

    @property
    def xml(self) -> str:
        """The device as libvirt takes it."""
        return f"""
<hostdev mode='subsystem' type='scsi'>
  <source protocol='iscsi' name='{self.NAME}/1'>
    <host name='{self._address}' port='{self._port}'/>
  </source>
  <address type='drive' controller='0' bus='0' target='0' unit='0'/>
</hostdev>
"""

    def _tgtadm(self, *arguments: str) -> bool:
        command = ["tgtadm", "--lld", "iscsi", *arguments]
        done = subprocess.run(
            command, env=self._environment, capture_output=True, timeout=START_SECONDS, check=False
        )
        return done.returncode == 0
