"""One host's part of a run: the host is held, its boots run one after another, each on disk before the next one starts.

A connection that drops is made again, a few times; the boot that it tore leaves no line and is begun anew. A host that
stays away is an outcome beside those of the other hosts, and `--resume` takes up what it left.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from bench.controller.collect import Collected
from bench.controller.keeper import Keeper
from bench.controller.progress import Listener
from bench.controller.schedule import second_try
from bench.controller.stops import Stops, unfinished
from bench.controller.store import RunFolder, StoreError
from bench.errors import BenchError, Interrupted, LabError, reason_of
from bench.wire.codec import to_json
from bench.wire.holder import held_by, taken_from
from bench.wire.job import Hold, Job
from bench.wire.record import End, Record, Waiting

# Seconds before each attempt to reach a host again whose connection dropped. A boot that ended begins the count anew.
RECONNECT_AFTER_S = (1.0, 5.0)


class Session(Protocol):
    """What runs a job on a host (bench.controller.session)."""

    name: str
    log: str

    @property
    def stopped(self) -> bool: ...

    def boot(self, job: Job, on_record: Callable[[Record], None]) -> End: ...

    def hold(self, request: Hold, on_waiting: Callable[[Waiting], None]) -> Keeper: ...

    def stop(self, *, now: bool = False) -> None: ...


class Lab(Protocol):
    """A host that can be talked to (bench.controller.lab)."""

    @property
    def session(self) -> Session: ...

    @property
    def connected(self) -> bool: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Outcome:
    """How a host's part ended. state: "done", "lost" (reason and evidence say why), "stopped" with all others."""

    host: str
    state: str
    reason: str = ""
    evidence: tuple[str, ...] = ()
    unfinished: tuple[str, ...] = ()


def statuses(folder: RunFolder, host: str) -> dict[str, str]:
    """Status of each boot of a host that the folder holds, by the boot's name."""
    return {boot["boot"]: boot["status"] for boot in folder.boots() if boot["host"] == host}


@dataclass(eq=False)
class HostRun:
    """Runs the jobs of one host. `run` is called once; `stop` by any thread, at any time.

    open_lab: connects and pushes; called again when the connection was lost. window_s: the footprint window of each
    cell. pause: waits so many seconds; as it is, a stop ends that too.
    """

    host: str
    jobs: Sequence[Job]
    open_lab: Callable[[], Lab]
    hold: Hold
    folder: RunFolder
    progress: Listener
    retries: int
    window_s: Mapping[str, float]
    pause: Callable[[float], object] | None = None
    _status: dict[str, str] = field(default_factory=dict)
    _lacking: dict[tuple[str, str], str] = field(default_factory=dict)
    _block: int = 0
    _stops: Stops = field(init=False)
    _session: Session | None = None
    _stopping: threading.Event = field(default_factory=threading.Event)

    def run(self) -> Outcome:
        """Every job that the folder does not hold yet. A lost host is an answer; a full disk here is a StoreError."""
        self._status = statuses(self.folder, self.host)
        mine = [boot for boot in self.folder.boots() if boot["host"] == self.host and boot["status"] == "skipped"]
        self._lacking = {(boot["cell"], boot["arm"]): boot["reason"] for boot in mine}
        self._stops = Stops(self.host, self.folder, self.progress, self.retries)
        self.jobs = self._stops.begin(self.jobs)
        left = unfinished(self.jobs, self._status, self.retries)
        self.progress.host_starts(self.host, left)
        outcome = self._run() if left else Outcome(self.host, "done")
        if outcome.state == "lost":
            facts = {"evidence": list(outcome.evidence), "unfinished": list(outcome.unfinished)}
            self.folder.append_event(self.host, "lost", reason=outcome.reason, **facts)
        self.progress.host_ends(self.host, outcome.state, outcome.reason)
        return outcome

    def stop(self, *, now: bool = False) -> None:
        """Ends the boot that is running, in order (now: at once), and lets no other begin."""
        self._stopping.set()
        session = self._session
        if session is not None:
            session.stop(now=now)

    def _run(self) -> Outcome:
        tries, done = 0, len(self._status)
        while True:
            try:
                self._connected()
                return Outcome(self.host, "done")
            except _ConnectionLostError as lost:
                error, again = lost.cause, True
            except BenchError as failed:
                error, again = failed, False
            if isinstance(error, StoreError):
                raise error
            if self._stopping.is_set() or isinstance(error, Interrupted):
                return self._ended("stopped", "")
            if len(self._status) > done:
                tries, done = 0, len(self._status)
            if not again or tries == len(RECONNECT_AFTER_S):
                reason, evidence = reason_of(error)
                return self._ended("lost", reason, evidence)
            tries += 1
            self._reconnecting(tries, error)
            (self.pause or self._stopping.wait)(RECONNECT_AFTER_S[tries - 1])

    def _ended(self, state: str, reason: str, evidence: tuple[str, ...] = ()) -> Outcome:
        left = tuple(job.boot for job in unfinished(self.jobs, self._status, self.retries))
        return Outcome(self.host, state, reason, evidence, left)

    def _reconnecting(self, tries: int, error: BenchError) -> None:
        reason, _ = reason_of(error)
        self.folder.append_event(self.host, "reconnecting", tries=tries, reason=reason)
        text = f"{reason}; connecting again, try {tries} of {len(RECONNECT_AFTER_S)}"
        self.progress.note(self.host, "reconnecting", text, tries=tries)

    def _connected(self) -> None:
        """One connection's worth of work. Raises _ConnectionLostError where another one may help."""
        if self._stopping.is_set():
            raise Interrupted("stopped")
        began = self._session is not None
        try:
            lab = self.open_lab()
        except LabError as error:
            if began:
                raise _ConnectionLostError(error) from error
            raise
        try:
            self._session = lab.session
            if self._stopping.is_set():
                raise Interrupted("stopped")
            with self._held(lab, again=began) as keeper:
                while job := self._next():
                    self._run_one(job, lab, keeper)
        except StoreError:
            raise
        except LabError as error:
            if not lab.connected:
                raise _ConnectionLostError(error) from error
            raise
        finally:
            lab.close()

    @contextmanager
    def _held(self, lab: Lab, *, again: bool) -> Iterator[Keeper]:
        """The host is locked and tuned inside; what was changed is restored behind, however it is left.

        again: the host may not have noticed yet that the last connection is gone, so its lock is waited for.
        """

        def waiting(record: Waiting) -> None:
            holder = record.holder
            if not (self.hold.wait or self._is_mine(holder)):
                raise LabError(self.host, f"{held_by(holder)}; wait with --wait, or end that run")
            self.folder.append_event(self.host, "waiting", holder=holder)
            self.progress.note(self.host, "waiting", f"waiting for the host, {held_by(holder)}")

        keeper = lab.session.hold(replace(self.hold, wait=True) if again else self.hold, waiting)
        try:
            held = to_json(keeper.held)
            self.folder.append_event(self.host, "held", **held)
            self._tell(held)
            yield keeper
        finally:
            released = keeper.release()
            if released is not None:
                self.folder.append_event(self.host, "released", **to_json(released))

    def _is_mine(self, holder: Mapping[str, Any]) -> bool:
        """Whether the holder is this run; who left no name may be."""
        return not holder or (holder.get("owner"), holder.get("run")) == (self.hold.owner, self.hold.run)

    def _tell(self, held: Mapping[str, Any]) -> None:
        taken = held["taken_over"]
        if taken:
            self.progress.note(self.host, "taken_over", taken_from(taken))
        if held["removed"]:
            self.progress.note(self.host, "removed", "; ".join(held["removed"]))
        if held["recovered"]:
            text = f"restored {len(held['recovered'])} settings that a run left changed when it died"
            self.progress.note(self.host, "recovered", text)
        if held["swap"].get("problem"):
            self.progress.note(self.host, "no_swap_file", f"no swap file was made: {held['swap']['problem']}")
        refused = [setting for setting in held["settings"] if setting["state"] == "refused"]
        if refused:
            names = ", ".join(dict.fromkeys(setting["name"] for setting in refused))
            self.progress.note(self.host, "refused", f"could not be tuned: {names} ({refused[0]['problem']})")

    def _next(self) -> Job | None:
        """The job to be run now; as a block begins, the ones that are not needed any more are dropped."""
        left = unfinished(self.jobs, self._status, self.retries)
        if left and left[0].block != self._block:
            self._block = left[0].block
            self.jobs = self._stops.before(self._block, self.jobs)
            kept = unfinished(self.jobs, self._status, self.retries)
            if len(kept) < len(left):
                self.progress.host_left(self.host, kept)
            return kept[0] if kept else None
        return left[0] if left else None

    def _run_one(self, job: Job, lab: Lab, keeper: Keeper) -> None:
        """A failed boot is tried again right away, in its block."""
        for _ in range(self.retries + 1):
            if job.boot not in self._status:
                self._status[job.boot] = self._boot(job, lab, keeper)
            if self._status[job.boot] != "failed":
                return
            job = second_try(job)

    def _boot(self, job: Job, lab: Lab, keeper: Keeper) -> str:
        """Boots, collects, saves. A host side that died is a failed boot with its evidence."""
        session = lab.session
        if keeper.gone:
            raise _ConnectionLostError(keeper.died())
        seen = Collected(job)
        self.progress.boot_starts(job)
        if (job.cell, job.arm.name) in self._lacking:
            # The host, the kernel and the QEMU are what they were: no second guest has to say so.
            seen.end = End("skipped", self._lacking[job.cell, job.arm.name])
            return self._save(job, seen)

        def on_record(record: Record) -> None:
            seen.add(record)
            self.progress.boot_goes_on(job, seen, record)

        try:
            session.boot(job, on_record)
        except LabError as error:
            if not lab.connected:
                raise
            seen.end = End("failed", str(error).splitlines()[0], list(error.evidence))
        if session.stopped:
            raise Interrupted("stopped")
        if keeper.gone:
            # From some moment on nobody guarded the host: this boot may have been measured beside another bench.
            raise _ConnectionLostError(keeper.died())
        if session.log:
            seen.logs["host"] = session.log
        return self._save(job, seen)

    def _save(self, job: Job, seen: Collected) -> str:
        line = seen.line(self.window_s[job.cell])
        self.folder.append_boot(line, seen.rows, seen.logs)
        self.progress.boot_ended(job, line)
        if line["status"] == "skipped":
            self._lacking[job.cell, job.arm.name] = line["reason"]
        return str(line["status"])


class _ConnectionLostError(Exception):
    """The connection was lost for the reason that `cause` tells; making it again may help."""

    def __init__(self, cause: BenchError) -> None:
        super().__init__(str(cause))
        self.cause = cause
