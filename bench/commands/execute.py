"""The part of a run in which guests boot: every host its own jobs, then verdict, page and manifest in any case."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from bench.commands.labs import Labs, owner
from bench.commands.saying import say, tell
from bench.commands.survey import run_name
from bench.controller.fanout import Abandoned
from bench.controller.floorstore import copy_floors
from bench.controller.inventory import Host
from bench.controller.lab import Cargo, Lab
from bench.controller.outcome import conclude, problem, resume_command
from bench.controller.plan import Plan
from bench.controller.progress import Progress, progress_for
from bench.controller.run import HostRun, Outcome, statuses
from bench.controller.schedule import estimate_s
from bench.controller.stops import asked_for, unfinished
from bench.controller.store import RunFolder, StoreError
from bench.errors import BenchError, Interrupted, LabError, reason_of
from bench.wire.job import Hold, Job


@dataclass(frozen=True)
class Going:
    """A run that is about to boot. failed: the hosts that could not be reached, and why. cargo: None when nothing is
    left to boot.
    """

    folder: RunFolder
    labs: Labs
    cargo: Cargo | None
    plan: Plan
    jobs: Mapping[str, Sequence[Job]]
    failed: Mapping[str, BenchError]
    wait: bool
    as_json: bool

    def left(self, host: str) -> list[Job]:
        """The boots of a host that have no result yet."""
        asked = asked_for(self.folder, host, self.jobs[host], self.plan.retries)
        return unfinished(asked, statuses(self.folder, host), self.plan.retries)

    @property
    def finished(self) -> set[str]:
        """The boots, by the names of their first tries, that need not be run any more."""
        left = {job.boot for host in self.jobs for job in self.left(host)}
        return {job.boot for mine in self.jobs.values() for job in mine} - left


def execute(going: Going) -> None:
    """Boots what is missing; whatever ends it, what was measured is analysed and on disk before the exit."""
    try:
        outcomes = _measured(going)
        found = problem(_finish(going), outcomes, going.folder)
    except KeyboardInterrupt:
        path = shlex.quote(str(going.folder.path))
        finish = f"finish it with: {resume_command(going.folder)}, or see what there is with: bench report {path}"
        raise Interrupted(f"interrupted before there was a report; {finish}") from None
    if found is not None:
        raise found


def _measured(going: Going) -> list[Outcome]:
    """How every host ended. Raises KeyboardInterrupt when the user does not even want to wait for the hosts' end."""
    progress = progress_for(
        going.jobs,
        estimate_s,
        going.labs.parallel,
        stderr=sys.stderr,
        stdout=sys.stdout,
        as_json=going.as_json,
        done=going.finished,
    )
    try:
        with progress:
            outcomes = [_unreached(going, name, error, progress) for name, error in going.failed.items()]
            return outcomes + _boot_all(going, progress)
    except Abandoned:
        raise
    except KeyboardInterrupt:
        return [Outcome("", "stopped")]
    except StoreError:
        # What stopped the run (a full disk) may stop this too; the first cause is the one to tell.
        with suppress(LabError):
            _finish(going)
        raise


def _unreached(going: Going, host: str, error: BenchError, progress: Progress) -> Outcome:
    """A host that never answered is as lost as one that went away."""
    reason, evidence = reason_of(error)
    left = tuple(job.boot for job in going.left(host))
    going.folder.append_event(host, "lost", reason=reason, evidence=list(evidence), unfinished=list(left))
    progress.host_ends(host, "lost", reason)
    return Outcome(host, "lost", reason, evidence, left)


def _boot_all(going: Going, progress: Progress) -> list[Outcome]:
    hosts = [host for host in going.labs.hosts if host.name not in going.failed]
    runs = {host.name: _host_run(going, host, progress) for host in hosts}

    def work(host: Host) -> Outcome:
        try:
            return runs[host.name].run()
        except StoreError:
            going.labs.stop()
            raise

    for host_run in runs.values():
        going.labs.watch(host_run)
    answers = going.labs.each(work, hosts)
    for answer in answers.values():
        if isinstance(answer, BenchError):
            raise answer
    return [answer for answer in answers.values() if isinstance(answer, Outcome)]


def _host_run(going: Going, host: Host, progress: Progress) -> HostRun:
    plan = going.plan
    return HostRun(
        host.name,
        going.jobs[host.name],
        _opener(going, host),
        Hold(run_name(going.folder.path), owner(), plan.tune, going.wait, host.become, plan.swap_file_bytes),
        going.folder,
        progress,
        plan.retries,
        {cell.name: float(cell.params["window_s"]) for cell in plan.cells},
    )


def _opener(going: Going, host: Host) -> Callable[[], Lab]:
    def open_lab() -> Lab:
        assert going.cargo is not None, "a host with boots left"
        return going.labs.open(host, going.cargo)

    return open_lab


def _finish(going: Going) -> dict[str, Any]:
    """Analysis, page, manifest; the verdict on stderr and the folder as stdout's last line."""
    from bench.analysis.tables import verdict_table
    from reports.page import render

    folder = going.folder
    say("comparing the arms and rendering the report")
    try:
        copy_floors(folder)
        analysis = conclude(folder)
        page = render(folder.path)
        folder.seal()
    except OSError as error:
        advice = "every finished boot is in boots.jsonl; `bench report RUN` makes the report once there is room"
        raise StoreError(folder.path, f"the report cannot be written: {error.strerror}; {advice}") from error
    tell(f"{verdict_table(analysis)}\nreport: {page}\n")
    # Nobody may be there to read it, and the run is complete all the same.
    with suppress(OSError):
        print(json.dumps({"event": "run", "folder": str(folder.path)}) if going.as_json else folder.path, flush=True)
    return analysis
