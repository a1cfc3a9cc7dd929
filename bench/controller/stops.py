"""When a host needs no more blocks: its cells are decided (the plan's looks), or its time is spent (the budget)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from bench.analysis.stopping import Open, going_on, looks_before, still_open
from bench.controller.progress import Listener
from bench.controller.schedule import second_try
from bench.controller.store import RunFolder
from bench.wire.job import Job

# How many comparisons a note names.
_NAMED = 3


def unfinished(jobs: Sequence[Job], status: Mapping[str, str], retries: int) -> list[Job]:
    """The jobs that have no result yet, and a try left."""
    return [job for job in jobs if not _is_done(job, status, retries)]


def _is_done(job: Job, status: Mapping[str, str], retries: int) -> bool:
    for _ in range(retries + 1):
        if job.boot not in status:
            return False
        if status[job.boot] != "failed":
            return True
        job = second_try(job)
    return True


def asked_for(folder: RunFolder, host: str, jobs: Sequence[Job], retries: int) -> list[Job]:
    """The jobs of a host that the looks of its run leave, those that are done included.

    A look counts once no boot before it is missing; a cell that one look decided stays decided.
    """
    run = folder.run
    boots = folder.boots() if run.get("looks") else []
    status = {boot["boot"]: boot["status"] for boot in boots if boot["host"] == host}
    kept = list(jobs)
    for look in (run.get("looks") or [])[:-1]:
        if unfinished([job for job in kept if job.block <= look], status, retries):
            break
        if any(job.block > look for job in kept):
            needed = going_on(run, boots, host, look)
            kept = [job for job in kept if job.block <= look or job.cell in needed]
    return kept


@dataclass(eq=False)
class Stops:
    """Is asked as each block begins, by the thread of the host. now: seconds of a clock that never steps back."""

    host: str
    folder: RunFolder
    progress: Listener
    retries: int
    now: Callable[[], float] = time.monotonic
    _began: float = 0.0
    _block_began: float = 0.0
    _longest_s: float = 0.0
    _looked: set[int] = field(default_factory=set)

    def begin(self, jobs: Sequence[Job]) -> list[Job]:
        """The jobs to be run, as far as looks have not decided them already."""
        self._began = self._block_began = self.now()
        return asked_for(self.folder, self.host, jobs, self.retries)

    def before(self, block: int, jobs: Sequence[Job]) -> list[Job]:
        """Those of `jobs` that are still to be run, as this block begins."""
        now = self.now()
        self._longest_s, self._block_began = max(self._longest_s, now - self._block_began), now
        kept = self._looks(block, jobs)
        budget_s = self.folder.run.get("budget_s")
        if budget_s is None or now - self._began + self._longest_s <= budget_s:
            return kept
        begun = [job for job in kept if job.block < block]
        if len(begun) < len(kept):
            self.folder.append_event(self.host, "budget", budget_s=budget_s, blocks=block - 1)
            text = f"no other block fits into the {budget_s:.0f} s that the plan gives; {block - 1} were begun"
            self.progress.note(self.host, "budget", text, blocks=block - 1)
        return begun

    def _looks(self, block: int, jobs: Sequence[Job]) -> list[Job]:
        run = self.folder.run
        passed = looks_before(run.get("looks") or [], block)
        if not passed or passed[-1] in self._looked:
            return list(jobs)
        self._looked.add(passed[-1])
        kept = asked_for(self.folder, self.host, jobs, self.retries)
        dropped = {job.cell for job in jobs} - {job.cell for job in kept if job.block >= block}
        left = still_open(run, self.folder.boots(), self.host, passed[-1])
        left = [one for one in left if one.cell not in dropped]
        cells = sorted({job.cell for job in jobs if job.block >= block} & dropped)
        facts = {"look": passed[-1], "decided": cells, "undecided": [vars(one) for one in left]}
        self.folder.append_event(self.host, "look", **facts)
        self.progress.note(self.host, "look", look_in_words(passed[-1], cells, left), **facts)
        return kept


def look_in_words(look: int, decided: Sequence[str], left: Sequence[Open]) -> str:
    """What is decided after a look, and what is not, with the blocks that it will probably need."""
    words = [f"decided: {', '.join(decided)}"] if decided else []
    if left:
        # The ones that will take longest first: they say when the run ends.
        ordered = sorted(left, key=lambda one: -(one.expected or 10**9))
        named = [f"{one.metric} of {one.arm} in {one.cell} ({_needs(one)})" for one in ordered[:_NAMED]]
        more = [f"{len(left) - _NAMED} more"] if len(left) > _NAMED else []
        words.append(f"undecided: {', '.join([*named, *more])}")
    return f"after {look} blocks {'; '.join(words) or 'nothing is undecided'}"


def _needs(one: Open) -> str:
    return f"about {one.expected} blocks" if one.expected else "more blocks than planned"
