"""The token by which an image is known again."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from reconvirt.domain.image_token import (
    QCOW2_HEADER_BYTES,
    RAW_TOKEN_BYTES,
    NoQcow2Error,
    qcow2_token,
    qcow2_with_token,
    raw_token,
)

TOKEN = "0d9e5f6c-7f0a-4f0e-9f43-5f1c6a0e8d0b"


def run(*command: str | Path) -> str:
    """What a program prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def head(image: Path) -> bytes:
    """Its first cluster."""
    return image.read_bytes()[:QCOW2_HEADER_BYTES]


@pytest.mark.parametrize("backing", [False, True])
def test_qemu_takes_an_image_with_a_token_and_keeps_it(tmp_path: Path, backing: bool) -> None:
    """Also when it changes the header, and with the name of a backing file in it."""
    image, below = tmp_path / "image.qcow2", tmp_path / "below.qcow2"
    run("qemu-img", "create", "-f", "qcow2", below, "8M")
    options = ("-b", below, "-F", "qcow2") if backing else ()
    run("qemu-img", "create", "-f", "qcow2", *options, image, "8M")
    assert "" == qcow2_token(head(image))

    with image.open("r+b") as file:
        file.write(qcow2_with_token(head(image), TOKEN))

    assert TOKEN == qcow2_token(head(image))
    run("qemu-img", "check", image)
    assert (str(below) in run("qemu-img", "info", image)) is backing
    run("qemu-io", "-c", "write 0 64k", image)
    run("qemu-img", "resize", image, "16M")
    run("qemu-img", "rebase", "-u", "-b", "", image)
    assert TOKEN == qcow2_token(head(image))


@pytest.mark.parametrize("content", [b"", b"QFI\xfb", b"\0" * QCOW2_HEADER_BYTES])
def test_what_is_no_qcow2_image_gets_none(content: bytes) -> None:
    """And has none."""
    assert "" == qcow2_token(content)
    with pytest.raises(NoQcow2Error):
        qcow2_with_token(content, TOKEN)


def test_a_raw_token_has_its_length() -> None:
    """A sector has room for it."""
    assert RAW_TOKEN_BYTES == len(raw_token(TOKEN))
    assert raw_token(TOKEN) != raw_token(TOKEN[::-1])
