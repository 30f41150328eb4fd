"""Reading one virtual server from libvirt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import libvirt

from reconvirt.domain.observed import Observed, State
from reconvirt.hypervisor.states import name_state

Read = Callable[..., Any]

_INACTIVE = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE
# Without SECURE the XML lacks passwords, and defining it again would erase them.
_ACTIVE = libvirt.VIR_DOMAIN_XML_SECURE


def observe_domain(domain: libvirt.virDomain, read: Read) -> Observed:
    """A virtual server as libvirt has it now.

    The state is read before and after the XML of a running one would be too much asked: a start
    or stop in between is seen as an event and looked at again.
    """
    # The state of one that is shut off needs no call: libvirt gives its number as -1.
    domain_id = domain.ID()
    if domain_id == -1:
        config = read(domain.XMLDesc, _INACTIVE)
        return Observed(
            domain.name(), domain.UUIDString(), None, State.SHUTOFF, "", config, live=None
        )
    state, reason = read(domain.state)
    live = read(domain.XMLDesc, _ACTIVE) if state != libvirt.VIR_DOMAIN_SHUTOFF else None
    return Observed(
        domain.name(),
        domain.UUIDString(),
        domain_id if live else None,
        *name_state(state, reason),
        read(domain.XMLDesc, _INACTIVE),
        live,
    )
