"""What comes up while a job runs, one JSON line each. The order is Hello, Quieted, Started, Placed, Files, Ready, then
PhaseDone, Samples and LogPart as they happen, and End, always last. A stream without End is a host side that died.

All times are seconds of the host's monotonic clock since QEMU was started (`t`), the first one of several, unless a
name says otherwise. guest: which guest of the job it is about. Sources of rows and names of logs of guest 2 end with
".2", those of guest 0 with nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Optional, Union, get_args

from bench.wire import codec
from bench.wire.setting import Setting

# How the reason of a boot begins whose guest ran out of memory.
OUT_OF_MEMORY = "the guest ran out of memory"
# One row of a series: (t, source, name, value). The names are in docs/metrics.md.
Row = tuple[float, str, str, float]


@dataclass(frozen=True)
class Hello:
    """First line: who answers. host_facts: kernel, cpu, boot_id, qemu version and so on, as text or numbers."""

    pid: int
    host_facts: dict[str, Any]


@dataclass(frozen=True)
class Quieted:
    """The host was looked at before QEMU started. readings: by the names of the limits of `Quiet`; absent if unread.

    over: "busy_share 0.81 over 0.25", for each limit that was not met when the deadline passed; the boot then ends
    invalid without a guest.
    """

    waited_s: float
    readings: dict[str, float]
    over: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Placed:
    """Where the threads really run, read back after pinning. The values are lists of CPUs as the kernel writes them.

    seen: "vcpu0", "vcpu1" …, "qemu", "sampler" and "memory" (the policy of the guest's RAM), "cpu_dma_latency" (what is
    held, or why not). problem: "" when it is as asked.
    """

    seen: dict[str, str]
    problem: str = ""
    guest: int = 0


@dataclass(frozen=True)
class Started:
    """QEMU runs; its exact command line."""

    argv: list[str]
    qemu_pid: int
    wall_time: str
    guest: int = 0


@dataclass(frozen=True)
class Files:
    """What really runs: path and sha256 of QEMU's binary and of the guest's kernel image, None where not readable.

    qemu: the binary behind a launcher too, as /proc/PID/exe has it once QEMU's monitor answered.
    """

    qemu: Optional[str]
    qemu_sha256: Optional[str]
    kernel: str
    kernel_sha256: Optional[str]


@dataclass(frozen=True)
class Ready:
    """The agent said READY `ready_s` after the start of its QEMU; facts as the guest sees itself."""

    ready_s: float
    facts: dict[str, Any]
    guest: int = 0


@dataclass(frozen=True)
class PhaseDone:
    """A phase ended. result: the agent's answer, or {"settled": bool} of a settle phase.

    guest_start_ns, guest_end_ns: the guest's own monotonic clock, for phases that ran there. smaps: smaps_rollup of
    QEMU at the end, in bytes.
    """

    name: str
    kind: str
    iteration: int
    warmup: bool
    start_s: float
    end_s: float
    result: dict[str, Any] = field(default_factory=dict)
    guest_start_ns: Optional[int] = None
    guest_end_ns: Optional[int] = None
    smaps: dict[str, int] = field(default_factory=dict)
    guest: int = 0


@dataclass(frozen=True)
class Samples:
    """Rows of the series since the last such record."""

    rows: list[Row]


@dataclass(frozen=True)
class LogPart:
    """A piece of a log file of this boot: "qemu" (stderr without the trace), "console", "dmesg", "host", "policy"."""

    name: str
    text: str


@dataclass(frozen=True)
class End:
    """Last line. status "ok", "failed", "invalid" (nothing was measured: the host did not get quiet, a thread was
    not where it should be) or "skipped" (this kernel, QEMU or host lacks what the arm is about, found by probing); what
    is not ok has its reason and evidence (last lines seen).

    sampler: hz, ticks, missed, cpu_s, error. clock: offset_s (host t minus guest monotonic seconds) and error_s.
    qmp: answers of query-status, query-balloon and others at the end, and the events seen. others: clock and qmp of
    guests 1, 2 …
    """

    status: str
    reason: str = ""
    evidence: list[str] = field(default_factory=list)
    sampler: dict[str, Any] = field(default_factory=dict)
    clock: dict[str, Any] = field(default_factory=dict)
    qmp: dict[str, Any] = field(default_factory=dict)
    others: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Reply:
    """The answer to an Ask, its only record. error: empty, or what bench.errors.parts made."""

    data: dict[str, Any] = field(default_factory=dict)
    error: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Waiting:
    """Answer to a Hold that waits: who has the host. holder: owner, run, since (wall time), pid."""

    holder: dict[str, Any]


@dataclass(frozen=True)
class Held:
    """The host is held, from here until stdin closes.

    taken_over: the holder whose process was found dead, {} for none. recovered: settings of an earlier run that were
    still changed and are restored now. settings: those of this run, applied. swap: path and bytes of the file that was
    made for the run, or problem, where it could not be; {} where none was asked for. removed: a line for each memory
    cgroup, swap file and folder that host sides which were killed had left, and that is gone now.
    """

    taken_over: dict[str, Any] = field(default_factory=dict)
    recovered: tuple[Setting, ...] = ()
    settings: tuple[Setting, ...] = ()
    swap: dict[str, Any] = field(default_factory=dict)
    removed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Released:
    """Last record of a Hold: the settings after they were restored, and the lock is free.

    swap: problem, where the swap file could not be removed.
    """

    settings: tuple[Setting, ...] = ()
    swap: dict[str, Any] = field(default_factory=dict)


Record = Union[
    Hello, Quieted, Started, Placed, Files, Ready, PhaseDone, Samples, LogPart, End, Reply, Waiting, Held, Released
]
KINDS: dict[str, type[Any]] = {kind.__name__: kind for kind in get_args(Record)}


def of_guest(name: str, guest: int) -> str:
    """A source of rows, or the name of a log, as that of one guest of several: "ram", "ram.1"."""
    return f"{name}.{guest}" if guest else name


def encode(record: Record) -> bytes:
    """The record as one line."""
    return codec.encode(type(record).__name__, record)


def decode(line: bytes) -> Record:
    """The record of one line. Raises codec.WireError."""
    kind, body = codec.decode(line)
    if kind not in KINDS:
        raise codec.WireError(f"unknown record {kind!r}")
    record: Record = codec.from_json(KINDS[kind], body)
    return record
