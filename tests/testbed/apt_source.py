"""Where this machine's own apt sources have a release of Debian, for what apt itself does not do.

`scripts/build-machine` runs this file; it needs Python's own library and apt alone.
"""

from __future__ import annotations

import base64
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

SCHEMES = ("http", "https", "file", "copy", "ftp")  # of those that apt has: what debootstrap reads
_ARMOUR = re.compile(rb"-----BEGIN PGP PUBLIC KEY.*?\n\n(.*?)-----END PGP PUBLIC KEY", re.DOTALL)
_FORMAT = "$(RELEASE)\t$(CODENAME)\t$(COMPONENT)\t$(REPO_URI)\t$(SOURCESENTRY)"


class NoSource(Exception):
    """None of the machine's sources will do; the text says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Source:
    """A source of packages.

    Attributes:
        uri: where the archive is, as debootstrap takes it.
        keys: the keyring that its releases are signed with; empty where the source names none, and
            apt takes every key that it trusts.
    """

    uri: str
    keys: bytes = b""


def find_source(release: str) -> Source:
    """The first source of this machine that has the component main of a release.

    Args:
        release: its code name.

    Raises:
        NoSource: there is none that debootstrap can read.
    """
    unreadable = []
    for uri, entry in _targets(release):
        for each in _resolve(uri):
            if urlsplit(each).scheme in SCHEMES:
                return Source(each, _keys(_entry(*entry)))
            unreadable.append(each)
    if unreadable:
        raise NoSource(
            f"debootstrap cannot read {', '.join(dict.fromkeys(unreadable))}: add a source of "
            f"Debian {release} to /etc/apt/sources.list.d whose URI begins with http or https"
        )
    raise NoSource(
        f"this machine's apt sources have no Debian {release} with the component main: add one to "
        "/etc/apt/sources.list.d"
    )


def _targets(release: str) -> Iterator[tuple[str, tuple[Path, int]]]:
    # With what is downloaded a source of "stable" has a code name; without, all are listed.
    for more in ((), ("--no-release-info",)):
        command = ("apt-get", "indextargets", *more, "--format", _FORMAT, "Created-By: Packages")
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NoSource(f"apt cannot read this machine's sources: {done.stderr.strip()}")
        for line in done.stdout.splitlines():
            suite, codename, component, uri, entry = line.split("\t")
            if release in (suite, codename) and component == "main":
                file, _, number = entry.rpartition(":")
                yield uri.rstrip("/"), (Path(file), int(number))


def _resolve(uri: str) -> list[str]:
    """The mirrors that a list in a file names, in its order; anything else is one already."""
    scheme = urlsplit(uri).scheme
    if scheme != "mirror+file":
        return [uri]
    lines = Path(urlsplit(uri).path).read_text(encoding="utf-8").splitlines()
    return [line.split()[0].rstrip("/") for line in lines if line.strip() and line[0] != "#"]


def _entry(file: Path, number: int) -> str:
    """What a source states of its keys: paths, fingerprints or the keys themselves."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".sources":
        kept = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
        stanza = re.split(r"\n\s*\n", kept.strip())[number - 1]
        found = re.search(r"^Signed-By:(.*(?:\n[ \t].*)*)", stanza, re.MULTILINE | re.IGNORECASE)
    else:
        found = re.search(r"\[[^]]*signed-by=([^] ]+)", text.splitlines()[number - 1])
    return found.group(1).strip() if found else ""


def _keys(stated: str) -> bytes:
    if "\n" in stated and "-----BEGIN" in stated:  # a line with a dot alone is an empty one
        lines = (line.strip() for line in stated.splitlines())
        return _keyring("\n".join("" if line == "." else line for line in lines).encode())
    paths = [Path(each) for each in re.split(r"[\s,]+", stated) if each.startswith("/")]
    return b"".join(_keyring(path.read_bytes()) for path in paths)


def _keyring(keys: bytes) -> bytes:
    """Keys as gpgv takes them: without armour."""
    if b"-----BEGIN" not in keys:
        return keys
    bodies = _ARMOUR.findall(keys.replace(b"\r", b""))
    lines = (body.rsplit(b"\n=", 1)[0] for body in bodies)  # what follows "=" is a checksum
    return b"".join(base64.b64decode(each) for each in lines)


def main(release: str, keys: Path) -> None:
    """Print where a release is, and write its keys into a file if the source names them."""
    try:
        source = find_source(release)
    except (NoSource, OSError) as error:
        sys.exit(str(error))
    if source.keys:
        keys.write_bytes(source.keys)
    sys.stdout.write(f"{source.uri}\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
