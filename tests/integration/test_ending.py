"""No crash at the end: connections are closed while calls are inside, and commands end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from testbed import Desired, LibvirtHost, Reconvirt

Name = Callable[..., str]

CALLS = int(os.environ.get("RECONVIRT_TEST_COMMANDS", "40"))
"""How many commands are run in all; thousands of them take an hour."""

# Four threads are inside when libvirtd hangs; the connection is given up and closed at the moment
# at which their calls come back.
CLOSING = """
import os, signal, sys, threading, time
from reconvirt.hypervisor.connection import Hypervisor
from reconvirt.hypervisor.errors import HypervisorError

uri, libvirtd, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])

def work(hypervisor):
    try:
        while True:
            hypervisor.list_all()
    except HypervisorError:
        return

for _ in range(rounds):
    hypervisor = Hypervisor(uri, keepalive=(1, 1))
    threads = [threading.Thread(target=work, args=(hypervisor,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    os.kill(libvirtd, signal.SIGSTOP)
    while hypervisor.alive():
        time.sleep(0.0005)
    hypervisor.close()
    os.kill(libvirtd, signal.SIGCONT)
    for thread in threads:
        thread.join(60)
print("done", flush=True)
"""


@contextmanager
def busy_machine() -> Iterator[None]:
    """Every CPU has something else to do."""
    spin = "while True: pass"
    busy = [
        subprocess.Popen([sys.executable, "-c", f"import os; os.nice(19)\n{spin}"])
        for _ in range(os.cpu_count() or 1)
    ]
    try:
        yield
    finally:
        for each in busy:
            each.kill()
            each.wait()


def test_a_connection_is_closed_while_calls_are_inside(host: LibvirtHost) -> None:
    libvirtd = int((host.directory / "libvirtd.pid").read_text(encoding="utf-8"))
    try:
        done = subprocess.run(
            [sys.executable, "-c", CLOSING, host.uri, str(libvirtd), "8"],
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
    finally:
        os.kill(libvirtd, signal.SIGCONT)
    assert (0, "done\n") == (done.returncode, done.stdout), done.stderr


@pytest.mark.timeout(0)  # it takes as long as there are commands to be run
def test_no_command_ends_with_a_crash(
    desired: Desired, reconvirt: Reconvirt, unique_name: Name
) -> None:
    """Many of them on a busy machine; each ends with the exit code that it always has."""
    name = unique_name()
    desired.manifest(name, state="shutoff")
    reconvirt.apply(name)
    commands: dict[tuple[str, ...], int] = {
        ("plan",): 0,
        ("get",): 0,
        ("apply", name): 0,
        ("import", name): 0,
        ("plan", name, "-o", "json"): 0,
        ("migrate", "--check", name, "nowhere"): 1,
        ("metrics",): 0,
    }
    wanted = list(commands.items())
    codes: Counter[tuple[tuple[str, ...], int]] = Counter()
    lock = threading.Lock()

    def run(number: int) -> None:
        command, _ = wanted[number % len(wanted)]
        code = reconvirt.exit_code(*command)
        with lock:
            codes[command, code] += 1

    with busy_machine(), ThreadPoolExecutor(4) as pool:
        list(pool.map(run, range(CALLS)))
    assert CALLS == codes.total()
    wrong = {key: count for key, count in codes.items() if commands[key[0]] != key[1]}
    assert {} == wrong
