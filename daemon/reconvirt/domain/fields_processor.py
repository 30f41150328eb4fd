"""Rows of the table: virtual CPUs, their model and their tuning."""

from __future__ import annotations

from reconvirt.domain import effects, values
from reconvirt.domain.effects import at_next_start
from reconvirt.domain.joint_places import CurrentVcpus
from reconvirt.domain.places import Attribute, Text
from reconvirt.domain.rows import Field, Stated, usual
from reconvirt.domain.values import Value

_MODEL = at_next_start("a running guest keeps the processor it was started with")
_PINNED = at_next_start("where vCPUs run is set when the virtual server is started")
_MICROSECONDS = "in microseconds"


def _stated_else_maximum(_name: str, stated: Stated) -> Value | None:
    return stated.get("vcpu.maximum")


def _is_usual_check(value: Value, stated: Stated) -> bool:
    by_mode = {"host-model": "partial", "host-passthrough": "none"}
    fallback = "partial" if stated.get("type") == "kvm" else "none"
    return value == by_mode.get(str(stated.get("cpu.mode")), fallback)


def _time(element: str, parameter: str, title: str, least: int, about: str) -> Field:
    return Field(
        f"cputune.{element}",
        values.integer(least, 2**63 - 1),
        effects.parameter("scheduler", parameter),
        title,
        about,
        place=Text(f"cputune/{element}"),
    )


def _quota(element: str, parameter: str, title: str, whose: str) -> Field:
    about = f"CPU time of {whose} in each period, {_MICROSECONDS}; -1 for no limit."
    return _time(element, parameter, title, -1, about)


def _period(element: str, parameter: str, title: str, whose: str) -> Field:
    about = f"The period in which the quota of {whose} counts, {_MICROSECONDS}."
    return _time(element, parameter, title, 1000, about)


def _count(name: str, title: str, about: str) -> Field:
    return Field(
        f"cpu.topology.{name}",
        values.integer(1),
        _MODEL,
        title,
        about,
        place=Attribute("cpu/topology", name),
        expanded=True,
    )


_WHOLE, _HELPERS = "the whole virtual server", "QEMU's own threads"
_VCPU, _IOTHREAD = "each vCPU", "each I/O thread"

PROCESSOR: tuple[Field, ...] = (
    Field(
        "vcpu.maximum",
        values.integer(1, 4096),
        at_next_start("the maximum is fixed when the virtual server is started"),
        "Most vCPUs",
        "How many virtual CPUs the running virtual server can have at most.",
        place=Text("vcpu"),
        required=True,
        short=True,
    ),
    Field(
        "vcpu.current",
        values.integer(1, 4096),
        effects.VCPUS,
        "vCPUs now",
        "How many of the virtual CPUs are on; the maximum if not stated.",
        place=CurrentVcpus(),
        default=_stated_else_maximum,
    ),
    Field(
        "vcpu.placement",
        values.choice("static", "auto"),
        _PINNED,
        "Placement",
        "static: on the host CPUs of cpuset; auto: where numad advises.",
        implied=usual("static"),
    ),
    Field(
        "vcpu.cpuset",
        values.CPUSET,
        _PINNED,
        "Host CPUs",
        "The host CPUs that the virtual CPUs may run on.",
    ),
    Field(
        "cpu.mode",
        values.choice("custom", "host-model", "host-passthrough", "maximum"),
        _MODEL,
        "CPU mode",
        "host-model: like the host's, and can be migrated; host-passthrough: the host's own; "
        "custom: that of cpu.model.",
        expanded=True,
    ),
    Field(
        "cpu.match",
        values.choice("minimum", "exact", "strict"),
        _MODEL,
        "CPU match",
        "How strictly the CPU must be the described one.",
        implied=usual("exact"),
        expanded=True,
    ),
    Field(
        "cpu.check",
        values.choice("none", "partial", "full"),
        _MODEL,
        "CPU check",
        "How libvirt checks the CPU before the start.",
        implied=_is_usual_check,
        expanded=True,
    ),
    Field(
        "cpu.migratable",
        values.choice(*values.ON_OFF),
        _MODEL,
        "Migratable CPU",
        "on: host-passthrough leaves out what would block a migration.",
        expanded=True,
    ),
    Field(
        "cpu.model",
        values.line(),
        _MODEL,
        "CPU model",
        "A model of the list that 'virsh cpu-models' prints.",
        place=Text("cpu/model"),
        expanded=True,
    ),
    Field(
        "cpu.fallback",
        values.choice("allow", "forbid"),
        _MODEL,
        "CPU fallback",
        "Whether a similar model will do where the host lacks the stated one.",
        implied=usual("allow"),
        place=Attribute("cpu/model", "fallback"),
        expanded=True,
    ),
    Field(
        "cpu.vendor",
        values.line(),
        _MODEL,
        "CPU vendor",
        "The vendor that the host's processor must have.",
        place=Text("cpu/vendor"),
        expanded=True,
    ),
    _count("sockets", "Sockets", "How many sockets the guest sees."),
    _count("dies", "Dies", "How many dies in each socket."),
    _count("cores", "Cores", "How many cores in each die, or socket."),
    _count("threads", "Threads", "How many threads in each core."),
    Field(
        "cputune.shares",
        values.integer(2, 262144),
        effects.parameter("scheduler", "cpu_shares"),
        "CPU weight",
        "The virtual server's weight when host CPUs are contended: one with 2048 gets twice the "
        "time of one with 1024 (chapter 18).",
        place=Text("cputune/shares"),
    ),
    _period("period", "vcpu_period", "vCPU period", _VCPU),
    _quota("quota", "vcpu_quota", "vCPU quota", _VCPU),
    _period("global_period", "global_period", "Global period", _WHOLE),
    _quota("global_quota", "global_quota", "Global quota", _WHOLE),
    _period("emulator_period", "emulator_period", "Emulator period", _HELPERS),
    _quota("emulator_quota", "emulator_quota", "Emulator quota", _HELPERS),
    _period("iothread_period", "iothread_period", "I/O thread period", _IOTHREAD),
    _quota("iothread_quota", "iothread_quota", "I/O thread quota", _IOTHREAD),
)
