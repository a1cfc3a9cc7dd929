"""What happens in a run, as events: counted by one lock for the threads of all hosts, then shown by who inherits."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from bench.controller.collect import Collected
from bench.controller.progress_tally import Tally, clock
from bench.wire.job import Job
from bench.wire.record import PhaseDone, Record
from bench.wire.units import printable


@dataclass(frozen=True)
class Event:
    """One thing that happened; its fields are the keys of a line of JSON progress. None does not apply: no such key.

    event: "host-start", "boot-start", "phase" (one has ended), "boot-end", "host-end" or "note". host: its name.
    boot, cell, arm, block, attempt: of boot-start, phase and boot-end; as in boots.jsonl.
    phase, resident_bytes (last seen, absent before that): of phase. took_s: of phase and boot-end.
    status, reason ("" is absent): of boot-end as in boots.jsonl; of host-end "done", "lost" or "stopped".
    kind, text, facts: of note; what happened for programs ("waiting", "reconnecting" …), for people, and its details.
    host_left_s: seconds that this host will still take; of all but note.
    left_s: seconds to the end of the whole run. done, total: boots of the run that ended, and all. host_done,
    host_total: the same of this host. These are of host-start, boot-start, boot-end and host-end. A boot that is tried
    again is not done until it ends, so that `done` can fall by one.
    """

    event: str
    host: str
    boot: str | None = None
    cell: str | None = None
    arm: str | None = None
    block: int | None = None
    attempt: int | None = None
    phase: str | None = None
    resident_bytes: float | None = None
    status: str | None = None
    reason: str | None = None
    kind: str | None = None
    text: str | None = None
    facts: Mapping[str, Any] | None = None
    took_s: float | None = None
    host_left_s: float | None = None
    left_s: float | None = None
    done: int | None = None
    total: int | None = None
    host_done: int | None = None
    host_total: int | None = None


@dataclass
class Telling(ABC):
    """A Progress that makes events. `_show` is called for one at a time, in the order in which they were counted."""

    _tally: Tally
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def host_starts(self, host: str, jobs: Sequence[Job]) -> None:
        with self._lock:
            self._tally.host_starts(host, jobs)
            self._show(Event("host-start", host, **self._counts(host)))

    def host_left(self, host: str, jobs: Sequence[Job]) -> None:
        with self._lock:
            self._tally.host_left(host, jobs)

    def note(self, host: str, event: str, text: str, **facts: Any) -> None:
        with self._lock:
            self._show(Event("note", host, kind=event, text=text, facts=facts or None))

    def boot_starts(self, job: Job) -> None:
        with self._lock:
            self._tally.boot_starts(job)
            self._show(Event("boot-start", job.host, **_named(job), **self._counts(job.host)))

    @abstractmethod
    def boot_goes_on(self, job: Job, seen: Collected, record: Record) -> None: ...

    def boot_ended(self, job: Job, line: Mapping[str, Any]) -> None:
        with self._lock:
            took = self._tally.boot_ended(job, line["status"])
            facts = {"status": line["status"], "reason": line["reason"] or None, "took_s": took}
            self._show(Event("boot-end", job.host, **_named(job), **facts, **self._counts(job.host)))

    def host_ends(self, host: str, state: str, reason: str = "") -> None:
        with self._lock:
            self._tally.host_ends(host, state, reason)
            self._show(Event("host-end", host, status=state, reason=reason or None, **self._counts(host)))

    @abstractmethod
    def _show(self, event: Event) -> None: ...

    def _phase_done(self, job: Job, seen: Collected, record: PhaseDone) -> None:
        with self._lock:
            facts: dict[str, Any] = {
                "phase": record.name,
                "resident_bytes": seen.resident_bytes,
                "took_s": record.end_s - record.start_s,
                "host_left_s": self._tally.host_left_s(job.host),
            }
            self._show(Event("phase", job.host, **_named(job), **facts))

    def _counts(self, name: str) -> dict[str, Any]:
        tally, host = self._tally, self._tally.hosts[name]
        return {
            "host_left_s": tally.host_left_s(name),
            "left_s": tally.left_s(),
            "done": tally.done,
            "total": tally.total,
            "host_done": host.done,
            "host_total": host.total,
        }


def in_words(event: Event, *, alone: bool) -> str:
    """The line for people. alone: the run has one host, which needs no name; what is left is told as a boot starts."""
    words = {"boot-start": _boot_start, "boot-end": _boot_end, "host-end": _host_end, "note": _note}
    return printable(words[event.event](event, alone))


def _boot_start(event: Event, alone: bool) -> str:
    assert event.done is not None
    assert event.left_s is not None
    return f"{_where(event, event.done + 1, alone)} starts, {clock(event.left_s)} left"


def _boot_end(event: Event, alone: bool) -> str:
    assert event.done is not None
    assert event.left_s is not None
    why = f" ({event.reason})" if event.reason else ""
    left = "" if alone else f", {clock(event.left_s)} left"
    return f"{_where(event, event.done, alone)}: {event.status}{why}, {event.took_s:.1f} s{left}"


def _host_end(event: Event, _alone: bool) -> str:
    assert event.host_done is not None
    assert event.host_total is not None
    missing = event.host_total - event.host_done
    why = f": {event.reason}" if event.reason else ""
    left = f"; {missing} of {event.host_total} boots not run" if missing else ""
    return f"{event.host}: {event.status}{why}{left}"


def _note(event: Event, _alone: bool) -> str:
    return f"{event.host}: {event.text or event.kind}"


def _where(event: Event, number: int, alone: bool) -> str:
    host = "" if alone else f"{event.host} "
    again = f", try {event.attempt}" if event.attempt is not None and event.attempt > 1 else ""
    return f"[{number}/{event.total}] {host}block {event.block} {event.cell} {event.arm}{again}"


def _named(job: Job) -> dict[str, Any]:
    return {"boot": job.boot, "cell": job.cell, "arm": job.arm.name, "block": job.block, "attempt": job.attempt}
