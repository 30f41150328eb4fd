"""A token in an image, by which the image that was made here is known again.

In qcow2 it is a header extension that QEMU does not know and keeps. A raw image has no place for
it but its content, so it is there only until data is copied into the image.
"""

from __future__ import annotations

import struct

QCOW2_HEADER_BYTES = 65536
"""How much of a qcow2 image is read: its first cluster, with all header extensions."""
RAW_TOKEN_BYTES = 64

_MAGIC = b"QFI\xfb"
_EXTENSION = 0x72637674  # "rcvt"
_END = 0
_VERSION_3 = 3
_ALIGN = 8
_RAW_PREFIX = b"reconvirt-copy:"


class NoQcow2Error(ValueError):
    """It is no qcow2 header that a token can be written into."""


def raw_token(token: str) -> bytes:
    """What a raw image begins with."""
    return (_RAW_PREFIX + token.encode()).ljust(RAW_TOKEN_BYTES, b"\0")


def qcow2_with_token(header: bytes, token: str) -> bytes:
    """The header of a qcow2 image with a token in it.

    Args:
        header: the first cluster of an image that was just made.
        token: the text to write.

    Raises:
        NoQcow2Error: it is no qcow2 image of version 3, or there is no room.
    """
    begin = _extensions_at(header)
    end = begin
    for _, offset, length in _extensions(header, begin):
        end = offset + _padded(length)
    data = token.encode()
    new = struct.pack(">II", _EXTENSION, len(data)) + data.ljust(_padded(len(data)), b"\0")
    backing_at, backing_length = struct.unpack_from(">QI", header, 8)
    backing = header[backing_at : backing_at + backing_length] if backing_at else b""
    # The name of the backing file comes directly after the extensions, and moves.
    rest = end + len(new) + 8
    made = bytearray(header[:end] + new + struct.pack(">II", _END, 0) + backing)
    if len(made) > len(header):
        raise NoQcow2Error("there is no room in its first cluster")
    if backing_at:
        struct.pack_into(">Q", made, 8, rest)
    return bytes(made.ljust(len(header), b"\0"))


def qcow2_token(header: bytes) -> str:
    """The token of a qcow2 image; "" where there is none."""
    try:
        for kind, offset, length in _extensions(header, _extensions_at(header)):
            if kind == _EXTENSION:
                return header[offset : offset + length].decode("utf-8", "replace")
    except NoQcow2Error:
        return ""
    return ""


def _extensions_at(header: bytes) -> int:
    try:
        magic, version = struct.unpack_from(">4sI", header)
        (length,) = struct.unpack_from(">I", header, 100)
    except struct.error as error:
        raise NoQcow2Error("it is too short") from error
    if magic != _MAGIC or version < _VERSION_3:
        raise NoQcow2Error("it is no qcow2 image of version 3")
    return int(length)


def _extensions(header: bytes, begin: int) -> list[tuple[int, int, int]]:
    """Kind, offset of the data and length of each header extension."""
    found: list[tuple[int, int, int]] = []
    at = begin
    while True:
        try:
            kind, length = struct.unpack_from(">II", header, at)
        except struct.error as error:
            raise NoQcow2Error("its header extensions do not end") from error
        if kind == _END:
            return found
        found.append((kind, at + 8, length))
        at += 8 + _padded(length)


def _padded(length: int) -> int:
    return -(-length // _ALIGN) * _ALIGN
