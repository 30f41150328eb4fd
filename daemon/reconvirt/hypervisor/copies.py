"""Images at the destination, for storage that is copied there (chapter 15).

They are made through libvirt's storage pools, since only libvirt reaches the other host's files.
A pool that is made for it is transient, and is gone afterwards; its directory stays.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libvirt
from lxml import etree

from reconvirt.domain.image_token import (
    QCOW2_HEADER_BYTES,
    RAW_TOKEN_BYTES,
    qcow2_token,
    qcow2_with_token,
    raw_token,
)
from reconvirt.domain.migration import CopiedImage
from reconvirt.hypervisor.errors import is_of_the_way


@contextlib.contextmanager
def _pool(connection: libvirt.virConnect, directory: str) -> Iterator[Any]:
    """The storage pool of a directory: the one that is there, or one for the time being."""
    try:
        pool = connection.storagePoolLookupByTargetPath(directory)
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_STORAGE_POOL:
            raise
    else:
        pool.refresh(0)
        yield pool
        return
    root = etree.Element("pool", type="dir")
    digest = hashlib.sha256(directory.encode()).hexdigest()[:12]
    etree.SubElement(root, "name").text = f"reconvirt-{digest}"
    etree.SubElement(etree.SubElement(root, "target"), "path").text = directory
    pool = connection.storagePoolCreateXML(etree.tostring(root, encoding="unicode"), 0)
    try:
        yield pool
    finally:
        # Another migration that has found it may have ended it; what was done in it is done.
        with contextlib.suppress(libvirt.libvirtError):
            pool.destroy()


def _volume(pool: Any, path: str) -> Any:
    try:
        return pool.storageVolLookupByName(Path(path).name)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_STORAGE_VOL:
            return None
        raise


def image_is_there(connection: libvirt.virConnect, path: str) -> bool:
    """Whether something stands at a path."""
    with _pool(connection, str(Path(path).parent)) as pool:
        return _volume(pool, path) is not None


def image_sizes(connection: libvirt.virConnect, paths: tuple[str, ...]) -> dict[str, int]:
    """How large a guest sees image files, in bytes; without those that are not there."""
    found: dict[str, int] = {}
    for path in paths:
        try:
            with _pool(connection, str(Path(path).parent)) as pool:
                volume = _volume(pool, path)
                if volume is not None:
                    found[path] = int(volume.info()[1])
        except libvirt.libvirtError as error:
            # Without its directory no image is there either; a lost connection says nothing.
            if is_of_the_way(error):
                raise
    return found


def _speaks_of(root: etree._Element, path: str) -> bool:
    """Whether a definition names a path, whatever for."""
    elements = root.iter(etree.Element)
    return any(path in (each.text, *each.attrib.values()) for each in elements)


def make_image(
    connection: libvirt.virConnect, image: CopiedImage, size_bytes: int, token: str
) -> bool:
    """Make an image; False if something stands there already, which is left as it is.

    Args:
        connection: the connection to its host.
        image: what is made, and where.
        size_bytes: how large its guest sees it.
        token: written into it, so that it is known again.

    Raises:
        libvirt.libvirtError: it cannot be made: its directory is missing, or the disk is full.
    """
    path = image.path
    root = etree.Element("volume")
    etree.SubElement(root, "name").text = Path(path).name
    etree.SubElement(root, "capacity", unit="bytes").text = str(size_bytes)
    if image.kind == "raw":
        etree.SubElement(root, "allocation", unit="bytes").text = "0"
    target = etree.SubElement(root, "target")
    etree.SubElement(target, "format", type=image.kind)
    if image.kind == "qcow2":
        # libvirt would make the format of old, which cannot tell zeros from what is below.
        etree.SubElement(target, "compat").text = "1.1"
    if image.backing is not None:
        below = etree.SubElement(root, "backingStore")
        etree.SubElement(below, "path").text = image.backing.path
        etree.SubElement(below, "format", type=image.backing.kind)
    with _pool(connection, str(Path(path).parent)) as pool:
        if _volume(pool, path) is not None:
            return False
        try:
            volume = pool.createXML(etree.tostring(root, encoding="unicode"), 0)
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_STORAGE_VOL_EXIST:
                return False
            raise
        if image.kind == "raw":
            _upload(connection, volume, raw_token(token)[:size_bytes])
        else:
            header = _download(connection, volume, QCOW2_HEADER_BYTES)
            _upload(connection, volume, qcow2_with_token(header, token))
        return True


def clear_raw_token(connection: libvirt.virConnect, path: str, token: str) -> None:
    """Take the token out of a raw image that its guest's data is about to be copied into.

    QEMU need not write where the source has zeros.
    """
    with _pool(connection, str(Path(path).parent)) as pool:
        volume = _volume(pool, path)
        if volume is not None and _download(connection, volume, RAW_TOKEN_BYTES) == raw_token(
            token
        ):
            _upload(connection, volume, bytes(RAW_TOKEN_BYTES))


def remove_image(connection: libvirt.virConnect, path: str, token: str) -> str:
    """Remove an image that was made for a copy; why not, "" if it is gone.

    Args:
        connection: the connection to its host.
        path: where it was made.
        token: what was written into it; "" where nothing was.
    """
    for domain in connection.listAllDomains():
        if _speaks_of(etree.fromstring(domain.XMLDesc(0).encode()), path):
            return f"{domain.name()} has it"
    with _pool(connection, str(Path(path).parent)) as pool:
        volume = _volume(pool, path)
        if volume is None:
            return ""
        if not token or not _has_token(connection, volume, token):
            return "it is not known to be the one that was made there; remove it if it is not used"
        volume.delete(0)
    return ""


def _has_token(connection: libvirt.virConnect, volume: Any, token: str) -> bool:
    begin = _download(connection, volume, QCOW2_HEADER_BYTES)
    return begin[:RAW_TOKEN_BYTES] == raw_token(token) or qcow2_token(begin) == token


def _download(connection: libvirt.virConnect, volume: Any, length: int) -> bytes:
    """The first bytes of a volume's file; fewer where it is shorter."""
    stream = connection.newStream(0)
    volume.download(stream, 0, length)
    found = b""
    try:
        while piece := stream.recv(length):
            found += piece
    except BaseException:
        stream.abort()
        raise
    stream.finish()
    return found


def _upload(connection: libvirt.virConnect, volume: Any, data: bytes) -> None:
    """Write the first bytes of a volume's file."""
    stream = connection.newStream(0)
    volume.upload(stream, 0, len(data))
    try:
        sent = 0
        while sent < len(data):
            sent += stream.send(data[sent:])
    except BaseException:
        stream.abort()
        raise
    stream.finish()
