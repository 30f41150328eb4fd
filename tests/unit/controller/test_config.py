"""The configuration file, and what is said of a wrong one."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import jsonschema
import pytest

from reconvirt.controller.config import Config, ConfigError, load, load_config
from reconvirt.controller.config.describe import config_reference, config_schema, config_toml
from reconvirt.controller.config.settings import walk

ROOT = Path(__file__).parents[3]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "reconvirt.toml"


def test_what_the_file_and_the_command_line_say(file: Path) -> None:
    """The command line goes first; what neither says is the default."""
    file.write_text('connect = "qemu:///session"\nworkers = 2\nresync_seconds = 60\n')

    config = load_config(file, connect="test:///default", desired=None)

    assert ("test:///default", 2, 60) == (config.connect, config.workers, config.resync_seconds)
    assert Config().desired == config.desired


def test_a_file_that_is_not_named_need_not_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual one."""
    monkeypatch.setattr("reconvirt.controller.config.files.DEFAULT_FILE", Path("/nowhere/x.toml"))

    assert Config() == load_config(None)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("workers ==\n", "not TOML: .*line 1"),
        ("conect = 'x'", "conect: there is no such setting; did you mean connect.; allowed: conn"),
        ("workers = 0", "workers: 0 is less than 1"),
        ("workers = true", "workers: True is not a whole number"),
        ("workers = 1.5", "workers: 1.5 is not a whole number"),
        ("resync_seconds = 'x'", "resync_seconds: 'x' is not a number of seconds"),
        ("resync_seconds = nan", "resync_seconds: nan is not a number of seconds"),
        ("log_level = 'loud'", "log_level: 'loud' is none of debug, info, warning, error"),
        ("connect = ''", "connect: '' is not a text"),
        ("desired = 3", "desired: 3 is not a text"),
        ("[page]\nport = -1", r"page.port: -1 "),
        ("[socket]\nread_group = 100", r"socket.read_group: 100 "),
        ("[section]\nx = 1", "section: there is no such setting"),
    ],
)
def test_what_is_wrong_is_told_with_file_and_setting(file: Path, content: str, words: str) -> None:
    """And with what is allowed."""
    file.write_text(content)

    with pytest.raises(ConfigError, match=f"^{re.escape(str(file))}: {words}"):
        load_config(file)


def test_a_named_file_must_be_there_and_be_readable(file: Path) -> None:
    """No guessing."""
    with pytest.raises(ConfigError, match="there is no such file"):
        load_config(file)
    file.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="not TOML"):
        load_config(file)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(file.parent)


def test_drop_ins_are_merged_in_the_order_of_their_names(file: Path) -> None:
    """Sections key by key, lists as a whole; each setting's file is known."""
    file.write_text('workers = 2\n[admission]\ndisk_roots = ["/a", "/b"]\nmax_vcpus = 8\n')
    drop_ins = file.parent / "conf.d"
    drop_ins.mkdir()
    (drop_ins / "20-b.toml").write_text("workers = 7\n")
    (drop_ins / "10-a.toml").write_text('workers = 5\n[admission]\ndisk_roots = ["/c"]\n')
    (drop_ins / "30-c.toml.bak").write_text("not = read")

    loaded = load(file)

    assert 7 == loaded.config.workers
    assert (Path("/c"),) == loaded.config.admission.disk_roots
    assert 8 == loaded.config.admission.max_vcpus
    assert [file, drop_ins / "10-a.toml", drop_ins / "20-b.toml"] == list(loaded.files)
    assert drop_ins / "20-b.toml" == loaded.origins["workers"]
    assert file == loaded.origins["admission.max_vcpus"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[admision]\n", "admision: there is no such setting; did you mean admission.; allowed"),
        ("admission = 1", r"admission: 1 is not a section; write \[admission\]"),
        ("[admission]\nmax_vcpu = 1", "admission.max_vcpu: there is .* did you mean max_vcpus"),
        ("[admission]\ndisk_roots = '/x'", "admission.disk_roots: '/x' is not a list"),
        ("[admission]\ndisk_roots = [1]", "admission.disk_roots: 1 is not a text"),
        ("[admission]\nmax_memory = '4 elephants'", "admission.max_memory: .*such as 64 GiB"),
        ("[page]\nport = 70000", "page.port: 70000 is more than 65535"),
        ("[page]\naddress = 'a b'", "page.address: 'a b' does not fit; such as 127.0.0.1"),
        ("[source.git]\npath = 'x'", "source.git.repository: it must be stated"),
        (
            "[source.git]\nrepository = '/r'\nbranch = 'b'\ntag = 't'",
            "source.git.tag: a branch is stated as well",
        ),
        (
            "[source.git]\nrepository = '/r'\nremote = 'ext::sh -c x'\nbranch = 'b'",
            "source.git.remote: 'ext::sh -c x' is none of",
        ),
        (
            "[source.git]\nrepository = '/r'\nremote = 'https://a:b@c/d'\nbranch = 'b'",
            "source.git.remote: it must not hold a password: credentials_file is the place",
        ),
        (
            "[source.git]\nrepository = '/r'\ncredentials_file = '/c'\ncredential_helper = '/h'",
            "source.git.credential_helper: credentials_file is stated as well",
        ),
        (
            "[source.git]\nrepository = '/r'\ncredential_helper = 'store'",
            "source.git.credential_helper: 'store' does not fit; such as /usr/local/bin/git-token",
        ),
        (
            "[source.git]\nrepository = '/r'\nbranch = '--upload-pack=x'",
            "source.git.branch: .*does not fit; such as main",
        ),
        ("[source.git]\nrepository = '/r'\npath = 'a/../..'", "source.git.path: .*upwards"),
        (
            "[source.git]\nrepository = '/r'\nsignatures = 'ssh'",
            "source.git.allowed_signers: it must be stated",
        ),
        (
            "desired = '/d'\n[source]\ndirectory = '/e'",
            "source: the source is stated by desired already",
        ),
    ],
)
def test_what_is_wrong_in_a_section(file: Path, content: str, words: str) -> None:
    """The key is told with its section."""
    file.write_text(content)

    with pytest.raises(ConfigError, match=f"^{re.escape(str(file))}: {words}"):
        load(file)


def test_all_problems_of_all_files_are_told_at_once(file: Path) -> None:
    """Each on a line of its own."""
    file.write_text("workers = 0\nglance_seconds = 0\n")
    (file.parent / "conf.d").mkdir()
    (file.parent / "conf.d" / "a.toml").write_text("x = 1")

    with pytest.raises(ConfigError) as caught:
        load(file)

    assert 3 == len(str(caught.value).splitlines())


def test_the_directory_of_the_source_and_of_the_command_line(file: Path) -> None:
    """What the command line says goes before any source of the file."""
    file.write_text('[source]\ndirectory = "/srv/desired"\n')
    assert Path("/srv/desired") == load_config(file).desired

    file.write_text('[source.git]\nrepository = "/srv/repository"\n')
    assert load_config(file).source.git is not None
    assert load_config(file, desired=Path("/x")).source.git is None


def test_what_is_shown_is_read_again(file: Path) -> None:
    """'reconvirt config show' prints a file that means the same."""
    file.write_text(
        'connect = "qemu+tls://ä/system"\n[admission]\nmax_memory = "64 GiB"\nbridges = []\n'
        '[source.git]\nrepository = "/r \\" #"\n'
    )
    first = load(file)
    file.write_text(config_toml(first.config, first.origins))

    assert first.config == load(file).config
    assert "# default" in file.read_text()


def test_the_schema_is_the_stored_one_and_takes_what_the_loader_takes() -> None:
    """'reconvirt config schema > schemas/reconvirt-config-v1.schema.json' brings it up to date."""
    schema = config_schema()
    stored = json.loads((ROOT / "schemas" / "reconvirt-config-v1.schema.json").read_text())

    assert schema == stored
    jsonschema.Draft202012Validator.check_schema(schema)
    shown = tomllib.loads(config_toml(Config(), {}))
    jsonschema.validate(shown, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"admission": {"max_vcpus": 0}}, schema)


def test_the_documentation_holds_the_printed_tables() -> None:
    """'reconvirt config schema -o markdown' prints them."""
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")

    assert config_reference() in text


def test_every_setting_is_told_in_words() -> None:
    """And every key is one word of the file."""
    for path, each in walk(Config):
        assert each.meaning.about, path
        assert not each.meaning.about.endswith("."), path
