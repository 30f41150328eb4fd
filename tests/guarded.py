"""What the guard reads of a libvirt that is made up, for the fakes of unit tests."""

from __future__ import annotations

from reconvirt.domain.mark import mark_text
from reconvirt.domain.observed import Identity, Observed
from reconvirt.domain.xmltree import parse_xml


def identity(seen: Observed) -> Identity:
    """What tells a domain from others, as libvirt would say it of this observation."""
    mark = mark_text(parse_xml(seen.config))
    return Identity(seen.uuid, seen.name, seen.domain_id, seen.persistent, mark)


class Guarded:
    """A libvirt with at most one domain, which is not changed between plan and call.

    Attributes:
        seen: the domain; None if there is none.
    """

    seen: Observed | None

    def identify(self, _uuid: str, _name: str) -> tuple[Identity, ...]:
        return () if self.seen is None else (identity(self.seen),)

    def read_config(self, _uuid: str) -> str:
        return self.seen.config if self.seen else ""

    def storage_conflicts(self, _uuid: str, _xml: str, **_how: bool) -> tuple[str, ...]:
        return ()

    def release_storage(self, _uuid: str) -> None:
        pass

    def block_jobs(self, _uuid: str) -> tuple[str, ...]:
        return ()

    def missing_sources(self, _xml: str) -> tuple[str, ...]:
        return ()
