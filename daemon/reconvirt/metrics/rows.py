"""One row of the table of metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PREFIX = "reconvirt_virtual_server_"

Kind = Literal["counter", "gauge", "info"]


@dataclass(frozen=True, slots=True)
class Row:
    """One metric.

    Attributes:
        name: without the prefix, and without the ``_total`` or ``_info`` that its kind adds.
        kind: what it may be used for; a counter only grows while the virtual server runs.
        help: what it means.
        labels: its labels besides ``virtual_server``.
        key: libvirt's key in the bulk statistics, without its number; "" where it is not there.
        scale: what libvirt's number is multiplied by.
        virsh: the command of virsh that shows the same; "" for none.
        running: whether it is exported only for virtual servers that run.
        sort: the value of the label ``result`` or ``direction`` where several keys share a name.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    key: str = ""
    scale: float = 1
    virsh: str = ""
    running: bool = False
    sort: str = ""

    @property
    def family(self) -> str:
        """The name of the family, as Prometheus' client takes it."""
        return (PREFIX + self.name).rstrip("_")

    @property
    def exported(self) -> str:
        """The name of the series."""
        return self.family + {"counter": "_total", "info": "_info", "gauge": ""}[self.kind]
