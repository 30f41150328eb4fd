"""Everything else that a virtual server may have: rng, watchdog, balloon, TPM, CPU features."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconvirt.domain import values
from reconvirt.domain.effects import STARTED_WITH, at_next_start
from reconvirt.domain.kinds.common import ADDRESS_ROWS, ALIAS, PERSISTENT, no_hotplug
from reconvirt.domain.places import Attribute, Text
from reconvirt.domain.rows import DeviceKind, Field, Stated, always, usual
from reconvirt.domain.xmltree import attributes

if TYPE_CHECKING:
    from lxml.etree import _Element

_RNG = at_next_start("libvirt cannot change it on a generator that is plugged in")

RNG = DeviceKind(
    "rngs",
    "rng",
    identity=("model", "backend.model", "backend.source"),
    numbered=True,
    source=("backend.source",),
    title="Random number generators",
    description="Random number generators, told apart by model and backend (chapter 11).",
    fields=(
        Field(
            "model",
            values.choice("virtio", "virtio-transitional", "virtio-non-transitional"),
            _RNG,
            "Model",
            "The device the guest sees.",
            default=always("virtio"),
        ),
        Field(
            "backend.model",
            values.choice("random", "builtin"),
            _RNG,
            "Backend",
            "random: a character device of the host; builtin: QEMU's own.",
            default=always("random"),
        ),
        Field(
            "backend.source",
            values.path(),
            _RNG,
            "Source",
            "random: the character device that gives the random numbers.",
            place=Text("backend"),
            default=lambda _name, stated: (
                "/dev/random" if stated.get("backend.model") == "random" else None
            ),
        ),
        Field("rate.bytes", values.integer(1), _RNG, "Bytes", "The most bytes in each period."),
        Field("rate.period", values.integer(1), _RNG, "Period", "In milliseconds."),
        ALIAS,
        *ADDRESS_ROWS,
        PERSISTENT,
    ),
)


def _watchdog_hotplug(stated: Stated) -> str:
    model = stated.get("model")
    return "" if model == "i6300esb" else f"a watchdog of the model {model} cannot be hotplugged"


WATCHDOG = DeviceKind(
    "watchdog",
    "watchdog",
    identity=(),
    single=True,
    hotplug=_watchdog_hotplug,
    title="Watchdog",
    description="The watchdog device (chapter 10); at most one.",
    fields=(
        Field(
            "model",
            values.choice("diag288", "i6300esb", "ib700", "itco"),
            STARTED_WITH,
            "Model",
            "diag288 on s390x, i6300esb on x86.",
            required=True,
        ),
        Field(
            "action",
            values.choice("reset", "poweroff", "pause", "dump", "inject-nmi", "none", "shutdown"),
            at_next_start("libvirt cannot change the action of a watchdog that is there"),
            "Action",
            "What happens when the timer expires; reset is libvirt's default.",
            implied=usual("reset"),
        ),
        ALIAS,
        *ADDRESS_ROWS,
    ),
)


def _plain_balloon(balloon: _Element, _domain: _Element) -> bool:
    told = {child.tag for child in balloon} - {"address", "alias"}
    return attributes(balloon) == {"model": "virtio"} and not told


MEMBALLOON = DeviceKind(
    "memballoon",
    "memballoon",
    identity=(),
    single=True,
    hotplug=no_hotplug("a running virtual server keeps the TPM that it was started with"),
    implied=_plain_balloon,
    title="Memory balloon",
    description="The memory balloon device; libvirt adds one unless its model is none "
    "(chapter 10).",
    fields=(
        Field(
            "model",
            values.choice("virtio", "virtio-transitional", "virtio-non-transitional", "none"),
            STARTED_WITH,
            "Model",
            "none suppresses the balloon device that libvirt adds by itself.",
            place=Attribute("", "model", alone=True),
            required=True,
        ),
        Field(
            "autodeflate",
            values.choice(*values.ON_OFF),
            STARTED_WITH,
            "Automatic deflation",
            "The guest gets memory back before it kills a process for want of it.",
        ),
        Field(
            "freePageReporting",
            values.choice(*values.ON_OFF),
            STARTED_WITH,
            "Free page reporting",
            "The guest gives unused memory back to the host.",
        ),
        Field(
            "stats.period",
            values.integer(0),
            STARTED_WITH,
            "Period of statistics",
            "How often the guest tells its memory statistics, in seconds.",
        ),
        ALIAS,
        *ADDRESS_ROWS,
    ),
)

TPM = DeviceKind(
    "tpm",
    "tpm",
    identity=(),
    single=True,
    hotplug=no_hotplug("a TPM cannot be plugged into a running virtual server"),
    title="TPM",
    description="The trusted platform module; at most one. Its state is never deleted.",
    fields=(
        Field(
            "model",
            values.choice("tpm-tis", "tpm-crb", "tpm-spapr", "spapr-tpm-proxy"),
            STARTED_WITH,
            "Model",
            "The device the guest sees.",
            required=True,
        ),
        Field(
            "backend.type",
            values.choice("emulator", "passthrough"),
            STARTED_WITH,
            "Backend",
            "emulator: swtpm; passthrough: the host's own.",
            required=True,
        ),
        Field(
            "backend.version",
            values.choice("1.2", "2.0"),
            STARTED_WITH,
            "Version",
            "emulator: the version of the TPM.",
        ),
        Field(
            "backend.device.path",
            values.path(),
            STARTED_WITH,
            "Host device",
            "passthrough: such as /dev/tpm0.",
        ),
        ALIAS,
        *ADDRESS_ROWS,
    ),
)

CPU_FEATURE = DeviceKind(
    "features",
    "feature",
    identity=("name",),
    where="cpu",
    hotplug=no_hotplug("a running guest keeps the processor it was started with"),
    title="CPU features",
    description="Single features of the CPU that the guest shall have or not have.",
    fields=(
        Field("name", values.line(), STARTED_WITH, "Name", "Such as vmx.", required=True),
        Field(
            "policy",
            values.choice("force", "require", "optional", "disable", "forbid"),
            STARTED_WITH,
            "Policy",
            "What to do about it.",
            default=always("require"),
        ),
    ),
)
