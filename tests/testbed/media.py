"""CD images and loop devices for virtual servers."""

import os
import subprocess
import tempfile
from pathlib import Path

from testbed.slots import Slot
from testbed.waiting import wait_until

RELEASE_SECONDS = 20.0
LONGEST_LABEL = 32


def make_iso(path: Path, label: str) -> Path:
    """Make an empty CD image with this volume label: letters, digits and underscores."""
    if not label.isidentifier() or len(label) > LONGEST_LABEL:
        raise ValueError(f"no volume label: {label!r}")
    with tempfile.TemporaryDirectory() as empty:
        command: tuple[str | Path, ...] = ("xorrisofs", "-quiet", "-V", label, "-o", path, empty)
        subprocess.run(command, check=True, capture_output=True)
    return path


def attach_loop(image: Path) -> Path:
    """Make a block device of the raw image, which must be in a test bed's directory."""
    command: tuple[str | Path, ...] = ("losetup", "--find", "--show", image)
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Path(done.stdout.strip())


def loop_devices(slot: Slot) -> list[Path]:
    """The loop devices that are made of this slot's images."""
    return [
        Path("/dev", folder.name)
        for folder in Path("/sys/block").glob("loop*")
        if _image(folder).startswith(f"{slot.directory}/")
    ]


def release_loop(device: Path) -> None:
    """Let go of a loop device, which whoever used it no longer does."""
    image = _image(Path("/sys/block", device.name))
    os.chown(device, 0, 0)  # libvirt gave it to QEMU's user
    subprocess.run(["losetup", "--detach", device], check=True)
    wait_until(  # the kernel does it when the last reader, perhaps udev, has closed it
        lambda: _image(Path("/sys/block", device.name)) != image,
        RELEASE_SECONDS,
        f"{device} to be free",
    )


def _image(folder: Path) -> str:
    try:
        return (folder / "loop" / "backing_file").read_text(encoding="utf-8")
    except OSError:  # it is free
        return ""
