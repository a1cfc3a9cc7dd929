"""One run: the schedule's boots one after another, each on disk before the next one starts; then verdicts and files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from bench.analysis.analyse import analyse
from bench.controller.collect import Collected
from bench.controller.export import export_pyperf
from bench.controller.schedule import second_try
from bench.controller.store import RunFolder
from bench.errors import InvalidError, LabError
from bench.wire.job import Job
from bench.wire.record import End, Record


class Session(Protocol):
    """What runs a job on a host (bench.controller.session)."""

    name: str
    log: str

    def boot(self, job: Job, on_record: Callable[[Record], None]) -> End: ...


class Progress(Protocol):
    """Who is told what happens, as it happens (bench.controller.progress)."""

    def boot_starts(self, job: Job) -> None: ...

    def boot_goes_on(self, job: Job, seen: Collected, record: Record) -> None: ...

    def boot_ended(self, job: Job, line: Mapping[str, Any]) -> None: ...


@dataclass(frozen=True)
class Runner:
    """Runs jobs on one host. window_s: the footprint window of each cell, by name."""

    session: Session
    folder: RunFolder
    progress: Progress
    retries: int
    window_s: Mapping[str, float]

    def run(self, jobs: Sequence[Job]) -> None:
        """Every job that the folder does not hold yet; a failed boot is tried again right away, in its block.

        Boots that the folder holds are never run again, unless they failed and a try is left.
        """
        for job in jobs:
            self._run_one(job)

    def _run_one(self, job: Job) -> None:
        status = {boot["boot"]: boot["status"] for boot in self.folder.boots()}
        for _ in range(self.retries + 1):
            if job.boot not in status:
                status[job.boot] = self._boot(job)
            if status[job.boot] != "failed":
                return
            job = second_try(job)

    def _boot(self, job: Job) -> str:
        """Boots, collects, saves. A host side that died is a failed boot with its evidence."""
        seen = Collected(job)
        self.progress.boot_starts(job)

        def on_record(record: Record) -> None:
            seen.add(record)
            self.progress.boot_goes_on(job, seen, record)

        try:
            self.session.boot(job, on_record)
        except LabError as error:
            seen.end = End("failed", str(error).splitlines()[0], list(error.evidence))
        if self.session.log:
            seen.logs["host"] = self.session.log
        line = seen.line(self.window_s[job.cell])
        self.folder.append_boot(line, seen.rows, seen.logs)
        self.progress.boot_ended(job, line)
        return str(line["status"])


def conclude(folder: RunFolder) -> dict[str, Any]:
    """analysis.json and the pyperf files from what the folder holds; answers the analysis."""
    analysis = analyse(folder.run, folder.boots())
    folder.write_json("analysis.json", analysis)
    export_pyperf(folder.path)
    return analysis


def verify_outcome(analysis: Mapping[str, Any], host: str) -> None:
    """Raises InvalidError (4) or LabError (5) when the run cannot answer its question; evidence included."""
    short = [cell for cell in analysis["cells"] if len(cell["complete_blocks"]) < cell["blocks"]]
    invalid = analysis["invalid_boots"]
    if invalid:
        lines = sorted({f"{boot['boot']}: {boot['reason']}" for boot in invalid})
        raise InvalidError("not every boot can be believed:\n  " + "\n  ".join(lines))
    if short:
        failed = [f"{boot['boot']}: {boot['reason']}" for boot in analysis["failed_boots"]]
        names = ", ".join(f"{cell['cell']}/{cell['arm']}" for cell in short)
        raise LabError(host, f"blocks are missing in {names}", evidence=failed)
