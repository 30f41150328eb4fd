"""Rows of the table of metrics that no single key of libvirt's bulk statistics gives."""

from __future__ import annotations

from reconvirt.metrics.rows import Row

_DOMSTATS = "domstats"

STATE = Row("state", "info", "State and reason.", ("state", "reason"), virsh="domstate --reason")
RUNNING = Row("running", "gauge", "1 where the guest runs, 0 where not.", virsh="domstate")
INFO = Row(
    "",
    "info",
    "What it is: uuid, number, host, type, architecture, machine and title.",
    ("uuid", "id", "host", "type", "arch", "machine", "title"),
    virsh="dominfo, dumpxml",
)
PERSISTENT = Row("persistent", "gauge", "Whether it is defined.", virsh="dominfo")
AUTOSTART = Row("autostart", "gauge", "Whether it starts with the host.", virsh="dominfo")
MANAGED_SAVE = Row("managed_save", "gauge", "Whether it has a saved state.", virsh="dominfo")
VCPUS = Row(
    "vcpus",
    "gauge",
    "vCPUs: current and maximum, of what runs and of the next start.",
    ("limit", "scope"),
    virsh="vcpucount",
)
VCPU_STATE = Row("vcpu_state", "info", "State of a vCPU.", ("vcpu", "state"), virsh="vcpuinfo")
SHARES = Row("cpu_shares", "gauge", "CPU weight.", ("scope",), virsh="schedinfo (cpu_shares)")
PERIOD = Row(
    "cpu_period_seconds",
    "gauge",
    "The period in which a quota of CPU time is given out.",
    ("of", "scope"),
    virsh="schedinfo (…_period)",
)
QUOTA = Row(
    "cpu_quota_seconds",
    "gauge",
    "The CPU time in a period; negative: without limit.",
    ("of", "scope"),
    virsh="schedinfo (…_quota)",
)
BLOCK_INFO = Row(
    "block",
    "info",
    "A disk or drive: what it is.",
    ("device", "source", "type", "kind", "bus", "format", "cache", "serial"),
    virsh="domblklist --details",
)
BLOCK_LIMIT = Row(
    "block_limit",
    "gauge",
    "A limit of I/O, in bytes or requests a second or in seconds, as its name says.",
    ("device", "limit"),
    virsh="blkdeviotune",
)
INTERFACE_INFO = Row(
    "interface",
    "info",
    "A network interface: what it is and to what it is connected.",
    ("interface", "mac", "type", "source", "bridge", "model"),
    virsh="domiflist",
)
KVM_EXITS = Row("kvm_exits", "counter", "KVM exits of a vCPU.", ("vcpu",), virsh=_DOMSTATS)
KVM_VCPU_EVENTS = Row(
    "kvm_vcpu_events",
    "counter",
    "KVM's own count of an event of a vCPU.",
    ("vcpu", "event"),
    virsh=_DOMSTATS,
)
KVM_VCPU_SECONDS = Row(
    "kvm_vcpu_seconds",
    "counter",
    "KVM's own sum of times of a vCPU.",
    ("vcpu", "event"),
    virsh=_DOMSTATS,
)
KVM_VCPU_VALUE = Row(
    "kvm_vcpu_value",
    "gauge",
    "KVM's own number for a vCPU: as it is now, or at its peak.",
    ("vcpu", "event", "which"),
    virsh=_DOMSTATS,
)
KVM_EVENTS = Row(
    "kvm_events",
    "counter",
    "KVM's own count of an event of the whole virtual server.",
    ("event",),
    virsh=_DOMSTATS,
)
KVM_VALUE = Row(
    "kvm_value",
    "gauge",
    "KVM's own number for the whole virtual server: as it is now, or at its peak.",
    ("event", "which"),
    virsh=_DOMSTATS,
)
PERF_EVENTS = Row(
    "perf_events", "counter", "Events that perf counts.", ("event",), virsh="domstats --perf"
)
JOB_INFO = Row("job", "info", "The job that is going on.", ("operation",), virsh="domjobinfo")
AGE = Row(
    "stats_age_seconds",
    "gauge",
    "How old the numbers are that only QEMU knows: memory, disks, I/O threads.",
)

OTHER_ROWS: tuple[Row, ...] = (
    STATE,
    RUNNING,
    INFO,
    PERSISTENT,
    AUTOSTART,
    MANAGED_SAVE,
    VCPUS,
    VCPU_STATE,
    SHARES,
    PERIOD,
    QUOTA,
    BLOCK_INFO,
    BLOCK_LIMIT,
    INTERFACE_INFO,
    KVM_EXITS,
    KVM_VCPU_EVENTS,
    KVM_VCPU_SECONDS,
    KVM_VCPU_VALUE,
    KVM_EVENTS,
    KVM_VALUE,
    PERF_EVENTS,
    JOB_INFO,
    AGE,
)
