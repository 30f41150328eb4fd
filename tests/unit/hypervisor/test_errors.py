"""libvirt's errors, by what is to be done next; the messages are libvirt 9.0's."""

from __future__ import annotations

import libvirt
import pytest

from reconvirt.hypervisor.errors import (
    Busy,
    HypervisorDown,
    HypervisorError,
    NotLive,
    OperationFailed,
    Rejected,
    Underway,
    VirtualServerGone,
    translate,
    translated,
)

QEMU, RPC, CONF = libvirt.VIR_FROM_QEMU, libvirt.VIR_FROM_RPC, libvirt.VIR_FROM_DOMAIN


def error(code: int, domain: int, message: str) -> libvirt.libvirtError:
    """An error as libvirt's binding raises it."""
    made = libvirt.libvirtError(message)
    made.err = (code, domain, message, 2, message, None, None, -1, -1)
    return made


@pytest.mark.parametrize(
    ("code", "domain", "message", "kind"),
    [
        (libvirt.VIR_ERR_NO_DOMAIN, QEMU, "Domain not found", VirtualServerGone),
        (libvirt.VIR_ERR_INTERNAL_ERROR, RPC, "client socket is closed", HypervisorDown),
        (libvirt.VIR_ERR_SYSTEM_ERROR, RPC, "Cannot write data: Broken pipe", HypervisorDown),
        (libvirt.VIR_ERR_INVALID_CONN, 0, "invalid connection pointer", HypervisorDown),
        (libvirt.VIR_ERR_SYSTEM_ERROR, QEMU, "unable to open image", OperationFailed),
        (libvirt.VIR_ERR_OPERATION_TIMEOUT, QEMU, "cannot acquire state change lock", Busy),
        (libvirt.VIR_ERR_XML_ERROR, CONF, "missing source", Rejected),
        (libvirt.VIR_ERR_XML_INVALID_SCHEMA, CONF, "XML document failed to validate", Rejected),
        (libvirt.VIR_ERR_CONFIG_UNSUPPORTED, QEMU, "not supported by this QEMU", NotLive),
        (
            libvirt.VIR_ERR_OPERATION_FAILED,
            QEMU,
            "Device virtio-disk0 is already in the process of unplug",
            Underway,
        ),
        (
            libvirt.VIR_ERR_INTERNAL_ERROR,
            QEMU,
            "unable to execute QEMU command 'device_add': Bus 'pci.0' does not support hotplugging",
            NotLive,
        ),
        (libvirt.VIR_ERR_INTERNAL_ERROR, QEMU, "No more available PCI slots", NotLive),
        (libvirt.VIR_ERR_INTERNAL_ERROR, QEMU, "process exited while connecting", OperationFailed),
        (libvirt.VIR_ERR_OPERATION_INVALID, QEMU, "domain is not running", OperationFailed),
        (99999, 0, "of a newer libvirt", OperationFailed),
    ],
)
def test_errors_are_typed_by_what_to_do(
    code: int, domain: int, message: str, kind: type[HypervisorError]
) -> None:
    """The message stays, on one line."""
    made = translate(error(code, domain, message.replace(" ", "\n ")))

    assert (kind, message) == (type(made), str(made))


def test_what_is_no_error_of_libvirt_passes() -> None:
    """A mistake in our own code is not called libvirt's."""
    with pytest.raises(KeyError), translated():
        raise KeyError
