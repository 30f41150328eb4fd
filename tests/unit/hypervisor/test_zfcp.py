"""Paths through the SAN and the SCSI devices that they lead to, in a made sysfs."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconvirt.domain.resolve import ScsiAddress
from reconvirt.hypervisor.zfcp import LunNotFound, resolve_lun

WWPN = "0x500507630300c562"
OTHER_WWPN = "0x5005076044840242"
LUN = "0x401040a000000000"


def scsi_device(sysfs: Path, name: str, bus_id: str, wwpn: str, lun: str) -> Path:
    """A SCSI device as zfcp describes it."""
    folder = sysfs / "bus/scsi/devices" / name
    folder.mkdir(parents=True)
    for attribute, value in (("hba_id", bus_id), ("wwpn", wwpn), ("fcp_lun", lun)):
        (folder / attribute).write_text(f"{value}\n")
    return folder


def fcp_device(sysfs: Path, bus_id: str, *ports: str, online: str = "1") -> None:
    """An FCP device as the channel subsystem has it."""
    folder = sysfs / "bus/ccw/drivers/zfcp" / bus_id
    folder.mkdir(parents=True)
    (folder / "online").write_text(f"{online}\n")
    (folder / "power").mkdir()
    for port in ports:
        (folder / port).mkdir()


@pytest.fixture
def sysfs(tmp_path: Path) -> Path:
    """Two FCP devices with LUNs, one of them with two ports; and a disk of another driver."""
    scsi_device(tmp_path, "3:0:8:0", "0.0.1cc8", OTHER_WWPN, "0x0000000000000000")
    scsi_device(tmp_path, "7:0:0:1077952528", "0.0.1900", WWPN, LUN)
    scsi_device(tmp_path, "7:0:0:1077952529", "0.0.1900", WWPN, "0x401140a000000000")
    scsi_device(tmp_path, "7:0:1:1077952528", "0.0.1900", OTHER_WWPN, LUN)
    (tmp_path / "bus/scsi/devices/0:0:0:0").mkdir()
    (tmp_path / "bus/scsi/devices/0:0:0:0/vendor").write_text("ATA\n")
    (tmp_path / "bus/scsi/devices/host7").mkdir()
    (tmp_path / "bus/scsi/devices/target7:0:0").mkdir()
    fcp_device(tmp_path, "0.0.1cc8", OTHER_WWPN)
    fcp_device(tmp_path, "0.0.1900", WWPN, OTHER_WWPN)
    return tmp_path


def problem(sysfs: Path, bus_id: str, wwpn: str, lun: str) -> str:
    with pytest.raises(LunNotFound) as caught:
        resolve_lun(bus_id, wwpn, lun, sysfs)
    return str(caught.value)


@pytest.mark.parametrize(
    ("path", "address"),
    [
        (("0.0.1900", WWPN, LUN), ScsiAddress(7, 0, 0, 1077952528)),
        (("0.0.1900", WWPN, "0x401140a000000000"), ScsiAddress(7, 0, 0, 1077952529)),
        (("0.0.1900", OTHER_WWPN, LUN), ScsiAddress(7, 0, 1, 1077952528)),
        (("0.0.1cc8", OTHER_WWPN, "0x0000000000000000"), ScsiAddress(3, 0, 8, 0)),
        (("0.0.1CC8", "5005076044840242", "0"), ScsiAddress(3, 0, 8, 0)),
        (("0.0.1900", "0X500507630300C562", "401040A000000000"), ScsiAddress(7, 0, 0, 1077952528)),
    ],
)
def test_a_path_leads_to_a_scsi_device(
    sysfs: Path, path: tuple[str, str, str], address: ScsiAddress
) -> None:
    """However its numbers are written."""
    assert address == resolve_lun(*path, sysfs)


def test_libvirts_name_of_the_scsi_host() -> None:
    """For the adapter element."""
    assert "scsi_host7" == ScsiAddress(7, 0, 1, 5).adapter


@pytest.mark.parametrize("attribute", ["hba_id", "wwpn", "fcp_lun"])
def test_a_device_that_goes_away_meanwhile(sysfs: Path, attribute: str) -> None:
    """It is not there; the others are."""
    (sysfs / "bus/scsi/devices/7:0:0:1077952528" / attribute).unlink()

    assert "(those there: 0x401140a000000000);" in problem(sysfs, "0.0.1900", WWPN, LUN)
    assert ScsiAddress(7, 0, 1, 1077952528) == resolve_lun("0.0.1900", OTHER_WWPN, LUN, sysfs)


def test_an_attribute_that_cannot_be_read(sysfs: Path) -> None:
    """Neither bytes that are no text nor what is no number or no file stop the search."""
    devices = sysfs / "bus/scsi/devices"
    (devices / "7:0:1:1077952528/fcp_lun").write_text("none\n")
    (devices / "3:0:8:0/wwpn").write_bytes(b"\xff\xfe")
    (devices / "7:0:0:1077952529/wwpn").unlink()
    (devices / "7:0:0:1077952529/wwpn").mkdir()

    assert ScsiAddress(7, 0, 0, 1077952528) == resolve_lun("0.0.1900", WWPN, LUN, sysfs)


def test_no_such_fcp_device(sysfs: Path) -> None:
    """What was looked for, and which are there."""
    said = problem(sysfs, "0.0.1a00", WWPN.upper(), LUN)

    assert said.startswith(f"no SCSI device with LUN {LUN} at port {WWPN} of FCP device 0.0.1a00: ")
    assert "no such FCP device (those there: 0.0.1900, 0.0.1cc8); lscss -t 1732/03" in said


def test_an_fcp_device_that_is_offline(sysfs: Path) -> None:
    """The command that sets it online."""
    fcp_device(sysfs, "0.0.1a00", online="0")

    said = problem(sysfs, "0.0.1a00", WWPN, LUN)

    assert said.endswith("the FCP device is offline; set it online: chccwdev -e 0.0.1a00")


def test_no_such_port(sysfs: Path) -> None:
    """Those that the FCP device sees, with LUNs or without."""
    fcp_device(sysfs, "0.0.1a00", "0x5005076300000001")

    with_luns = problem(sysfs, "0.0.1900", "0x5005076300000002", LUN)
    without = problem(sysfs, "0.0.1a00", "0x5005076300000002", LUN)

    assert f"sees no such port (those there: {OTHER_WWPN}, {WWPN}); check the zoning" in with_luns
    assert "sees no such port (those there: 0x5005076300000001); check the zoning" in without


def test_no_such_lun(sysfs: Path) -> None:
    """Those that the port offers, and how one more is registered."""
    said = problem(sysfs, "0.0.1900", WWPN, "0x4012404000000000")

    assert f"no such LUN (those there: {LUN}, 0x401140a000000000); lszfcp -D" in said
    assert "LUN masking" in said
    assert said.endswith(f"echo 0x4012404000000000 > /sys/bus/ccw/devices/0.0.1900/{WWPN}/unit_add")


def test_a_long_list_is_cut(sysfs: Path) -> None:
    """A port may offer thousands."""
    for number in range(100):
        name, lun = f"3:0:8:{number + 1}", f"0x{number + 1:04x}000000000000"
        scsi_device(sysfs, name, "0.0.1cc8", OTHER_WWPN, lun)

    said = problem(sysfs, "0.0.1cc8", OTHER_WWPN, LUN)

    assert "0x000f000000000000 and 85 more);" in said


def test_a_host_without_fcp(tmp_path: Path) -> None:
    """Such as one that is no mainframe."""
    assert "no such FCP device (those there: none)" in problem(tmp_path, "0.0.1900", WWPN, LUN)


@pytest.mark.parametrize(
    "path",
    [
        ("../..", WWPN, LUN),
        ("1900", WWPN, LUN),
        ("0.0.1900", "port", LUN),
        ("0.0.1900", WWPN, ""),
        ("0.0.1900", WWPN, f"{LUN}0"),
    ],
)
def test_what_is_no_path(sysfs: Path, path: tuple[str, str, str]) -> None:
    """It is said which part is wrong."""
    assert " is not a " in problem(sysfs, *path)
