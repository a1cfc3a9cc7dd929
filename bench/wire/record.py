"""What comes up while a job runs, one JSON line each. The order is Hello, Started, Ready, then PhaseDone, Samples and
LogPart as they happen, and End, always last. A stream without End is a host side that died.

All times are seconds of the host's monotonic clock since QEMU was started (`t`), unless a name says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Optional, Union

from bench.wire import codec

# One row of a series: (t, source, name, value). The names are in docs/metrics.md.
Row = tuple[float, str, str, float]


@dataclass(frozen=True)
class Hello:
    """First line: who answers. host_facts: kernel, cpu, boot_id, qemu version and so on, as text or numbers."""

    pid: int
    host_facts: dict[str, Any]


@dataclass(frozen=True)
class Started:
    """QEMU runs; its exact command line."""

    argv: list[str]
    qemu_pid: int
    wall_time: str


@dataclass(frozen=True)
class Ready:
    """The agent said READY `ready_s` after QEMU's start; facts as the guest sees itself."""

    ready_s: float
    guest: dict[str, Any]


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


@dataclass(frozen=True)
class Samples:
    """Rows of the series since the last such record."""

    rows: list[Row]


@dataclass(frozen=True)
class LogPart:
    """A piece of a log file of this boot: "qemu" (stderr without the trace), "console", "dmesg", "host"."""

    name: str
    text: str


@dataclass(frozen=True)
class End:
    """Last line. status "ok" or "failed"; a failure has its reason and evidence (last lines seen).

    sampler: hz, ticks, missed, cpu_s, error. clock: offset_s (host t minus guest monotonic seconds) and error_s.
    qmp: answers of query-status, query-balloon and others at the end, and the events seen.
    """

    status: str
    reason: str = ""
    evidence: list[str] = field(default_factory=list)
    sampler: dict[str, Any] = field(default_factory=dict)
    clock: dict[str, Any] = field(default_factory=dict)
    qmp: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Reply:
    """The answer to an Ask, its only record. error: empty, or kind (a class of bench.errors), message and key."""

    data: dict[str, Any] = field(default_factory=dict)
    error: dict[str, str] = field(default_factory=dict)


Record = Union[Hello, Started, Ready, PhaseDone, Samples, LogPart, End, Reply]
KINDS: dict[str, type[Any]] = {
    kind.__name__: kind for kind in (Hello, Started, Ready, PhaseDone, Samples, LogPart, End, Reply)
}


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
