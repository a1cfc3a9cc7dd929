"""The records of one boot, gathered into its line of boots.jsonl (pure: no files)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bench.analysis.conditions import recognised
from bench.analysis.members import OF_A_GUEST
from bench.analysis.series import curves, frame
from bench.analysis.summary import summarise
from bench.analysis.validity import boot_doubts, judge
from bench.wire.codec import to_json
from bench.wire.job import Job
from bench.wire.record import (
    End,
    Files,
    Hello,
    LogPart,
    PhaseDone,
    Placed,
    Quieted,
    Ready,
    Record,
    Row,
    Samples,
    Started,
)

# What comes once a boot, and the field that keeps it.
_ONCE: dict[type, str] = {
    Hello: "hello",
    Quieted: "quieted",
    Started: "started",
    Placed: "placed",
    Files: "files",
    Ready: "ready",
    End: "end",
}


@dataclass
class Collected:
    """What has come up of a boot so far. `add` takes every record; `line` makes the boot's line at its end."""

    job: Job
    rows: list[Row] = field(default_factory=list)
    logs: dict[str, str] = field(default_factory=dict)
    phases: list[dict[str, Any]] = field(default_factory=list)
    hello: Hello | None = None
    quieted: Quieted | None = None
    started: Started | None = None
    placed: Placed | None = None
    files: Files | None = None
    ready: Ready | None = None
    end: End | None = None
    others: dict[int, dict[str, Any]] = field(default_factory=dict)

    def add(self, record: Record) -> None:
        number = getattr(record, "guest", 0)
        if isinstance(record, Samples):
            self.rows.extend(map(tuple, record.rows))  # type: ignore[arg-type]
        elif number:
            self._add_other(number, record)
        elif isinstance(record, PhaseDone):
            # Shallow: what is inside came as plain JSON.
            self.phases.append(dict(vars(record)))
        elif isinstance(record, LogPart):
            self.logs[record.name] = self.logs.get(record.name, "") + record.text
        elif type(record) in _ONCE:
            setattr(self, _ONCE[type(record)], record)

    def _add_other(self, number: int, record: Record) -> None:
        """What is about guest 1, 2 …, as the fields that the line has of guest 0."""
        about = self.others.setdefault(number, {"phases": []})
        if isinstance(record, PhaseDone):
            about["phases"].append(dict(vars(record)))
        elif isinstance(record, Started):
            about.update(started=record.wall_time, argv=list(record.argv))
        elif isinstance(record, Ready):
            about.update(guest=record.facts, ready_s=record.ready_s)
        elif isinstance(record, Placed):
            about["placed"] = to_json(record)

    def _guests(self, first: dict[str, Any]) -> list[dict[str, Any]]:
        """What differs from guest to guest, of all of them; [] for a job of one."""
        if self.job.guests == 1:
            return []
        told = self.end.others if self.end else []
        of_others = [
            {**self.others.get(number, {"phases": []}), **(told[number - 1] if number <= len(told) else {})}
            for number in range(1, self.job.guests)
        ]
        return [{key: first[key] for key in OF_A_GUEST if key in first}, *of_others]

    @property
    def done_phases(self) -> int:
        """How many phases are done, of all guests."""
        return len(self.phases) + sum(len(about["phases"]) for about in self.others.values())

    @property
    def resident_bytes(self) -> float | None:
        """The last residency seen, for the progress line."""
        return next(
            (v for _, source, name, v in reversed(self.rows) if (source, name) == ("ram", "resident_bytes")), None
        )

    def line(self, window_s: float) -> dict[str, Any]:
        """The boot's line: facts, phases, values of every metric, and the status that these allow."""
        boot = {
            **self._facts(window_s),
            "hinting": self.job.arm.hinting,
            "files": to_json(self.files) if self.files else {},
        }
        boot["guests"] = self._guests(boot)
        series = frame(self.rows)
        summary = summarise(boot, series)
        status, reason, evidence = judge(boot, series)
        boot.update(
            status=status,
            reason=reason,
            evidence=list(evidence),
            values=summary.values,
            warmups=summary.warmups,
            condition=recognised(boot, curves(series)) if boot["expect"] == "nothing" else [],
            warnings=[to_json(doubt) for doubt in boot_doubts(boot, series, summary)],
        )
        return boot

    def _facts(self, window_s: float) -> dict[str, Any]:
        job, end = self.job, self.end or End("failed", "the host side ended without a result")
        return {
            "boot": job.boot,
            "job": job.id,
            "host": job.host,
            "cell": job.cell,
            "workload": job.workload,
            "arm": job.arm.name,
            "block": job.block,
            "order": job.order,
            "attempt": job.attempt,
            "status": end.status,
            "reason": end.reason,
            "evidence": list(end.evidence),
            "accel": job.guest.accel,
            "guest_memory_bytes": job.guest.memory_bytes,
            "vcpus": job.guest.vcpus,
            "window_s": window_s,
            "must_discard": job.arm.must_discard,
            "reporting": job.arm.reporting,
            "expect": job.arm.expect,
            "give": job.arm.give,
            "backing": job.arm.backing,
            "mem_lock": job.arm.mem_lock,
            "policy": job.arm.policy.kind if job.arm.policy else "",
            "started": self.started.wall_time if self.started else None,
            "quiet": to_json(self.quieted) if self.quieted else {},
            "placed": to_json(self.placed) if self.placed else {},
            "argv": list(self.started.argv) if self.started else [],
            "host_facts": self.hello.host_facts if self.hello else {},
            "guest": self.ready.facts if self.ready else {},
            "ready_s": self.ready.ready_s if self.ready else None,
            "phases": self.phases,
            "sampler": end.sampler,
            "clock": end.clock,
            "qmp": end.qmp,
            "series": f"series/{job.boot}.csv.gz",
            "logs": [f"log/{job.boot}.{name}.txt" for name in sorted(self.logs)],
        }
