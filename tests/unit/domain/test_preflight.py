"""What stands against a migration, on XML alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconvirt.domain.backing import Backing
from reconvirt.domain.migration import CopiedImage, Destination, Order, ask_about, copied_images
from reconvirt.domain.migration_policy import MigrationPolicy
from reconvirt.domain.observed import Observed, State
from reconvirt.domain.preflight import preflight
from reconvirt.manifest.host import HostManifest

HERE = HostManifest("a", "qemu+ssh://a/system", shared=("/srv/images",))
THERE = HostManifest("b", "qemu+ssh://b/system", shared=("/srv/images",))
UUID = "8f1c6a0e-5d0b-4c36-9d0e-6b0f6c1f2a11"


def server(devices: str = "", state: State = State.RUNNING, reason: str = "") -> Observed:
    """A virtual server with these devices."""
    xml = f"""<domain type='kvm'><name>web1</name><memory unit='KiB'>1048576</memory>
      <vcpu>2</vcpu><os><type arch='s390x' machine='s390-ccw-virtio-7.2'>hvm</type></os>
      <devices><emulator>/usr/bin/qemu-system-s390x</emulator>{devices}</devices></domain>"""
    runs = state is not State.SHUTOFF
    return Observed("web1", UUID, 1 if runs else None, state, reason, xml, xml if runs else None)


def disk(path: str, more: str = "", target: str = "vda") -> str:
    """A disk of an image file."""
    return (
        f"<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>"
        f"<source file='{path}'/><target dev='{target}' bus='virtio'/>{more}</disk>"
    )


def reasons(
    observed: Observed, destination: Destination | None = None, **policy: object
) -> list[str]:
    """What stands against moving it."""
    options = MigrationPolicy(**policy)  # type: ignore[arg-type]
    order = Order(THERE.uri, "", observed.live is None, (), options)
    found = preflight(observed, order, (HERE, THERE), destination or Destination())
    return [each.reason for each in found]


def test_nothing_stands_against_a_plain_one() -> None:
    """Its image is in a directory that both share."""
    assert [] == reasons(server(disk("/srv/images/web1")))


@pytest.mark.parametrize(
    ("observed", "destination", "reason"),
    [
        (server(), Destination(machine_problem="no such machine"), "no such machine"),
        (server(), Destination(cpu_problem="no such model"), "no such model"),
        (server(), Destination(most_vcpus=1), "2 vCPUs"),
        (server(), Destination(free_memory=1 << 20), "1024 MiB"),
        (server(), Destination(there=State.RUNNING), "has it already"),
        (server(), Destination(stranger="x"), "another virtual server"),
        (server("<hostdev/>"), None, "host device"),
        (server("<filesystem/>"), None, "directory of its host"),
        (server(disk("/srv/images/../own/a")), None, "not known to be on both"),
        (replace(server(), block_jobs=("vda",)), None, "block job works on vda"),
        (replace(server(), snapshots=2), None, "snapshots"),
        (
            server(disk("/srv/images/a", "<address type='pci'/>")),
            None,
            "the disk vda is on PCI",
        ),
        (server(disk("/srv/images/a", "<transient/>")), None, "transient"),
        (
            server("<disk type='block'><source dev='/dev/a'/><target dev='vda'/></disk>"),
            Destination(devices={"/dev/a": "is missing"}),
            "/dev/a, the block device of vda, is missing at the destination",
        ),
        (server(state=State.PAUSED, reason="I/O error"), None, "I/O error"),
        (server("<tpm/>", State.SHUTOFF), None, "TPM state"),
        (
            server("<interface type='network'><source network='n'/></interface>"),
            None,
            "active network n",
        ),
    ],
)
def test_each_reason(observed: Observed, destination: Destination | None, reason: str) -> None:
    """Exactly one thing stands against it."""
    (found,) = reasons(observed, destination)

    assert reason in found


BELOW = (
    "<backingStore type='file'><format type='raw'/><source file='/srv/base'/><backingStore/>"
    "</backingStore>"
)
INCREMENTAL = Order(THERE.uri, "", False, ("vda",), MigrationPolicy(copy="inc"))


@pytest.mark.parametrize(
    ("devices", "there", "here", "reason"),
    [
        (disk("/own/a"), {}, {}, "no backing image"),
        (disk("/own/a", "<backingStore/>"), {}, {}, "no backing image"),
        (disk("/own/a", BELOW), {}, {"/srv/base": 5}, "/srv/base, is not at the destination"),
        (disk("/own/a", BELOW), {"/srv/base": 4}, {"/srv/base": 5}, "is another one"),
        (disk("/own/a", BELOW.replace("file=", "dev=")), {}, {}, "no file of its host"),
    ],
)
def test_an_incremental_copy_needs_what_is_below(
    devices: str, there: dict[str, int], here: dict[str, int], reason: str
) -> None:
    """The backing images stand at the destination, and are the same."""
    destination = Destination(images=there, own_images=here)

    (found,) = preflight(server(devices), INCREMENTAL, (HERE, THERE), destination)

    assert reason in found.reason
    assert "copy: all" in found.remedy


def test_an_incremental_copy_with_all_that_it_needs() -> None:
    """Nothing stands against it, and the image that is made names what is below it."""
    observed = server(disk("/own/a", BELOW))
    destination = Destination(images={"/srv/base": 5}, own_images={"/srv/base": 5})

    assert () == preflight(observed, INCREMENTAL, (HERE, THERE), destination)
    assert ("/srv/base",) == ask_about(observed, INCREMENTAL).backing
    made = copied_images(observed, INCREMENTAL)
    assert {"vda": CopiedImage("/own/a", "qcow2", Backing("/srv/base", "raw"))} == made


def test_what_is_asked_of_a_destination() -> None:
    """Machine and emulator as libvirt has written them out."""
    question = ask_about(server(disk("/srv/images/a")), Order(THERE.uri, "", False))

    assert ("s390-ccw-virtio-7.2", "kvm", "") == (question.machine, question.kind, question.cpu)
    assert ("/srv/images/a",) == question.files
