"""The test bed itself: what the other tests rely on, seen to be so."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import libvirt
import pytest
import yaml

from testbed import (
    Console,
    Desired,
    Guest,
    LibvirtHost,
    NotSeen,
    SwitchError,
    VirshError,
    block_disk,
    cdrom,
    direct_interface,
    disk,
    domain_xml,
    interface,
    switch_interface,
    traces,
    wait_until,
    x86_domain_xml,
)

TESTS = Path(__file__).resolve().parents[1]

Running = tuple[str, Console]


@pytest.fixture
def running(host: LibvirtHost, guest: Guest, unique_name: Callable[..., str]) -> Running:
    """The name and the console of a guest that has booted."""
    name = unique_name("bed")
    host.define(domain_xml(name, guest, host.console_log(name)))
    host.virsh("start", name)
    console = host.console(name)
    console.wait_for(r"^GUEST-UP kernel=\S+ memory=\d+KiB uptime=\d+$")
    console.wait_for(r"^GUEST cpus=0 blk=- net=- cd=- rng=- scsi=0 uptime=\d+$")
    return name, console


def nics(switch: str, macvtap_parent: str, mac: str) -> str:
    """The XML of an interface on each; `mac` lacks the last digit."""
    return f"""
    <interface type='bridge'>
      <mac address='{mac}1'/>
      <source bridge='{switch}'/>
      <virtualport type='openvswitch'/>
      <model type='virtio'/>
    </interface>
    <interface type='direct'>
      <mac address='{mac}2'/>
      <source dev='{macvtap_parent}' mode='bridge'/>
      <model type='virtio'/>
    </interface>"""


def said_on_the_machine(text: str) -> list[str]:
    """Where a name turns up on this machine, found without the test bed's own searching."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        for file in ("cmdline", "mountinfo"):
            try:
                content = (folder / file).read_bytes()
            except OSError:
                continue
            if text.encode() in content and folder.name != str(os.getpid()):
                found.append(f"{folder / file}")
    for command in (["ip", "-brief", "link"], ["losetup", "--list"]):
        listed = subprocess.run(command, capture_output=True, text=True, check=True)
        found += [line for line in listed.stdout.splitlines() if text in line]
    escaped = text.replace("-", r"\x2d")  # as systemd writes the dashes of a name
    for folder, names, _ in os.walk("/sys/fs/cgroup"):
        found += [f"{folder}/{name}" for name in names if text in name or escaped in name]
    return found


class TestGuest:
    """A real guest, and what it says."""

    def test_reports_a_hotplugged_cpu(self, host: LibvirtHost, running: Running):
        """A CPU added to a running guest is brought online and reported."""
        name, console = running
        host.virsh("setvcpus", name, "2", "--live")
        console.wait_for(r"^GUEST cpus=0-1 ")

    def test_reports_disks_and_interfaces(self, host: LibvirtHost, running: Running, bridge: str):
        """Hotplugged disks appear with their size, interfaces with their MAC address."""
        name, console = running
        image = host.image(f"{name}.qcow2", "24M")
        raw = host.image(f"{name}.raw", "1536K", "raw")
        host.virsh("attach-disk", name, image, "vda", "--subdriver", "qcow2", "--live")
        host.virsh("attach-disk", name, raw, "vdb", "--subdriver", "raw", "--live")
        console.wait_for(r"^GUEST cpus=0 blk=vda:24MiB,vdb:1536KiB net=- ")
        mac = "52:54:00:0a:0b:0c"
        host.virsh("attach-interface", name, "bridge", bridge, "--mac", mac, "--live")
        console.wait_for(rf" net=eth0/{mac} ")
        host.virsh("detach-disk", name, "vda", "--live")
        console.wait_for(r"^GUEST cpus=0 blk=vdb:1536KiB ")

    def test_powers_off_when_asked(self, host: LibvirtHost, running: Running):
        """A shutdown request ends the guest in good order."""
        name, console = running
        host.virsh("shutdown", name)
        console.wait_for(r"^GUEST-DOWN$")
        wait_until(lambda: host.virsh("domstate", name) == "shut off", 30, "the power to go off")


class TestDevices:
    """What a host gives to virtual servers, and they see it."""

    def test_guest_on_a_switch_and_on_macvtap(
        self,
        host: LibvirtHost,
        guest: Guest,
        unique_name: Callable[..., str],
        switch: str,
        macvtap_parent: str,
    ):
        """Interfaces on Open vSwitch and on macvtap work; the switch lists its port, as long."""
        name = unique_name("nics")
        mac = "52:54:00:0a:0b:0"
        devices = nics(switch, macvtap_parent, mac)
        host.define(domain_xml(name, guest, host.console_log(name), devices=devices))
        host.virsh("start", name)
        # The guest finds both at once, and names them in any order.
        host.console(name).wait_for(rf"^GUEST .* net=(?=\S*{mac}1)(?=\S*{mac}2)\S+ ")
        port, parent = (line.split()[0] for line in host.virsh("domiflist", name).splitlines())
        assert host.ovs("list-ports", switch) == port
        assert said_on_the_machine(f"{parent}@{macvtap_parent}") != []
        host.virsh("detach-interface", name, "bridge", "--mac", f"{mac}1", "--live")
        host.virsh("detach-interface", name, "direct", "--mac", f"{mac}2", "--live")
        host.console(name).wait_for(r"^GUEST .* net=- ")
        wait_until(lambda: host.ovs("list-ports", switch) == "", 10, "the port to go")
        with pytest.raises(
            SwitchError, match=r"^ovs-vsctl list-ports none: .*no bridge named none"
        ):
            host.ovs("list-ports", "none")

    def test_guest_names_the_medium_in_its_drive(
        self, host: LibvirtHost, guest: Guest, unique_name: Callable[..., str]
    ):
        """A drive on a SCSI controller, whose medium is taken out, put in and replaced."""
        name = unique_name("cd")
        first, second = (host.iso(f"{name}-{text}.iso", text) for text in ("FIRST", "SECOND_CD"))
        devices = f"""
    <controller type='scsi' model='virtio-scsi'/>
    <disk type='file' device='cdrom'>
      <driver name='qemu' type='raw'/>
      <source file='{first}'/>
      <target dev='sda' bus='scsi'/>
    </disk>"""
        host.define(domain_xml(name, guest, host.console_log(name), devices=devices))
        host.virsh("start", name)
        console = host.console(name)
        console.wait_for(r"^GUEST cpus=0 blk=sr0:\w+ net=- cd=FIRST rng=- scsi=1 uptime=\d+$")
        host.virsh("change-media", name, "sda", "--eject", "--live")
        console.wait_for(r"^GUEST .* cd=- ")
        host.virsh("change-media", name, "sda", second, "--insert", "--live")
        console.wait_for(r"^GUEST .* cd=SECOND_CD ")
        host.virsh("change-media", name, "sda", first, "--update", "--live")
        console.wait_for(r"^GUEST .* cd=FIRST ")

    def test_block_device_and_random_numbers(
        self, host: LibvirtHost, running: Running, tmp_path: Path
    ):
        """A loop device is a disk as any block device; a random number generator is named."""
        name, console = running
        device = host.loop(host.image(f"{name}.raw", "16M", "raw"))
        assert device.is_block_device()
        host.virsh("attach-disk", name, device, "vda", "--sourcetype", "block", "--live")
        console.wait_for(r"^GUEST cpus=0 blk=vda:16MiB ")
        xml = tmp_path / "rng.xml"
        xml.write_text("<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>")
        host.virsh("attach-device", name, xml, "--live")
        console.wait_for(r"^GUEST .* rng=virtio_rng\.0 ")

    @pytest.mark.parametrize("machine", ["pc", "q35"])
    def test_x86_unplug_without_a_system_is_never_answered(
        self, host: LibvirtHost, unique_name: Callable[..., str], machine: str
    ):
        """A disk can be hotplugged; asked to go, it stays, and a second request is refused."""
        name = unique_name(machine)
        host.define(x86_domain_xml(name, machine))
        host.virsh("start", "--paused", name)
        image = host.image(f"{name}.qcow2")
        host.virsh("attach-disk", name, image, "vda", "--subdriver", "qcow2", "--live")
        host.virsh("detach-disk", name, "vda", "--live")  # libvirt only waits for some seconds
        assert host.virsh("domblklist", name).split() == ["vda", str(image)]
        with pytest.raises(VirshError, match="already in the process of unplug"):
            host.virsh("detach-disk", name, "vda", "--live")


class TestHost:
    """A libvirt of its own."""

    @pytest.mark.parametrize("transport", ["qemu:", "qemu+unix:"])
    def test_python_binding_reaches_the_private_host(
        self, host: LibvirtHost, unique_name: Callable[..., str], guest: Guest, transport: str
    ):
        """The URI, with or without its transport, leads the Python binding to the same host."""
        name = unique_name()
        host.define(domain_xml(name, guest, host.console_log(name)))
        connection = libvirt.open(host.uri.replace("qemu:", transport))
        try:
            assert [found.name() for found in connection.listAllDomains()] == [name]
        finally:
            connection.close()

    def test_system_libvirt_does_not_see_the_guests(self, running: Running):
        """A libvirt that the machine runs anyway knows nothing of the test bed's guests."""
        name, _ = running
        system = ["virsh", "--connect", "qemu:///system", "domstate", name]
        seen = subprocess.run(system, capture_output=True, text=True, check=False)
        assert (seen.returncode, seen.stdout.strip()) == (1, "")

    @pytest.mark.usefixtures("cpu_controller")
    def test_cpu_shares_are_real(self, host: LibvirtHost, running: Running):
        """CPU shares of a running guest can be set, and libvirt reads them back."""
        name, _ = running
        host.virsh("schedinfo", name, "--live", "cpu_shares=2048")
        shown = host.virsh("schedinfo", name, "--live").splitlines()
        assert "cpu_shares     : 2048" in shown

    def test_guest_survives_a_crash_of_libvirtd(self, host: LibvirtHost, running: Running):
        """A guest runs on while libvirtd is killed, and the next libvirtd takes it over."""
        name, console = running
        host.kill_libvirtd()
        with pytest.raises(VirshError, match=f"virsh domstate {name}: "):
            host.virsh("domstate", name)
        host.start_libvirtd()
        assert host.virsh("domstate", name) == "running"
        host.virsh("setvcpus", name, "2", "--live")
        console.wait_for(r"^GUEST cpus=0-1 ")

    def test_guest_survives_a_restart_of_libvirtd(self, host: LibvirtHost, running: Running):
        """A guest keeps its number, so it is the same one, over an orderly restart."""
        name, _ = running
        before = host.virsh("domid", name)
        host.restart_libvirtd()
        assert host.virsh("domid", name) == before

    def test_destroy_everything_needs_no_libvirtd(self, host: LibvirtHost, running: Running):
        """Running guests and defined ones are gone afterwards, even if libvirtd had died."""
        name, _ = running
        host.kill_libvirtd()
        host.destroy_everything()
        assert host.names() == []
        assert said_on_the_machine(name) == []


class TestCleanUp:
    """Nothing is left, however a run ends."""

    def test_stopped_host_leaves_nothing(self, guest: Guest):
        """A second host beside the first one, stopped with a guest running, is gone."""
        with LibvirtHost.take() as second:
            name = second.unique_name()
            second.define(domain_xml(name, guest, second.console_log(name)))
            second.virsh("start", name)
            bridge = second.bridge()
            assert said_on_the_machine(name) != []  # the process and its control groups
            assert said_on_the_machine(bridge) != []
            assert said_on_the_machine(str(second.directory)) != []  # mounts
        assert said_on_the_machine(second.slot.name_prefix) == []
        assert said_on_the_machine(bridge) == []
        assert said_on_the_machine(f"{second.directory}/") == []
        assert not second.directory.exists()

    def test_stopped_host_leaves_no_device(self, guest: Guest, switch: str):
        """A second switch works beside the first; it and all other devices go with the host."""
        with LibvirtHost.take() as second:
            prefix, mac = second.slot.bridge_prefix, "52:54:00:0a:0c:0"
            own = second.switch()
            devices = nics(own, second.macvtap_parent(), mac)
            name = second.unique_name()
            second.define(domain_xml(name, guest, second.console_log(name), devices=devices))
            second.virsh("start", "--paused", name)
            loop = second.loop(second.image("one.raw", kind="raw"))
            owner = loop.stat().st_uid
            second.virsh("attach-disk", name, loop, "vda", "--sourcetype", "block", "--live")
            assert loop.stat().st_uid != owner
            assert second.ovs("list-br") == own != switch
            assert len(said_on_the_machine(prefix)) > 4  # interfaces and the processes
            assert len(said_on_the_machine("54:00:0a:0c:0")) == 3  # the emulator as well
        assert said_on_the_machine(prefix) == []
        assert said_on_the_machine("54:00:0a:0c:0") == []
        assert said_on_the_machine(f"{second.directory}/") == []
        assert loop.stat().st_uid == owner

    def test_next_run_sweeps_what_a_killed_one_left(self, guest: Guest):
        """A run that was killed leaves its host behind; taking a slot removes that."""
        program = (
            "import contextlib, os, sys\n"
            "from pathlib import Path\n"
            "from testbed import Guest, LibvirtHost, SwitchTakenError, domain_xml\n"
            "with LibvirtHost.take() as host:\n"
            "    guest = Guest(Path(sys.argv[1]), Path(sys.argv[2]))\n"
            "    name = host.unique_name()\n"
            "    host.define(domain_xml(name, guest, host.console_log(name)))\n"
            "    host.virsh('start', name)\n"
            "    host.bridge()\n"
            "    host.macvtap_parent()\n"
            "    host.loop(host.image('one.raw', kind='raw'))\n"
            "    with contextlib.suppress(SwitchTakenError):\n"
            "        host.switch()\n"
            "    print(host.slot.name_prefix, host.slot.bridge_prefix, flush=True)\n"
            "    os.kill(os.getpid(), 9)\n"
        )
        killed = subprocess.run(
            [sys.executable, "-c", program, guest.kernel, guest.initrd],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(TESTS)},
            check=False,
        )
        prefix, bridge_prefix = killed.stdout.split()
        assert killed.returncode == -signal.SIGKILL
        assert said_on_the_machine(prefix) != []
        assert said_on_the_machine(bridge_prefix) != []
        following = LibvirtHost.take()
        try:
            assert following.slot.name_prefix == prefix
            assert traces(following.slot) == []
        finally:
            following.stop()
        assert said_on_the_machine(prefix) == []
        assert said_on_the_machine(bridge_prefix) == []
        assert said_on_the_machine(f"{following.directory}/") == []

    @pytest.mark.parametrize("request_to_stop", [signal.SIGINT, signal.SIGTERM])
    def test_interrupted_run_leaves_nothing(
        self, host: LibvirtHost, tmp_path: Path, request_to_stop: signal.Signals
    ):
        """Ctrl-C in the middle of a test, or being told to end, still stops the host."""
        test = tmp_path / "test_interrupted.py"
        test.write_text(
            "import time\n"
            "from pathlib import Path\n"
            "def test_never_ends(host):\n"
            "    host.bridge()\n"
            f"    Path({str(tmp_path / 'slot')!r}).write_text(str(host.slot.number))\n"
            "    time.sleep(60)\n",
            encoding="utf-8",
        )
        pytest_command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        # Whoever is started in the background by a shell inherits that Ctrl-C is ignored.
        heeding = ["env", "--default-signal=INT"]
        with subprocess.Popen(
            [*heeding, *pytest_command, "--rootdir", tmp_path, "-p", "conftest", test],
            env={**os.environ, "PYTHONPATH": str(TESTS)},
            stdout=subprocess.DEVNULL,
        ) as run:
            file = tmp_path / "slot"
            number = wait_until(lambda: file.exists() and file.read_text(), 120, "the inner test")
            run.send_signal(request_to_stop)
        assert run.returncode == pytest.ExitCode.INTERRUPTED
        assert number != str(host.slot.number)
        assert said_on_the_machine(f"rv-test-{number}-") == []
        assert said_on_the_machine(f"rvbr{number}-") == []
        assert said_on_the_machine(f"{host.directory.parent / number}/") == []


class TestHelpers:
    """What makes tests short."""

    def test_manifest_is_complete_and_changes_as_asked(
        self, desired: Desired, host: LibvirtHost, unique_name: Callable[..., str]
    ):
        """A manifest has all that boots; keywords replace, take out and add fields."""
        name = unique_name()
        path = desired.manifest(
            name,
            memory="256 MiB",
            state=None,
            devices={
                "disks": [disk(host.images / "one.qcow2", "vda", iothread=1)],
                "interfaces": [interface("br0", "52:54:00:00:00:01")],
            },
        )
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        spec = document["spec"]
        assert document["metadata"] == {"name": name}
        assert list(spec) == ["type", "memory", "vcpu", "os", "devices"]
        assert spec["memory"] == "256 MiB"
        assert spec["devices"]["disks"][0]["driver"]["iothread"] == 1
        assert list(spec["devices"]) == ["consoles", "memballoon", "disks", "interfaces"]
        assert [file.name for file in desired.path.iterdir()] == [f"{name}.yaml"]
        desired.remove(name)
        assert list(desired.path.iterdir()) == []

    def test_devices_of_manifests(self):
        """A block device, CD drives with and without medium, and the kinds of interfaces."""
        assert block_disk(Path("/dev/loop0"), "vda")["source"] == {"dev": "/dev/loop0"}
        assert cdrom(Path("/one.iso"), "sda")["source"] == {"file": "/one.iso"}
        assert "source" not in cdrom(None, "sda")
        direct = direct_interface("veth0", "52:54:00:00:00:01", mode="vepa")
        assert direct["source"] == {"dev": "veth0", "mode": "vepa"}
        on_switch = switch_interface("br0", "52:54:00:00:00:01")
        assert on_switch["virtualport"] == {"type": "openvswitch"}

    def test_waiting_in_vain_says_for_what(self):
        """What was not seen is named, with the time it was given and the last thing seen."""
        with pytest.raises(NotSeen, match=r"^waited [\d.]+ s for the impossible; last seen: 0$"):
            wait_until(lambda: 0, 0.1, "the impossible")

    def test_console_shows_its_end_when_a_line_is_missing(self, tmp_path: Path):
        """A missing line is reported with what the console did say."""
        log = tmp_path / "console.log"
        log.write_text("first\r\nsecond\r\n", encoding="utf-8")
        console = Console(log)
        console.wait_for("^second$", timeout=1)
        with pytest.raises(NotSeen, match=r"(?s)/\^first\$/.*ends with:\nfirst\nsecond"):
            console.wait_for("^first$", timeout=0.1)  # it stands before the second
