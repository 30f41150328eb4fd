"""Network interfaces of the machine, for virtual servers."""

import subprocess


def make_bridge(name: str) -> str:
    """Make a network bridge of this name, up and without addresses."""
    subprocess.run(["ip", "link", "add", name, "type", "bridge"], check=True)
    subprocess.run(["ip", "link", "set", name, "up"], check=True)
    return name


def make_pair(name: str) -> str:
    """Make an interface of this name, up, which has another end without an address."""
    other = f"{name}p"
    pair = ["ip", "link", "add", name, "type", "veth", "peer", "name", other]
    subprocess.run(pair, check=True)
    for end in (name, other):  # without the other end up it has no carrier
        subprocess.run(["ip", "link", "set", end, "up"], check=True)
    return name
