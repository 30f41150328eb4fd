"""The commands that ask the daemon, where none runs or where it refuses; and how answers look."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(sys.executable).with_name("reconvirt")
ROOT = Path(__file__).parents[3]
ASKING = (("get",), ("describe", "web1"), ("diff", "web1"), ("why", "web1"))
STEERING = (
    ("events",),
    ("get", "--watch"),
    ("reconcile", "web1"),
    ("reconcile", "--source"),
    ("approve", "prune"),
)


def run(*arguments: str, path: Path, **environment: str) -> tuple[int, str, str]:
    """Exit status, output and errors."""
    done = subprocess.run(
        [PROGRAM, *arguments],
        env={
            "PATH": os.environ["PATH"],
            "RECONVIRT_SOCKET": str(path),
            "RECONVIRT_CONNECT": "test:///default",
            "RECONVIRT_DESIRED": str(ROOT / "desired"),
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def nobody(tmp_path: Path) -> Path:
    """A socket that is not there."""
    return tmp_path / "api.sock"


@pytest.mark.parametrize("command", ASKING)
def test_libvirt_is_read_where_no_daemon_runs(command: tuple[str, ...], nobody: Path) -> None:
    """And that is said beside the result, not in it."""
    status, out, err = run(*command, "-o", "json", path=nobody)

    assert status == (2 if command[0] == "diff" else 0)
    assert f"no daemon listens at {nobody}; what follows is read from libvirt" in err
    assert "web1" in json.dumps(json.loads(out))


@pytest.mark.parametrize("command", STEERING)
def test_the_others_say_what_to_do(command: tuple[str, ...], nobody: Path) -> None:
    """Without a daemon nobody could do it."""
    status, out, err = run(*command, path=nobody)

    assert (1, "") == (status, out)
    assert f"no daemon listens at {nobody}\nIs it running" in err
    assert "--socket" in err


def test_the_socket_of_a_killed_daemon_is_no_daemon(nobody: Path) -> None:
    """It refuses connections."""
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(nobody))

    assert "Is it running" in run("events", path=nobody)[2]
    assert 0 == run("get", path=nobody)[0]


def test_who_names_libvirt_on_the_command_line_does_not_mean_the_daemon(nobody: Path) -> None:
    """It is not even asked."""
    status, _, err = run("get", "--connect", "test:///default", path=nobody)

    assert (0, "") == (status, err)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"nonsense\r\n\r\n", "does not answer as it should"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{]", "does not answer as it should"),
        (b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\n{}", "the daemon refuses"),
        (b"", "does not answer as it should"),
    ],
)
def test_an_odd_daemon(nobody: Path, answer: bytes, words: str) -> None:
    """Whatever it is that listens there."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(nobody))
        listener.listen()
        command = [PROGRAM, "events", "--socket", nobody]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            connection, _ = listener.accept()
            connection.recv(65536)
            connection.sendall(answer)
            connection.close()
            _, err = process.communicate(timeout=60)

    assert 1 == process.returncode
    assert words in err
    assert "Traceback" not in err


def test_reconcile_wants_one_of_two(nobody: Path) -> None:
    for arguments in ((), ("web1", "--source")):
        status, _, err = run("reconcile", *arguments, path=nobody)

        assert 1 == status
        assert "either NAME or --source must be given" in err


class TestHoldsWithoutADaemon:
    """They are set in the state store itself."""

    @pytest.fixture
    def settings(self, tmp_path: Path) -> str:
        text = f'state_directory = "{tmp_path}/state"\nlock_directory = "{tmp_path}"\n'
        (tmp_path / "reconvirt.toml").write_text(text)
        return str(tmp_path / "reconvirt.toml")

    def test_set_seen_and_released(self, nobody: Path, settings: str) -> None:
        """Also of one that libvirt does not have yet."""

        def call(*arguments: str) -> tuple[int, str, str]:
            return run(*arguments, "--config", settings, path=nobody)

        status, out, err = call("hold", "web1", "--reason", "new disk")
        assert (0, True) == (status, "web1 is held by " in out)
        assert f"no daemon listens at {nobody}; holds are stored in" in err
        _, out, _ = call("get", "web1", "-o", "json")
        (found,) = json.loads(out)["virtualServers"]
        assert ("held", "new disk") == (found["phase"], found["hold"]["reason"])
        assert "'reconvirt release web1' ends that" in call("why", "web1")[1]

        assert (0, True) == (call("release", "web1")[0], "differs" in call("get", "web1")[1])
        status, _, err = call("release", "web1")
        assert (1, True) == (status, err.endswith("reconvirt: web1 is not held\n"))

    def test_one_that_does_not_exist(self, nobody: Path, settings: str) -> None:
        """Whoever misspells a name must not believe that it is held."""
        status, _, err = run("hold", "web9", "--reason", "x", "--config", settings, path=nobody)

        assert (1, True) == (status, "web9: no manifest states it" in err)

    def test_several_at_once(self, nobody: Path, settings: str, tmp_path: Path) -> None:
        """Six processes, six holds."""
        folder = tmp_path / "desired"
        folder.mkdir()
        names = [f"vs{number}" for number in range(6)]
        spec = "spec: {memory: 1 GiB, vcpu: 1, os: {arch: s390x, machine: s390-ccw-virtio}}"
        for name in names:
            head = "apiVersion: reconvirt/v1\nkind: VirtualServer\n"
            text = f"{head}metadata: {{name: {name}}}\n{spec}\n"
            (folder / f"{name}.yaml").write_text(text)
        environment = {
            "PATH": os.environ["PATH"],
            "RECONVIRT_SOCKET": str(nobody),
            "RECONVIRT_CONNECT": "test:///default",
            "RECONVIRT_DESIRED": str(folder),
            "RECONVIRT_CONFIG": settings,
        }
        commands = [[PROGRAM, "hold", name, "--reason", "maintenance"] for name in names]
        processes = [
            subprocess.Popen(each, env=environment, stderr=subprocess.PIPE) for each in commands
        ]

        errors = [each.communicate(timeout=120)[1] for each in processes]

        assert [0] * 6 == [each.returncode for each in processes], errors
        stored = json.loads((tmp_path / "state" / "holds.json").read_text())["entries"]
        assert set(names) == {each["name"] for each in stored.values()}


def test_holds_are_seen_without_a_daemon(nobody: Path, tmp_path: Path) -> None:
    """They stand in a file, and outlive it."""
    (tmp_path / "holds.json").write_text(
        '{"web1": {"reason": "new disk", "who": "erika", "since": 1.0}}'
    )
    settings = tmp_path / "reconvirt.toml"
    settings.write_text(f'state_directory = "{tmp_path}"\n')

    _, out, _ = run("get", "web1", "-o", "json", "--config", str(settings), path=nobody)

    (status,) = json.loads(out)["virtualServers"]
    assert ("held", "erika") == (status["phase"], status["hold"]["who"])
    assert "1970-01-01T00:00:01.000Z" == status["hold"]["since"]
