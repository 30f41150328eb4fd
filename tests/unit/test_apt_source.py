"""Where the apt sources of a machine have Debian, as apt itself reads them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from testbed.apt_source import NoSource, Source, find_source

OTHER = """\
Types: deb
URIs: https://tools.example.org/apt
Suites: bookworm
Components: contrib
"""


class Apt:
    """An apt with these sources alone, which has downloaded nothing."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.parts = directory / "parts"
        for path in (self.parts, directory / "lists"):
            path.mkdir()
        self.list = directory / "sources.list"
        (directory / "apt.conf").write_text(
            f'Dir::Etc::sourcelist "{self.list}";\n'
            f'Dir::Etc::sourceparts "{self.parts}";\n'
            f'Dir::State::lists "{directory}/lists";\n'
        )


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Apt:
    made = Apt(tmp_path)
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    return made


@pytest.fixture
def key(tmp_path: Path) -> tuple[bytes, str]:
    """A public key, as a keyring and with armour."""
    home = tmp_path / "gnupg"
    home.mkdir(mode=0o700)
    gpg = ("gpg", "--homedir", str(home), "--batch", "--quiet")
    made = ("--passphrase", "", "--quick-generate-key", "archive@example.org", "ed25519")
    try:
        subprocess.run([*gpg, *made], check=True, capture_output=True)
        binary = subprocess.run([*gpg, "--export"], check=True, capture_output=True).stdout
        armoured = subprocess.run([*gpg, "--armor", "--export"], check=True, capture_output=True)
    finally:
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=True)
    return binary, armoured.stdout.decode()


def test_a_line_of_a_list(apt: Apt, tmp_path: Path) -> None:
    """With options; other releases, components and sources are passed over."""
    (tmp_path / "keys.gpg").write_bytes(b"\x99keys")
    apt.list.write_text(
        "# deb http://commented.example.org/debian bookworm main\n"
        "deb http://new.example.org/debian trixie main\n"
        f"deb [ arch=amd64 signed-by={tmp_path}/keys.gpg ] http://own.example.org/deb/ "
        "bookworm main contrib\n"
    )
    (apt.parts / "other.sources").write_text(OTHER)

    assert Source("http://own.example.org/deb", b"\x99keys") == find_source("bookworm")


def test_a_stanza_with_its_key(apt: Apt, key: tuple[bytes, str]) -> None:
    """As deb822 has it: the second of a file, after a comment."""
    keyring, armoured = key
    lines = (f" {line or '.'}" for line in armoured.splitlines())
    (apt.parts / "debian.sources").write_text(
        f"# the tools\n{OTHER}\n# and Debian\nTypes: deb deb-src\n"
        "URIs: https://own.example.org/debian\n"
        "Suites: bookworm bookworm-updates\nComponents: main\nSigned-By:\n" + "\n".join(lines)
    )

    assert Source("https://own.example.org/debian", keyring) == find_source("bookworm")


def test_a_key_with_armour(apt: Apt, key: tuple[bytes, str], tmp_path: Path) -> None:
    """debootstrap wants it without."""
    keyring, armoured = key
    (tmp_path / "keys.asc").write_text(armoured)
    apt.list.write_text(f"deb [signed-by={tmp_path}/keys.asc] https://a.example.org bookworm main")

    assert keyring == find_source("bookworm").keys


def test_a_list_of_mirrors(apt: Apt, tmp_path: Path) -> None:
    """The first that debootstrap can read."""
    mirrors = tmp_path / "mirrors.list"
    mirrors.write_text(
        "# near\ntor+http://a.example.org/debian\nhttps://b.example.org/debian/ x:1\n"
    )
    apt.list.write_text(f"deb mirror+file:{mirrors} bookworm main\n")

    assert Source("https://b.example.org/debian") == find_source("bookworm")


def test_a_source_that_debootstrap_cannot_read(apt: Apt) -> None:
    apt.list.write_text("deb mirror+https://a.example.org/mirrors bookworm main\n")

    with pytest.raises(NoSource, match=r"cannot read mirror\+https://a.example.org/mirrors: add"):
        find_source("bookworm")


def test_no_source_of_the_release(apt: Apt) -> None:
    """No other host is asked instead."""
    apt.list.write_text("deb http://a.example.org/debian trixie main\n")

    with pytest.raises(NoSource, match="have no Debian bookworm with the component main: add one"):
        find_source("bookworm")
