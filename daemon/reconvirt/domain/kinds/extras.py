"""Everything else that a virtual server may have: rng, watchdog, balloon, input, graphics, TPM."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconvirt.domain import values
from reconvirt.domain.effects import at_next_start
from reconvirt.domain.joint_places import ListenAddress
from reconvirt.domain.kinds.common import ADDRESS_ROWS, ALIAS, PERSISTENT, no_hotplug
from reconvirt.domain.places import Attribute, Text
from reconvirt.domain.rows import DeviceKind, Field, Stated, always, usual
from reconvirt.domain.xmltree import attributes

if TYPE_CHECKING:
    from lxml.etree import _Element

_STARTED_WITH = "a running virtual server keeps what it was started with"
_FIXED = at_next_start(_STARTED_WITH)
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
            _FIXED,
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
    hotplug=no_hotplug(_STARTED_WITH),
    implied=_plain_balloon,
    title="Memory balloon",
    description="The memory balloon device; libvirt adds one unless its model is none "
    "(chapter 10).",
    fields=(
        Field(
            "model",
            values.choice("virtio", "virtio-transitional", "virtio-non-transitional", "none"),
            _FIXED,
            "Model",
            "none suppresses the balloon device that libvirt adds by itself.",
            place=Attribute("", "model", alone=True),
            required=True,
        ),
        Field(
            "autodeflate",
            values.choice(*values.ON_OFF),
            _FIXED,
            "Automatic deflation",
            "The guest gets memory back before it kills a process for want of it.",
        ),
        Field(
            "freePageReporting",
            values.choice(*values.ON_OFF),
            _FIXED,
            "Free page reporting",
            "The guest gives unused memory back to the host.",
        ),
        Field(
            "stats.period",
            values.integer(0),
            _FIXED,
            "Period of statistics",
            "How often the guest tells its memory statistics, in seconds.",
        ),
        ALIAS,
        *ADDRESS_ROWS,
    ),
)


def _input_hotplug(stated: Stated) -> str:
    bus = stated.get("bus")
    return "" if bus in ("virtio", "usb") else f"an input on the bus {bus} cannot be hotplugged"


INPUT = DeviceKind(
    "inputs",
    "input",
    identity=("type", "bus"),
    numbered=True,
    hotplug=_input_hotplug,
    implied=lambda device, _domain: device.get("bus") == "ps2",
    title="Input devices",
    description="Keyboards, mice and tablets, told apart by type and bus.",
    fields=(
        Field(
            "type",
            values.choice("keyboard", "mouse", "tablet"),
            _FIXED,
            "Type",
            "The device the guest sees.",
            required=True,
        ),
        Field(
            "bus",
            values.choice("virtio", "usb", "ps2", "xen"),
            _FIXED,
            "Bus",
            "How it is attached: virtio on s390x.",
            required=True,
        ),
        ALIAS,
        *ADDRESS_ROWS,
        PERSISTENT,
    ),
)

GRAPHICS = DeviceKind(
    "graphics",
    "graphics",
    identity=("type",),
    numbered=True,
    hotplug=no_hotplug("graphics cannot be plugged into a running virtual server"),
    title="Graphics",
    description="How the guest's screen is seen, told apart by type. A password is never written "
    "in a manifest.",
    fields=(
        Field(
            "type",
            values.choice("vnc", "spice"),
            _FIXED,
            "Type",
            "The protocol.",
            required=True,
        ),
        Field(
            "port",
            values.integer(-1, 65535),
            _FIXED,
            "Port",
            "The TCP port; -1 lets libvirt choose.",
            implied=usual(-1),
            expanded=True,
        ),
        Field(
            "tlsPort",
            values.integer(-1, 65535),
            _FIXED,
            "TLS port",
            "spice: the TCP port for TLS; -1 lets libvirt choose.",
            expanded=True,
        ),
        Field(
            "autoport",
            values.choice(*values.YES_NO),
            _FIXED,
            "Automatic port",
            "Whether libvirt chooses the port.",
            implied=usual("yes"),
            expanded=True,
        ),
        Field(
            "listen.type",
            values.choice("address", "none"),
            _FIXED,
            "Listening",
            "address: on an IP address; none: not at all.",
            implied=usual("address"),
            expanded=True,
        ),
        Field(
            "listen.address",
            values.text(r"^[A-Za-z0-9.:_-]+$", examples=["127.0.0.1"]),
            _FIXED,
            "Address",
            "Where it listens; libvirt's own configuration says if not stated.",
            place=ListenAddress(),
            expanded=True,
        ),
        Field(
            "image.compression",
            values.choice("auto_glz", "auto_lz", "quic", "glz", "lz", "off"),
            _FIXED,
            "Image compression",
            "spice: how images are compressed.",
        ),
        Field(
            "gl.enable",
            values.choice(*values.YES_NO),
            _FIXED,
            "OpenGL",
            "Whether the host renders for the guest.",
        ),
        Field("gl.rendernode", values.path(), _FIXED, "Render node", "The host's device for it."),
        Field(
            "websocket",
            values.integer(-1, 65535),
            _FIXED,
            "Websocket port",
            "vnc: the TCP port for websockets; -1 lets libvirt choose.",
            expanded=True,
        ),
        Field("keymap", values.text(r"^[a-z-]+$"), _FIXED, "Keymap", "vnc: the keyboard layout."),
    ),
)

VIDEO = DeviceKind(
    "videos",
    "video",
    identity=("model.type",),
    numbered=True,
    hotplug=no_hotplug("a video device cannot be plugged into a running virtual server"),
    title="Video devices",
    description="The guest's screens, told apart by model.type.",
    fields=(
        Field(
            "model.type",
            values.choice(
                *("virtio", "vga", "qxl", "cirrus", "bochs", "ramfb", "none", "vmvga", "gop")
            ),
            _FIXED,
            "Model",
            "The device the guest sees; virtio on s390x.",
            required=True,
        ),
        Field(
            "model.heads",
            values.integer(1),
            _FIXED,
            "Heads",
            "How many screens.",
            implied=usual(1),
        ),
        Field(
            "model.acceleration.accel3d",
            values.choice(*values.YES_NO),
            _FIXED,
            "3D acceleration",
            "virtio: whether the guest can draw in three dimensions.",
        ),
        Field("model.vram", values.integer(0), _FIXED, "Video memory", "In KiB."),
        Field("model.ram", values.integer(0), _FIXED, "Memory", "qxl: in KiB."),
        Field("model.vgamem", values.integer(0), _FIXED, "VGA memory", "qxl: in KiB."),
        Field(
            "model.primary",
            values.choice(*values.YES_NO),
            _FIXED,
            "Primary",
            "Whether it is the one that the guest boots on.",
            implied=usual("yes"),
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
            _FIXED,
            "Model",
            "The device the guest sees.",
            required=True,
        ),
        Field(
            "backend.type",
            values.choice("emulator", "passthrough"),
            _FIXED,
            "Backend",
            "emulator: swtpm; passthrough: the host's own.",
            required=True,
        ),
        Field(
            "backend.version",
            values.choice("1.2", "2.0"),
            _FIXED,
            "Version",
            "emulator: the version of the TPM.",
        ),
        Field(
            "backend.device.path",
            values.path(),
            _FIXED,
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
        Field("name", values.line(), _FIXED, "Name", "Such as vmx.", required=True),
        Field(
            "policy",
            values.choice("force", "require", "optional", "disable", "forbid"),
            _FIXED,
            "Policy",
            "What to do about it.",
            default=always("require"),
        ),
    ),
)
