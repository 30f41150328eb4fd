"""Image files of disks, seen, made and made larger by ``qemu-img`` (chapter 26).

Nothing here overwrites, shrinks or deletes an image. A path is never read as one of QEMU's
protocols (``nbd:``, ``json:``): it starts with ``/``, which QEMU takes for a file name whatever
follows.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reconvirt.domain.image_plan import ImageFacts
from reconvirt.domain.xmltree import parse_xml

FORMATS = ("raw", "qcow2")

_SECTOR = 512
_QCOW2_MAGIC = b"QFI\xfb"
_SECONDS = 60.0
# Writing the whole size first, or having the file system find room for it, takes its time.
_PREALLOCATION_SECONDS = 600.0
_SLOWEST_BYTES_PER_SECOND = 50_000_000
_LONGEST_SECONDS = 86_400.0
_UNFINISHED_SUFFIX = ".reconvirt-new"
_UNFINISHED = re.compile(rf"\..+\.[a-z0-9_]{{8}}{re.escape(_UNFINISHED_SUFFIX)}", re.DOTALL)


class ImageError(Exception):
    """An image could not be looked at, made or made larger; the text is for people."""


def whole_sectors(size_bytes: int) -> int:
    """The size in bytes that an image has when this one is asked for."""
    return -(-size_bytes // _SECTOR) * _SECTOR


def inspect_image(path: str, format: str) -> ImageFacts | None:  # noqa: A002 - libvirt's word
    """What stands at a path where an image is wanted; None if nothing does.

    It may be in use meanwhile.

    Args:
        path: absolute.
        format: the wanted one. QEMU is never left to guess it: in a raw image a virtual server
            can write whatever looks like another format.

    Raises:
        ImageError: qemu-img is not there or does not answer.
    """
    _check(path, format)
    try:
        first_bytes = _first_bytes(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        return ImageFacts(path, None, None, f"it cannot be read: {error.strerror}")
    if format == "raw" and first_bytes == _QCOW2_MAGIC:
        return ImageFacts(path, "qcow2", None, "it is a qcow2 image, not raw")
    done = _run_qemu_img("info", "--force-share", "--output=json", "-f", format, "--", path)
    if done.returncode:
        return ImageFacts(path, None, None, f"it is no {format} image: {_words(done)}")
    said = json.loads(done.stdout)
    corrupt = said.get("format-specific", {}).get("data", {}).get("corrupt", False)
    problem = "it is marked as corrupt; see qemu-img check" if corrupt else ""
    return ImageFacts(path, format, said["virtual-size"], problem)


def create_image(
    path: str,
    size_bytes: int | None,
    format: str,  # noqa: A002 - libvirt's word
    *,
    owner: tuple[int, int] | None,
    backing: str | None = None,
    backing_format: str | None = None,
    preallocation: str | None = None,
) -> None:
    """Make an image where nothing is; it appears at its path whole and on disk, or not at all.

    Args:
        path: absolute; its directory exists, on a file system with hard links.
        size_bytes: what a virtual server sees; None with a backing file means the size of that.
        format: ``raw`` or ``qcow2``.
        owner: user and group numbers for the file, see :func:`dac_owner`; None, or without root,
            it is ours. Nobody else may read it.
        backing: absolute path of the image that this one is a layer upon; for qcow2 only.
        backing_format: the format of that; needed with it.
        preallocation: ``off``, ``metadata``, ``falloc`` or ``full``.

    Raises:
        ImageError: it could not be made, or something is there already, which is left as it is.
    """
    _check(path, format)
    arguments = ["create", "-q", "-f", format]
    if backing is not None:
        _check(backing, backing_format)
        arguments += ["-b", backing, "-F", str(backing_format)]
    elif size_bytes is None:
        raise ImageError(f"the image {path} needs a size: it has no backing file to take one from")
    seconds = _SECONDS
    if preallocation is not None:
        arguments += ["-o", f"preallocation={preallocation}"]
        seconds = _PREALLOCATION_SECONDS + (size_bytes or 0) / _SLOWEST_BYTES_PER_SECOND
        seconds = min(seconds, _LONGEST_SECONDS)
    size = [] if size_bytes is None else [str(size_bytes)]
    # Before all the work, the frequent case; what counts is the link at the end.
    if os.path.lexists(path):
        raise _taken(path)
    folder, name = os.path.split(path)
    try:
        with _directory(folder) as directory, _unfinished(folder, name) as (temporary, file):
            command = [*arguments, "--", temporary, *size]
            done = _run_qemu_img(*command, seconds=seconds, keep_open=directory)
            if done.returncode:
                words = _words(done).replace(temporary, path)
                raise ImageError(f"cannot make the image {path}: qemu-img says: {words}")
            if owner is not None and os.geteuid() == 0:
                os.fchown(file, *owner)
            os.fsync(file)
            _name_finally(temporary, path)
            os.fsync(directory)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise ImageError(f"cannot make the image {path}: {error.strerror}{where}") from error


def grow_image(path: str, size_bytes: int, format: str) -> None:  # noqa: A002 - libvirt's word
    """Make an image larger that no running virtual server uses; of that size, it stays as it is.

    Raises:
        ImageError: it is larger already, in use, not there, or not of this format.
    """
    facts = inspect_image(path, format)
    if facts is None:
        raise ImageError(f"there is no image {path} to make larger")
    if facts.problem or facts.size is None:
        raise ImageError(f"cannot make the image {path} larger: {facts.problem}")
    wanted = whole_sectors(size_bytes)
    if wanted == facts.size:
        return
    if wanted < facts.size:
        raise ImageError(
            f"the image {path} has {facts.size} bytes, more than the {wanted} wanted; "
            "shrinking would destroy data: ask for at least what it has"
        )
    done = _run_qemu_img("resize", "-q", "-f", format, "--", path, str(wanted))
    if done.returncode:
        words = _words(done)
        hint = "" if "lock" not in words else "; it is in use: virsh blockresize does it meanwhile"
        raise ImageError(f"cannot make the image {path} larger: qemu-img says: {words}{hint}")


def dac_owner(capabilities_xml: str) -> tuple[int, int] | None:
    """The user and group numbers that libvirt runs QEMU as, from its capabilities.

    None where libvirt has no say in it, as for one that is not root's.
    """
    # One label a type of domain, kvm and qemu; they do not differ.
    labels = parse_xml(capabilities_xml).findall("host/secmodel[model='dac']/baselabel")
    found = (re.fullmatch(r"\+?(\d+):\+?(\d+)", label.text or "") for label in labels)
    return next(((int(match[1]), int(match[2])) for match in found if match), None)


def _check(path: str, image_format: str | None) -> None:
    if not path.startswith("/"):
        raise ImageError(f"the path of an image must be absolute, starting with /: {path}")
    if image_format not in FORMATS:
        raise ImageError(f"the format of the image {path} must be one of {', '.join(FORMATS)}")


def _first_bytes(path: str) -> bytes:
    """The beginning of a file or block device.

    Raises:
        FileNotFoundError: nothing is there.
        OSError: something is, but no image.
    """
    try:
        mode = Path(path).stat().st_mode
    except FileNotFoundError:
        if os.path.lexists(path):
            raise OSError(errno.ELOOP, "it is a symbolic link that leads nowhere") from None
        raise
    if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
        raise OSError(errno.EINVAL, "it is neither a file nor a block device")
    with Path(path).open("rb") as image:
        return image.read(len(_QCOW2_MAGIC))


def _taken(path: str) -> ImageError:
    return ImageError(f"{path} already exists, left as it is")


@contextmanager
def _directory(folder: str) -> Iterator[int]:
    """A directory, held so that nobody takes the files that are being made in it for leftovers.

    The lock is on the directory, not on each file: over NFS a file's lock and QEMU's own exclude
    each other.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass  # images are being made; the next time will do
        else:
            for name in os.listdir(folder):  # noqa: PTH208 - plain names are enough
                if _UNFINISHED.fullmatch(name):
                    Path(folder, name).unlink(missing_ok=True)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _unfinished(folder: str, name: str) -> Iterator[tuple[str, int]]:
    """A new hidden file that only its owner may read: its path and descriptor; gone afterwards."""
    descriptor, path = tempfile.mkstemp(_UNFINISHED_SUFFIX, f".{name}.", folder)
    try:
        yield path, descriptor
    finally:
        os.close(descriptor)
        Path(path).unlink(missing_ok=True)  # qemu-img removes some of those that it failed with


def _name_finally(temporary: str, path: str) -> None:
    try:
        os.link(temporary, path)  # fails where something is, unlike a renaming
    except FileExistsError:
        raise _taken(path) from None
    except OSError as error:
        raise ImageError(
            f"cannot make the image {path}: {error.strerror}; "
            "its directory must be on a file system with hard links"
        ) from error


def _run_qemu_img(
    *arguments: str, seconds: float = _SECONDS, keep_open: int | None = None
) -> subprocess.CompletedProcess[str]:
    """Run qemu-img; the descriptor stays open, and so locked, even if it outlives us."""
    try:
        return subprocess.run(  # noqa: S603 - a fixed program, no shell
            ["qemu-img", *arguments],  # noqa: S607 - found as any program
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
            pass_fds=() if keep_open is None else (keep_open,),
            check=False,
        )
    except FileNotFoundError as error:
        raise ImageError("there is no qemu-img: install it (Debian: qemu-utils)") from error
    except subprocess.TimeoutExpired as error:
        what = " ".join(["qemu-img", *arguments])
        raise ImageError(f"{what}: not finished after {seconds:.0f} seconds, ended") from error


def _words(done: subprocess.CompletedProcess[str]) -> str:
    """What qemu-img said, on one line."""
    lines = (line.removeprefix("qemu-img: ") for line in done.stderr.splitlines())
    return " ".join(" ".join(lines).split())
