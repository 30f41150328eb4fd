"""How the image file of a disk is made where it is missing."""

from __future__ import annotations

from reconvirt.domain import values
from reconvirt.domain.effects import Way, with_device
from reconvirt.domain.rows import NOWHERE, Field

_IMAGE = with_device(Way.IMAGE, "the image is made when it is missing, and grown", "")

IMAGE_ROWS: tuple[Field, ...] = (
    Field(
        "create.size",
        values.MEMORY,
        _IMAGE,
        "Image size",
        "How large the image is made if it is missing and never was there; a larger one grows it, "
        "also while it is in use. It never shrinks.",
        place=NOWHERE,
    ),
    Field(
        "create.format",
        values.choice("raw", "qcow2"),
        _IMAGE,
        "Image format",
        "The format of an image that is made; it must be that of driver.type.",
        place=NOWHERE,
    ),
    Field(
        "create.backing.file",
        values.path(),
        _IMAGE,
        "Backing file",
        "qcow2: the image that the new one starts from and keeps reading.",
        place=NOWHERE,
    ),
    Field(
        "create.backing.format",
        values.choice("raw", "qcow2"),
        _IMAGE,
        "Backing format",
        "The format of the backing file; it is never guessed.",
        place=NOWHERE,
    ),
    Field(
        "create.preallocation",
        values.choice("off", "metadata", "falloc", "full"),
        _IMAGE,
        "Preallocation",
        "How much space a new image takes at once.",
        place=NOWHERE,
    ),
)
"""The rows below ``create`` of a disk."""
