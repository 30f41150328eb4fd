"""Manifests and domains of many shapes, for the property tests."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from reconvirt.domain.desired import Desired, desire
from reconvirt.manifest.model import Manifest, Position

NAME = "vs"
UNITS = ("KiB", "MiB", "GiB", "MB", "GB")
PATHS = st.sampled_from(["/images/a.img", "/images/b.qcow2", "/images/c & d <e>.raw"])


def optional(**keys: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A mapping of which every key may be missing."""
    return st.fixed_dictionaries({}, optional=keys)


@st.composite
def disks(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Disks with different targets."""
    letters = draw(st.lists(st.sampled_from("abcdef"), unique=True, max_size=4))
    made = []
    for letter in letters:
        disk = {
            "type": "file",
            "driver": {"type": draw(st.sampled_from(["raw", "qcow2"]))}
            | draw(optional(cache=st.sampled_from(["none", "writeback"]), io=st.just("native"))),
            "source": {"file": draw(PATHS)},
            "target": {"dev": f"vd{letter}"} | draw(optional(bus=st.sampled_from(["virtio"]))),
        }
        disk |= draw(
            optional(
                readonly=st.booleans(),
                shareable=st.booleans(),
                serial=st.sampled_from(["s1", "s2"]),
                address=st.just({"type": "ccw", "cssid": 0xFE, "ssid": 0, "devno": ord(letter)}),
            )
        )
        made.append(disk)
    return made


@st.composite
def interfaces(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Interfaces with different MAC addresses."""
    numbers = draw(st.lists(st.integers(0, 9), unique=True, max_size=3))
    return [
        {
            "type": "bridge",
            "mac": {"address": f"52:54:00:00:00:0{number}"},
            "source": {"bridge": draw(st.sampled_from(["br0", "br1"]))},
        }
        for number in numbers
    ]


CONSOLES = st.lists(
    st.fixed_dictionaries(
        {"target": st.fixed_dictionaries({"type": st.sampled_from(["sclp", "virtio"])})},
        optional={
            "log": st.fixed_dictionaries({"file": PATHS, "append": st.sampled_from(["on", "off"])})
        },
    ),
    max_size=3,
)
REACTIONS = st.sampled_from(["destroy", "restart", "preserve"])


@st.composite
def specs(draw: st.DrawFn) -> dict[str, Any]:
    """The ``spec`` of a good manifest."""
    maximum = draw(st.integers(1, 8))
    vcpu: Any = draw(
        st.one_of(
            st.just(maximum),
            st.fixed_dictionaries(
                {"maximum": st.just(maximum)}, optional={"current": st.integers(1, maximum)}
            ),
        )
    )
    spec = {
        "memory": f"{draw(st.integers(1, 4096))} {draw(st.sampled_from(UNITS))}",
        "vcpu": vcpu,
        "os": {"arch": "s390x", "machine": "s390-ccw-virtio"}
        | draw(optional(kernel=PATHS, cmdline=st.sampled_from(["quiet", "a=<b> & 'c'"]))),
        "state": "shutoff",
        "devices": draw(
            optional(
                disks=disks(),
                interfaces=interfaces(),
                consoles=CONSOLES,
                emulator=st.just("/usr/bin/qemu"),
                memballoon=st.fixed_dictionaries({"model": st.sampled_from(["virtio", "none"])}),
            )
        ),
    }
    return spec | draw(
        optional(
            type=st.sampled_from(["kvm", "qemu"]),
            cputune=optional(shares=st.integers(2, 262144)),
            iothreads=st.integers(0, 5),
            on_poweroff=REACTIONS,
            on_reboot=REACTIONS,
            on_crash=REACTIONS,
        )
    )


def wanted(spec: dict[str, Any], name: str = NAME, uuid: str | None = None) -> Desired:
    """What a manifest with this ``spec`` wants."""
    return desire(Manifest(name, uuid, {}, spec, Position("test.yaml", 1, 1), digest=""))


DESIRED = specs().map(wanted)
