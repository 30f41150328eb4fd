"""The configuration file and its drop-ins, read, merged and checked."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from reconvirt.controller.config.check import build, check_table
from reconvirt.controller.config.model import Config
from reconvirt.controller.config.settings import ConfigError

DEFAULT_FILE = Path("/etc/reconvirt/reconvirt.toml")
DROP_INS = "conf.d"
"""The directory beside the file whose ``*.toml`` are merged into it, in the order of names."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings, and where they come from.

    Attributes:
        config: the settings.
        files: the files that were read, in order.
        origins: the file that states a setting, by dotted key; none for defaults.
    """

    config: Config
    files: tuple[Path, ...]
    origins: Mapping[str, Path] = field(default_factory=dict)


def load_config(path: Path | None, **overrides: Any) -> Config:
    """The settings of the files, and of the command line where it says otherwise.

    Args:
        path: the file; None for the usual one, which need not exist.
        overrides: settings of the command line; None leaves the file's. One of a section is
            named ``section__setting``. A directory of manifests that is stated there is the
            source, whatever the files say of it.

    Raises:
        ConfigError: a file cannot be read, or says something that it must not.
    """
    config = load(path).config
    stated = {name: value for name, value in overrides.items() if value is not None}
    if "desired" in stated:
        # Other hosts read what is in git, whichever files of it are named here.
        shared = True if config.source.git and config.source.shared is None else None
        source = replace(config.source, directory=None, git=None)
        stated["source"] = replace(source, shared=shared) if shared else source
    for name in [each for each in stated if "__" in each]:
        section, _, setting = name.partition("__")
        stated[section] = replace(
            stated.get(section, getattr(config, section)), **{setting: stated.pop(name)}
        )
    return replace(config, **stated)


def load(path: Path | None) -> Loaded:
    """The settings of the file and of its drop-ins.

    Raises:
        ConfigError: a file cannot be read, or says something that it must not.
    """
    main = path or DEFAULT_FILE
    files: list[Path] = []
    merged: dict[str, Any] = {}
    origins: dict[str, Path] = {}
    problems: list[str] = []
    for file in (main, *_drop_ins(main)):
        table = _read(file, required=path is not None or file != main)
        if table is None:
            continue
        files.append(file)
        found: list[str] = []
        values = check_table(Config, table, found)
        problems.extend(f"{file}: {each}" for each in found)
        _merge(merged, values, file, origins)
    if problems:
        raise ConfigError("\n".join(problems))
    together: list[str] = []
    config = build(Config, merged, together)
    if together:
        raise ConfigError("\n".join(f"{_origin(each, origins, main)}: {each}" for each in together))
    if config.source.directory is not None:
        config = replace(config, desired=config.source.directory)
    return Loaded(config, tuple(files), origins)


def _drop_ins(main: Path) -> list[Path]:
    try:
        listed = sorted((main.parent / DROP_INS).iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise ConfigError(f"{error.filename}: cannot be read: {error.strerror}") from error
    return [each for each in listed if each.suffix == ".toml" and not each.name.startswith(".")]


def _read(path: Path, *, required: bool) -> dict[str, Any] | None:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if required:
            raise ConfigError(f"{path}: there is no such file") from None
        return None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error


def _merge(
    into: dict[str, Any],
    values: Mapping[str, Any],
    file: Path,
    origins: dict[str, Path],
    prefix: str = "",
) -> None:
    """Have later values take the place of earlier ones; sections are merged key by key."""
    for name, value in values.items():
        key = f"{prefix}{name}"
        origins[key] = file
        if isinstance(value, dict):
            _merge(into.setdefault(name, {}), value, file, origins, f"{key}.")
        else:
            into[name] = value


def _origin(problem: str, origins: Mapping[str, Path], main: Path) -> Path:
    """The file that stated the key that a problem begins with, or the section around it."""
    key = problem.partition(":")[0]
    while key and key not in origins:
        key = key.rpartition(".")[0]
    return origins.get(key, main)
