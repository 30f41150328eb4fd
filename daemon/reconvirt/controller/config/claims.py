"""The section ``[etcd]``: where claims on virtual servers are kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from reconvirt.controller.config.settings import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class EtcdSettings:
    """How etcd is reached."""

    endpoints: tuple[str, ...] = setting(
        ("http://127.0.0.1:2379",),
        about="the URLs of its members, asked in turn",
        pattern=r"https?://[^/\s]+",
        examples=("https://etcd1:2379",),
    )
    prefix: str = setting(
        "/reconvirt",
        about="what the keys begin with",
        pattern=r"/[A-Za-z0-9_./-]*[A-Za-z0-9]",
        examples=("/reconvirt",),
    )
    ca: Path | None = setting(None, about="the certificates that etcd's own is checked with")
    certificate: Path | None = setting(None, about="our certificate for TLS")
    key: Path | None = setting(None, about="its private key")
    username: str | None = setting(None, about="our name, where etcd wants one")
    password_file: Path | None = setting(None, about="the file with the password")
    lease_seconds: int = setting(
        30,
        about="after how many seconds without a sign of life others are told that this host is "
        "not heard of; that alone gives nothing away",
        least=5,
        most=3600,
    )

    def objections(self) -> Iterator[tuple[str, str]]:
        """What does not fit together."""
        if self.username and self.password_file is None:
            yield "password_file", "it must be stated beside username"
        if (self.certificate is None) != (self.key is None):
            yield "key", "certificate and key go together"
