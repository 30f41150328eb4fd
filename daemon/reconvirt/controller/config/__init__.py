"""How the daemon and the commands run: ``/etc/reconvirt/reconvirt.toml`` and its drop-ins.

A setting is a field of a frozen dataclass that says what it means, with its default and its
bounds; a section is a field whose type is another such dataclass. Reading, checking, the JSON
Schema and the tables of the documentation follow from these alone.
"""

from reconvirt.controller.config.files import DEFAULT_FILE, Loaded, load, load_config
from reconvirt.controller.config.model import Config, LogFormat, LogLevel
from reconvirt.controller.config.settings import ConfigError

__all__ = [
    "DEFAULT_FILE",
    "Config",
    "ConfigError",
    "Loaded",
    "LogFormat",
    "LogLevel",
    "load",
    "load_config",
]
