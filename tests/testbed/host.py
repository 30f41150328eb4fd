"""A private libvirt host: the machine's kernel and network, but its own libvirt."""

import contextlib
import itertools
import os
import signal
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from testbed import media
from testbed.console import Console
from testbed.slots import Slot
from testbed.switch import Switch
from testbed.traces import (
    MARK,
    emulators,
    kill,
    remove_control_groups,
    sweep,
    take_clean_slot,
)
from testbed.waiting import NotSeen, wait_until

START_SECONDS = 30.0
VIRSH_SECONDS = 60.0
EMULATORS = ("qemu-system-s390x", "qemu-system-x86_64", "qemu-system-aarch64")
MIGRATION_PORT = 49152  # each slot has a hundred ports from here on

# What libvirt and Open vSwitch write to, and the bed's directory that is mounted over it.
MOUNTS = {
    "etc": "/etc/libvirt",
    "run": "/run/libvirt",
    "state": "/var/lib/libvirt/qemu",
    "log": "/var/log/libvirt",
    "cache": "/var/cache/libvirt",
    "switch": "/run/openvswitch",
}


class VirshError(RuntimeError):
    """A virsh command failed; the message is the command and what virsh said."""


class LibvirtHost:
    """A libvirtd and a virtlogd in a mount namespace of their own, started and ended by tests.

    Bind mounts give the two daemons their own configuration, sockets, state and logs, as on
    another machine; control groups, devices and the network are the machine's, so CPU shares
    and bridges are real. From outside, `uri` reaches it. Paths under `directory` mean the
    same inside and outside.

    `images` is seen by a second host as well, as on a shared file system; `local` is there on
    both under the same path with other contents.

    `uuid` is the host uuid that its libvirt reports: its own, and the same at every start.

    Use it as a context manager. Whatever a killed run left behind is removed on entering.
    """

    NAME = "zhost1"
    NUMBER = 1
    KVM = False
    NAMESPACES: tuple[str, ...] = ("--mount",)
    MOUNTS: ClassVar[Mapping[str, str]] = MOUNTS
    LIBVIRTD_SETTINGS: tuple[str, ...] = ('unix_sock_rw_perms = "0700"',)
    QEMU_SETTINGS: tuple[str, ...] = ()
    DIRECTORIES: tuple[str, ...] = ("images", "local", "consoles", "guest")

    def __init__(self, slot: Slot) -> None:
        self.slot = slot
        self.directory = self._place()
        self.images = slot.directory / "images"
        self.local = slot.directory / "local"
        self.address = f"10.98.{slot.number}.{self.NUMBER}"
        # Of itself libvirt takes the machine's, by which all beds would be one and the same host.
        self.uuid = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{slot.directory.as_uri()}/{self.NAME}"))
        self.uri = f"qemu:///system?socket={self.directory}/run/libvirt-sock"
        self._numbers = itertools.count(1)
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._listening: tuple[str, ...] = ()
        self._switch = Switch(slot, self._spawn_inside)

    @classmethod
    def take(cls) -> Self:
        """A host in a free slot, not started; every free slot is swept on the way."""
        return cls(take_clean_slot())

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    # The daemons

    def start(self) -> None:
        """Make the directories and the namespace, and start both daemons."""
        for name in (*self.MOUNTS, *self.DIRECTORIES):
            (self.directory / name).mkdir(mode=0o755, parents=True)
        self._write_configuration()
        mounts = self._prepare() + "".join(
            f"mkdir -p {target} && mount --bind {self.directory}/{source} {target} && "
            for source, target in self.MOUNTS.items()
        )
        # Guests are emulated. A KVM that is there and that QEMU cannot use, as in a virtual machine
        # without nesting, has libvirt examine QEMU again at each define, for a minute.
        nothing = self.directory / "nothing"
        nothing.touch()
        if self.KVM:
            # libvirt's QEMU runs as another user, whom the machine need not let use it.
            mounts += f"mknod -m 666 {self.directory}/kvm c 10 232 && "
            mounts += f"mount --bind {self.directory}/kvm /dev/kvm && "
        elif Path("/dev/kvm").exists():
            mounts += f"mount --bind {nothing} /dev/kvm && mount -o remount,bind,ro /dev/kvm && "
        # libvirt runs each emulator that is installed before it tells of statistics. What cannot
        # be executed is none: there are those that tests need, and the minute is saved.
        for path in Path("/usr/bin").glob("qemu-system-*"):
            if path.name not in EMULATORS and not path.is_symlink():
                mounts += f"mount --bind {nothing} {path} && "
        ready = self.directory / "ready"
        # One process keeps the namespace, whatever happens to the daemons.
        script = f"{mounts}: > {ready}; exec sleep inf"
        self._spawn("namespace", "unshare", *self.NAMESPACES, "sh", "-c", script)
        wait_until(ready.exists, START_SECONDS, "the namespaces")
        self._connect()
        self._spawn_inside("virtlogd", *self._pid_file("virtlogd"))
        self.start_libvirtd()

    def stop(self) -> None:
        """End everything of this host, at once and without asking, and leave no trace."""
        try:
            sweep(self.slot)
            for process in self._daemons.values():
                process.wait()
        finally:
            self._daemons.clear()
            self.slot.release()

    def start_libvirtd(self) -> None:
        """Start libvirtd if it does not run, and wait until it answers."""
        running = self._daemons.get("libvirtd")
        if running is None or running.poll() is not None:
            self._spawn_inside("libvirtd", *self._listening, *self._pid_file("libvirtd"))
        try:
            wait_until(self._answers, START_SECONDS, "libvirtd to answer")
        except NotSeen as error:
            log = (self.directory / "libvirtd.log").read_text(encoding="utf-8")
            raise NotSeen(f"{error}; libvirtd.log ends with:\n{log[-2000:]}") from None

    def kill_libvirtd(self) -> None:
        """End libvirtd as a crash would; the virtual servers run on."""
        process = self._daemons["libvirtd"]
        process.kill()
        process.wait()

    @contextlib.contextmanager
    def silent_libvirtd(self) -> Iterator[None]:
        """libvirtd answers nobody, and keeps its connections."""
        process = self._daemons["libvirtd"]
        process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            process.send_signal(signal.SIGCONT)

    def restart_libvirtd(self) -> None:
        """Stop libvirtd in good order, as an upgrade does, and start it again."""
        process = self._daemons["libvirtd"]
        process.terminate()
        process.wait(START_SECONDS)
        self.start_libvirtd()

    @contextlib.contextmanager
    def qemu_settings(self, *lines: str) -> Iterator[None]:
        """libvirtd has these lines in its qemu.conf as well."""
        path = self.directory / "etc" / "qemu.conf"
        before = path.read_text(encoding="utf-8")
        path.write_text(before + "\n".join(lines) + "\n", encoding="utf-8")
        self.restart_libvirtd()
        try:
            yield
        finally:
            path.write_text(before, encoding="utf-8")
            self.restart_libvirtd()

    def log_monitors(self) -> Path:
        """Have libvirtd log what it tells QEMU, until it is started anew; the log."""
        path = self.directory / "monitors.log"
        path.write_text("", encoding="utf-8")
        admin = f"libvirtd:///system?socket={self.directory}/run/libvirt-admin-sock"
        for setting in (
            ("daemon-log-filters", "1:qemu.qemu_monitor"),
            ("daemon-log-outputs", f"1:file:{path}"),
        ):
            subprocess.run(["virt-admin", "-q", "-c", admin, *setting], check=True)
        return path

    # What tests do with it

    def virsh(self, *arguments: str | Path, timeout: float = VIRSH_SECONDS) -> str:
        """Run virsh on this host and return what it printed, without the last newline.

        Raises `VirshError` with its message when it fails, and subprocess.TimeoutExpired
        when it takes more than `timeout` seconds.
        """
        command = ["virsh", "--quiet", "--connect", self.uri, *map(str, arguments)]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, "LC_ALL": "C"},
            check=False,
        )
        if done.returncode:
            raise VirshError(f"virsh {' '.join(map(str, arguments))}: {done.stderr.strip()}")
        return done.stdout.rstrip("\n")

    def define(self, xml: str) -> None:
        """Define a virtual server from `xml`."""
        path = self.directory / f"define-{next(self._numbers)}.xml"
        path.write_text(xml, encoding="utf-8")
        self.virsh("define", path)

    def unique_name(self, purpose: str = "vs") -> str:
        """A name for a virtual server that nobody had before and that clean-up recognises."""
        return f"{self.slot.name_prefix}{purpose}-{next(self._numbers)}"

    def names(self) -> list[str]:
        """The test bed's virtual servers, running or not."""
        listed = self.virsh("list", "--all", "--name").split()
        return [name for name in listed if name.startswith(self.slot.name_prefix)]

    def console_log(self, name: str) -> Path:
        """Where the console of the virtual server `name` is logged."""
        return self.directory / "consoles" / f"{name}.log"

    def console(self, name: str) -> Console:
        """The console of the virtual server `name`, read from the start."""
        return Console(self.console_log(name))

    def image(self, name: str, size: str = "64M", kind: str = "qcow2") -> Path:
        """Make a disk image in `images`: `size` as qemu-img reads it, `kind` qcow2 or raw."""
        path = self.images / name
        command: tuple[str | Path, ...] = ("qemu-img", "create", "-q", "-f", kind, path, size)
        subprocess.run(command, check=True)
        return path

    def iso(self, name: str, text: str) -> Path:
        """Make a CD image in `images` whose volume label is `text`, which guests report."""
        return media.make_iso(self.images / name, text)

    def loop(self, image: Path) -> Path:
        """Make a block device of a raw image of this host; it is released when the host stops."""
        return media.attach_loop(image)

    def bridge(self) -> str:
        """Make a network bridge, up and without addresses; it goes when the host stops."""
        name = f"{self.slot.bridge_prefix}{next(self._numbers)}"
        subprocess.run(["ip", "link", "add", name, "type", "bridge"], check=True)
        subprocess.run(["ip", "link", "set", name, "up"], check=True)
        return name

    def macvtap_parent(self) -> str:
        """Make an interface, up, for NICs of type direct; it goes when the host stops."""
        name = f"{self.slot.bridge_prefix}{next(self._numbers)}"
        other = f"{name}p"
        pair = ["ip", "link", "add", name, "type", "veth", "peer", "name", other]
        subprocess.run(pair, check=True)
        for end in (name, other):  # without the other end up it has no carrier
            subprocess.run(["ip", "link", "set", end, "up"], check=True)
        return name

    def switch(self) -> str:
        """Make an Open vSwitch bridge in user space, up; it goes when the host stops."""
        name = f"{self.slot.bridge_prefix}{next(self._numbers)}"
        self._switch.add_bridge(name)
        return name

    def ovs(self, *arguments: str) -> str:
        """Run ovs-vsctl on this host's switch and return what it printed.

        Raises `SwitchError` with its message when it fails, as it does before `switch`.
        """
        return self._switch.ovs(*arguments)

    def destroy_everything(self) -> None:
        """Destroy and undefine every virtual server of the test bed; starts libvirtd if need be."""
        kill(*emulators(self.slot))  # faster than asking for each, and a stuck one goes as well
        self.start_libvirtd()
        for name in self.names():
            everything = ("--managed-save", "--snapshots-metadata", "--checkpoints-metadata")
            try:
                self.virsh("undefine", name, "--nvram", *everything)
            except VirshError:  # a transient one vanished by itself
                if name in self.names():
                    self.virsh("destroy", name)
        wait_until(lambda: not self.names(), START_SECONDS, "the last virtual server to go")
        remove_control_groups(self.slot)  # libvirt forgets those of whom died without it

    def inside(self, *command: str) -> tuple[str, ...]:
        """A command as it is run inside this host."""
        target = f"--target={self._daemons['namespace'].pid}"
        return "nsenter", target, *self.NAMESPACES, *command

    def where(self, *command: str) -> tuple[str, ...]:
        """A command as it is run so that it sees this host's network and directories."""
        return command

    @property
    def remote_uri(self) -> str:
        """How the other host reaches this one, after `listen`."""
        return f"qemu+tcp://{self.address}/system"

    @property
    def port_max(self) -> int:
        """The last port at which virtual servers arrive, after `listen`."""
        return MIGRATION_PORT + 100 * self.slot.number + 99

    def listen(self) -> None:
        """Have libvirtd listen for the other host, at `remote_uri`."""
        if self._listening:
            return
        lines = {
            "libvirtd.conf": [
                *("listen_tls = 0", "listen_tcp = 1", 'auth_tcp = "none"'),
                f'listen_addr = "{self.address}"',
            ],
            "qemu.conf": [
                f'migration_host = "{self.address}"',
                f"migration_port_min = {MIGRATION_PORT + 100 * self.slot.number}",
                f"migration_port_max = {self.port_max}",
            ],
        }
        for name, more in lines.items():
            with (self.directory / "etc" / name).open("a", encoding="utf-8") as file:
                file.write("\n".join(more) + "\n")
        self._listening = ("--listen",)
        if "libvirtd" in self._daemons:
            self.restart_libvirtd()

    # The machinery

    def _place(self) -> Path:
        return self.slot.directory

    def _prepare(self) -> str:
        """What is done first inside the namespaces, as shell commands that end in `&& `."""
        return ""

    def _connect(self) -> None:
        """Make the network, once the namespaces are there."""

    def _answers(self) -> bool:
        try:  # not "version", for which libvirt runs each emulator that is installed
            return bool(self.virsh("uri", timeout=START_SECONDS))
        except VirshError:
            return False

    def _write_configuration(self) -> None:
        configuration = {
            "libvirtd.conf": [
                'auth_unix_rw = "none"',
                *self.LIBVIRTD_SETTINGS,
                f'host_uuid = "{self.uuid}"',
                f'log_outputs = "3:file:{self.directory}/libvirtd.log"',
            ],
            # The confinement of the machine's own libvirt knows nothing of our directory, and a
            # /dev for each emulator cannot be made where something is mounted on /dev/kvm. Owners
            # are remembered in attributes, which a killed run would leave on loop devices.
            "qemu.conf": [
                *('security_driver = "none"', "namespaces = []", "remember_owner = 0"),
                *self.QEMU_SETTINGS,
            ],
            "virtlogd.conf": [f'log_outputs = "3:file:{self.directory}/virtlogd.log"'],
        }
        for name, lines in configuration.items():
            (self.directory / "etc" / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        (self.directory / "libvirtd.log").touch()

    def _pid_file(self, daemon: str) -> tuple[str, str]:
        return "--pid-file", f"{self.directory}/{daemon}.pid"

    def _spawn_inside(self, daemon: str, *arguments: str) -> None:
        self._spawn(daemon, *self.inside(daemon, *arguments))

    def _spawn(self, name: str, *command: str) -> None:
        with (self.directory / f"{name}.out").open("ab") as output:
            self._daemons[name] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, MARK: str(self.slot.directory)},
                start_new_session=True,  # Ctrl-C is for the tests, which then stop us
            )
