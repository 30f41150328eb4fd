"""Planning for images (chapter 26): made when missing, grown when wanted larger, nothing else.

An image is never made smaller, formatted anew, overwritten or deleted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from reconvirt.domain.actions import CreateImage, GrowDisk, GrowImage
from reconvirt.domain.changes import Change, Step
from reconvirt.domain.compare import device_path
from reconvirt.domain.desired import Desired
from reconvirt.domain.effects import Effect
from reconvirt.domain.kinds.disks import DISK
from reconvirt.domain.rows import Stated
from reconvirt.domain.storage import NO_STORAGE, Storage
from reconvirt.manifest.units import format_memory

_KIB = 1024


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What stands at the path of an image.

    Attributes:
        path: the path.
        format: the format it was read as; None if it could not be read so.
        size: how large the guest sees it, in bytes.
        problem: what is wrong with it; "" if nothing.
    """

    path: str
    format: str | None
    size: int | None
    problem: str = ""


Images = Mapping[str, ImageFacts | None]
"""Facts by path; None: there is nothing at the path."""


def wanted_images(desired: Desired) -> Mapping[str, str]:
    """The formats, by path, of the images that the manifest says how to make."""
    return {
        str(stated["source.file"]): str(stated["driver.type"])
        for stated in desired.statement.devices.get(DISK.name, {}).values()
        if _is_made(stated)
    }


@dataclass(frozen=True, slots=True)
class KnownImages:
    """Which images were there once, so that one that is missing now is never made again.

    Attributes:
        paths: their paths.
        problem: why it cannot be known of others; "" if it is.
        new_problem: the same of those of a virtual server that libvirt does not have here: another
            host may have made them.
    """

    paths: frozenset[str] = frozenset()
    problem: str = ""
    new_problem: str = ""

    def including(self, paths: Iterable[str]) -> KnownImages:
        """The same, and these."""
        return replace(self, paths=self.paths.union(paths))

    def of_new(self) -> KnownImages:
        """What is known of the images of a virtual server that libvirt does not have here."""
        return replace(self, problem=self.problem or self.new_problem)

    def why_not(self, path: str) -> str:
        """Why an image that is missing is not made; "" if it is."""
        if path in self.paths:
            return (
                f"{path}: it was there, and is missing: mount its file system or restore it; if it "
                "shall really be empty, make it yourself with 'qemu-img create'"
            )
        if self.problem:
            return (
                f"{path}: it is missing, and whether it was ever there is unknown: {self.problem}; "
                "if it shall really be empty, make it yourself with 'qemu-img create'"
            )
        return ""


NONE_KNOWN = KnownImages()


def plan_images(
    desired: Desired,
    images: Images,
    *,
    plugged: frozenset[str],
    active: bool,
    storage: Storage = NO_STORAGE,
    missing: Collection[str] = (),
) -> Iterator[Step | Change]:
    """Steps, and changes that are refused.

    Args:
        desired: what is wanted.
        images: what is there.
        plugged: the disks of what runs, by target.dev.
        active: whether it runs.
        storage: the disks that are not on the images that are stated.
        missing: the disks whose images are not made, by target.dev.
    """
    for identity, stated in _made_disks(desired, images):
        path = device_path(DISK, identity)
        facts = images[str(stated["source.file"])]
        if path in storage.moved or identity in missing:
            continue
        if facts is None:
            yield _create(path, stated)
        # To grow an image below an overlay would change nothing that the guest sees.
        elif identity not in storage.held:
            # What runs may still be on the source that it was started with.
            target = identity if identity in plugged - storage.waiting else ""
            if (step := _check(path, stated, facts, target, active)) is not None:
                yield step


def find_missing(
    desired: Desired, images: Images, known: KnownImages, storage: Storage = NO_STORAGE
) -> Mapping[str, Change]:
    """The disks, by target.dev, whose images were there once and are missing; what is told."""
    found: dict[str, Change] = {}
    for identity, stated in _made_disks(desired, images):
        path, file = device_path(DISK, identity), str(stated["source.file"])
        if images[file] is None and path not in storage.moved and (why := known.why_not(file)):
            shown = _shown_size(stated)
            found[identity] = Change(f"{path}.create", None, shown, Effect.REFUSED, why)
    return found


def _made_disks(desired: Desired, images: Images) -> Iterator[tuple[str, Stated]]:
    for identity, stated in desired.statement.devices.get(DISK.name, {}).items():
        if _is_made(stated) and str(stated["source.file"]) in images:
            yield identity, stated


def _is_made(stated: Stated) -> bool:
    return "source.file" in stated and any(name.startswith("create.") for name in stated)


def _create(path: str, stated: Stated) -> Step:
    size = stated.get("create.size")
    backing, preallocation = stated.get("create.backing.file"), stated.get("create.preallocation")
    backing_format = stated.get("create.backing.format")
    action = CreateImage(
        str(stated["source.file"]),
        str(stated["driver.type"]),
        None if size is None else int(size) * _KIB,
        None if backing is None else str(backing),
        None if backing_format is None else str(backing_format),
        None if preallocation is None else str(preallocation),
    )
    what = _shown_size(stated)
    change = Change(f"{path}.create", None, what, Effect.LIVE, "the image is missing and is made")
    return Step(action, (change,))


def _shown_size(stated: Stated) -> str:
    size = stated.get("create.size")
    return str(stated.get("create.backing.file")) if size is None else format_memory(int(size))


def _check(
    path: str, stated: Stated, facts: ImageFacts, target: str, active: bool
) -> Step | Change | None:
    """What to do about an image that is there; ``target`` names its disk if it is plugged in."""
    if facts.problem or facts.size is None:
        why = f"{facts.path}: {facts.problem}; it is left as it is"
        return Change(f"{path}.create", facts.format, None, Effect.REFUSED, why)
    wanted = int(stated.get("create.size", 0)) * _KIB
    # A disk that is still to be plugged into what runs is grown afterwards.
    if "create.size" not in stated or wanted == facts.size or (active and not target):
        return None
    return _resize(f"{path}.create.size", facts, facts.size, wanted, target)


def _resize(field: str, facts: ImageFacts, present: int, wanted: int, target: str) -> Step | Change:
    old, new = format_memory(-(-present // _KIB)), format_memory(wanted // _KIB)
    if wanted < present:
        why = "an image is never made smaller: what its end holds would be lost"
        return Change(field, old, new, Effect.REFUSED, why)
    if target:
        change = Change(field, old, new, Effect.LIVE, "libvirt grows the disk while it is used")
        return Step(GrowDisk(target, wanted), (change,))
    change = Change(field, old, new, Effect.LIVE, "the image is grown; nobody uses it now")
    return Step(GrowImage(facts.path, facts.format or "raw", wanted), (change,))
