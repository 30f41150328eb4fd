"""The other files that a disk image names in its header.

A guest can write anything to a raw disk, also what looks like the header of another format. If its
manifest then called it qcow2, QEMU would open the files that the guest has named. The layout is
that of QEMU's docs/interop/qcow2.txt.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_MAGIC = b"QFI\xfb"
_LONGEST_NAME = 1023
_EXTENSION_FORMAT = 0xE2792ACA
_DATA_FILE = 0x44415441
_MOST_EXTENSIONS = 64
_DEEPEST = 200
_HEAD, _OLD_HEAD, _OLD_VERSION = 104, 72, 2


def named_files(path: str, form: str) -> tuple[str, ...]:
    """The absolute paths of all files that an image depends on, through the whole chain.

    Args:
        path: the image.
        form: its format, as the manifest states it; only qcow2 names other files here.

    Raises:
        ValueError: a header is damaged, or names something that is no file of this host.
        PermissionError: an image cannot be read; the text says what to do.
    """
    found: list[str] = []
    todo = [(path, form)]
    while todo and len(found) < _DEEPEST:
        image, kind = todo.pop()
        for name, its_kind in _names_in(image) if kind in ("qcow2", "") else ():
            target = name if name.startswith("/") else str(PurePosixPath(image).parent / name)
            if target not in found and target != path:
                found.append(target)
                todo.append((target, its_kind))
    return tuple(found)


def _names_in(image: str) -> Iterator[tuple[str, str]]:
    """The names in one header, each with the format that it says (or "" where it says none)."""
    try:
        with Path(image).open("rb") as file:
            head = file.read(_HEAD)
            if len(head) < struct.calcsize(">4sIQI") or head[:4] != _MAGIC:
                return
            version, offset, length = struct.unpack(">IQI", head[4:20])
            extensions = dict(_extensions(head, version, file.read(64 * 1024)))
            if offset:
                if length > _LONGEST_NAME:
                    raise ValueError(f"the header of {image} is damaged")
                file.seek(offset)
                form = extensions.get(_EXTENSION_FORMAT, b"").decode("utf-8", "replace")
                yield _plain(file.read(length), image), form
            if _DATA_FILE in extensions:
                yield _plain(extensions[_DATA_FILE], image), "raw"
    except (FileNotFoundError, IsADirectoryError, OverflowError):
        return  # it is to be made, or libvirt will refuse it
    except OSError as error:
        allow = "admission.trust_unreadable_images"
        raise PermissionError(
            f"the image {image} cannot be looked into: {error.strerror}; run as a user who may "
            f"read it; {allow} = true takes it as it is"
        ) from error


def _extensions(head: bytes, version: int, rest: bytes) -> Iterator[tuple[int, bytes]]:
    whole = head + rest
    told = version > _OLD_VERSION and len(head) == _HEAD
    size = struct.unpack(">I", head[-4:])[0] if told else _OLD_HEAD
    for _ in range(_MOST_EXTENSIONS):
        if len(whole) < size + 8:
            return
        kind, length = struct.unpack(">II", whole[size : size + 8])
        if kind == 0:
            return
        yield kind, whole[size + 8 : size + 8 + length]
        size += 8 + -(-length // 8) * 8


def _plain(name: bytes, image: str) -> str:
    text = name.decode("utf-8", "surrogateescape").removeprefix("file:")
    scheme = text.partition(":")[0]
    if ":" in text and "/" not in scheme:
        raise ValueError(f"the image {image} names {text!r}, which is no file of this host")
    return text
