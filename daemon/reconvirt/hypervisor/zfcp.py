"""SCSI tapes and medium changers, found by what stays (chapter 8, "lszfcp -D").

Linux numbers its SCSI devices anew at each start, and whenever an FCP device is set online. What
stays is the path through the SAN: the bus-ID of the FCP device, the port of the storage (WWPN),
and the LUN there. The device driver zfcp says for each SCSI device which path it has.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from reconvirt.domain.resolve import ScsiAddress

_SCSI_DEVICE = re.compile(r"(\d+):(\d+):(\d+):(\d+)")
_NUMBER = re.compile(r"(?:0x)?[0-9a-f]{1,16}")
_PORT = re.compile(r"0x[0-9a-f]{16}")
_BUS_ID = re.compile(r"[0-9a-f]+\.[0-9a-f]+\.[0-9a-f]{4}")
_LONGEST_LIST = 16


class LunNotFound(Exception):
    """The host has no such SCSI device; the text is for people."""


@dataclass(frozen=True, slots=True)
class _Path:
    bus_id: str
    wwpn: str
    lun: str


def resolve_lun(bus_id: str, wwpn: str, lun: str, sysfs: Path = Path("/sys")) -> ScsiAddress:
    """Where the SCSI device is now that has this path, as ``lszfcp -D -b -p -l`` tells.

    Args:
        bus_id: of the FCP device, such as ``0.0.1cc8``.
        wwpn: of the port; hexadecimal as is the LUN, in either case, with or without ``0x``.
        lun: the FCP LUN, with its trailing zeros: it is compared as a number.
        sysfs: where sysfs is mounted.

    Raises:
        LunNotFound: there is none; says what is there instead, and what to do.
    """
    wanted = _Path(_checked(bus_id, _BUS_ID, "a bus-ID"), _hexadecimal(wwpn), _hexadecimal(lun))
    found = _scsi_devices(sysfs)
    if wanted in found:
        return found[wanted]
    raise LunNotFound(
        f"no SCSI device with LUN {wanted.lun} at port {wanted.wwpn} of FCP device "
        f"{wanted.bus_id}: {_why(wanted, found, sysfs)}"
    )


def _scsi_devices(sysfs: Path) -> dict[_Path, ScsiAddress]:
    """The SCSI devices of zfcp; those of other drivers have no such attributes."""
    found = {}
    for folder in _entries(sysfs / "bus/scsi/devices"):
        if match := _SCSI_DEVICE.fullmatch(folder.name):
            bus_id, wwpn, lun = (_read(folder / name) for name in ("hba_id", "wwpn", "fcp_lun"))
            # A device that goes away meanwhile loses its files one by one.
            if bus_id and _NUMBER.fullmatch(wwpn) and _NUMBER.fullmatch(lun):
                path = _Path(bus_id, _hexadecimal(wwpn), _hexadecimal(lun))
                found[path] = ScsiAddress(*map(int, match.groups()))
    return found


def _why(wanted: _Path, found: Iterable[_Path], sysfs: Path) -> str:
    """The first thing on the path that is missing, what is there instead, and what to do."""
    fcp_devices = sysfs / "bus/ccw/drivers/zfcp"
    bus_ids = {path.bus_id for path in found} | _named(fcp_devices, _BUS_ID)
    if wanted.bus_id not in bus_ids:
        return (
            f"there is no such FCP device (those there: {_listed(bus_ids)}); "
            "lscss -t 1732/03 shows those of the host, cio_ignore -l those that it is to ignore"
        )
    ports = {path.wwpn for path in found if path.bus_id == wanted.bus_id}
    ports |= _named(fcp_devices / wanted.bus_id, _PORT)
    if _read(fcp_devices / wanted.bus_id / "online") == "0":
        return f"the FCP device is offline; set it online: chccwdev -e {wanted.bus_id}"
    if wanted.wwpn not in ports:
        return (
            f"the FCP device sees no such port (those there: {_listed(ports)}); "
            "check the zoning of the SAN, and that the FCP device is online: "
            f"chccwdev -e {wanted.bus_id}"
        )
    luns = {path.lun for path in found if (path.bus_id, path.wwpn) == (wanted.bus_id, wanted.wwpn)}
    port = f"/sys/bus/ccw/devices/{wanted.bus_id}/{wanted.wwpn}"
    return (
        f"the port offers no such LUN (those there: {_listed(luns)}); lszfcp -D shows all; "
        "check the LUN masking of the storage, and register it where LUNs are not detected by "
        "themselves: "
        f"echo {wanted.lun} > {port}/unit_add"
    )


def _checked(text: str, pattern: re.Pattern[str], what: str) -> str:
    lowered = text.strip().lower()
    if not pattern.fullmatch(lowered):
        raise LunNotFound(f"{text!r} is not {what}")
    return lowered


def _hexadecimal(text: str) -> str:
    """A WWPN or LUN as zfcp writes it: ``0x`` and 16 digits, small."""
    number = _checked(text, _NUMBER, "a hexadecimal number of up to 16 digits")
    return f"0x{int(number, 16):016x}"


def _read(file: Path) -> str:
    """An attribute, small; "" where there is none or the device has just gone."""
    try:
        return file.read_text(encoding="ascii").strip().lower()
    except (OSError, UnicodeDecodeError):
        return ""


def _named(folder: Path, pattern: re.Pattern[str]) -> set[str]:
    return {entry.name for entry in _entries(folder) if pattern.fullmatch(entry.name)}


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _listed(names: Iterable[str]) -> str:
    every = sorted(names)
    listed = ", ".join(every[:_LONGEST_LIST]) or "none"
    more = len(every) - _LONGEST_LIST
    return f"{listed} and {more} more" if more > 0 else listed
