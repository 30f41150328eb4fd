"""What a person sees of a virtual server: its screens and how they are shown, and its inputs."""

from __future__ import annotations

from reconvirt.domain import values
from reconvirt.domain.effects import STARTED_WITH
from reconvirt.domain.joint_places import ListenAddress
from reconvirt.domain.kinds.common import ADDRESS_ROWS, ALIAS, PERSISTENT, no_hotplug
from reconvirt.domain.rows import DeviceKind, Field, Stated, usual


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
            STARTED_WITH,
            "Type",
            "The device the guest sees.",
            required=True,
        ),
        Field(
            "bus",
            values.choice("virtio", "usb", "ps2", "xen"),
            STARTED_WITH,
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
            STARTED_WITH,
            "Type",
            "The protocol.",
            required=True,
        ),
        Field(
            "port",
            values.integer(-1, 65535),
            STARTED_WITH,
            "Port",
            "The TCP port; -1 lets libvirt choose.",
            implied=usual(-1),
            expanded=True,
        ),
        Field(
            "tlsPort",
            values.integer(-1, 65535),
            STARTED_WITH,
            "TLS port",
            "spice: the TCP port for TLS; -1 lets libvirt choose.",
            expanded=True,
        ),
        Field(
            "autoport",
            values.choice(*values.YES_NO),
            STARTED_WITH,
            "Automatic port",
            "Whether libvirt chooses the port.",
            implied=usual("yes"),
            expanded=True,
        ),
        Field(
            "listen.type",
            values.choice("address", "none"),
            STARTED_WITH,
            "Listening",
            "address: on an IP address; none: not at all.",
            implied=usual("address"),
            expanded=True,
        ),
        Field(
            "listen.address",
            values.text(r"^[A-Za-z0-9.:_-]+$", examples=["127.0.0.1"]),
            STARTED_WITH,
            "Address",
            "Where it listens; libvirt's own configuration says if not stated.",
            place=ListenAddress(),
            expanded=True,
        ),
        Field(
            "image.compression",
            values.choice("auto_glz", "auto_lz", "quic", "glz", "lz", "off"),
            STARTED_WITH,
            "Image compression",
            "spice: how images are compressed.",
        ),
        Field(
            "gl.enable",
            values.choice(*values.YES_NO),
            STARTED_WITH,
            "OpenGL",
            "Whether the host renders for the guest.",
        ),
        Field(
            "gl.rendernode", values.path(), STARTED_WITH, "Render node", "The host's device for it."
        ),
        Field(
            "websocket",
            values.integer(-1, 65535),
            STARTED_WITH,
            "Websocket port",
            "vnc: the TCP port for websockets; -1 lets libvirt choose.",
            expanded=True,
        ),
        Field(
            "keymap", values.text(r"^[a-z-]+$"), STARTED_WITH, "Keymap", "vnc: the keyboard layout."
        ),
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
            STARTED_WITH,
            "Model",
            "The device the guest sees; virtio on s390x.",
            required=True,
        ),
        Field(
            "model.heads",
            values.integer(1),
            STARTED_WITH,
            "Heads",
            "How many screens.",
            implied=usual(1),
        ),
        Field(
            "model.acceleration.accel3d",
            values.choice(*values.YES_NO),
            STARTED_WITH,
            "3D acceleration",
            "virtio: whether the guest can draw in three dimensions.",
        ),
        Field("model.vram", values.integer(0), STARTED_WITH, "Video memory", "In KiB."),
        Field("model.ram", values.integer(0), STARTED_WITH, "Memory", "qxl: in KiB."),
        Field("model.vgamem", values.integer(0), STARTED_WITH, "VGA memory", "qxl: in KiB."),
        Field(
            "model.primary",
            values.choice(*values.YES_NO),
            STARTED_WITH,
            "Primary",
            "Whether it is the one that the guest boots on.",
            implied=usual("yes"),
        ),
        ALIAS,
        *ADDRESS_ROWS,
    ),
)
