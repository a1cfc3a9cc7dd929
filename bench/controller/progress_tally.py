"""How far a run is: boots done and left on every host, and the seconds that they will take. Its user locks."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field

from bench.wire.job import Job

# A boot whatever its attempt: block, cell, arm.
Key = tuple[int, str, str]
ENDED = ("done", "lost", "stopped")


def clock(seconds: float) -> str:
    """m:ss"""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _key(job: Job) -> Key:
    return job.block, job.cell, job.arm.name


@dataclass
class HostTally:
    """One host's part of the run.

    state: "waiting" (for its turn), "running", or one of ENDED with its reason. job: the boot that runs, since `begun`;
    usual_s: what it usually takes. left: usual seconds of each boot that is left, open_s: their sum. poor: how boots
    ended that are not ok. spent_s: what those took that ended, and expected_s: what they usually take.
    """

    name: str
    total: int
    blocks: int
    state: str = "waiting"
    reason: str = ""
    job: Job | None = None
    begun: float = 0.0
    usual_s: float = 0.0
    left: dict[Key, float] = field(default_factory=dict)
    open_s: float = 0.0
    poor: dict[Key, str] = field(default_factory=dict)
    spent_s: float = 0.0
    expected_s: float = 0.0

    @property
    def done(self) -> int:
        return self.total - len(self.left)

    @property
    def not_run(self) -> int:
        """Boots that nobody will run any more."""
        return len(self.left) if self.state in ENDED else 0

    def set_left(self, left: dict[Key, float]) -> None:
        # Added up here and not where it is read: a run of many hosts reads it far more often.
        self.left, self.open_s = left, sum(left.values())

    def left_s(self, now: float, elsewhere: float) -> float:
        """Seconds until this host is through. elsewhere: the pace of other hosts, as long as nothing ended here."""
        if self.state in ENDED:
            return 0.0
        pace = self.spent_s / self.expected_s if self.expected_s else elsewhere
        if self.job is None:
            return pace * self.open_s
        # A boot that takes longer than expected ends any moment; the others take their time all the same.
        return max(0.0, pace * self.usual_s - (now - self.begun)) + pace * max(0.0, self.open_s - self.usual_s)


class Tally:
    """All hosts of a run, in the order in which they are run, `parallel` of them at once.

    estimate_s: usual seconds of a boot. done: names of the boots (of their first try) that an earlier run has finished.
    now: seconds of a clock that never steps back.
    """

    def __init__(
        self,
        jobs: Mapping[str, Sequence[Job]],
        estimate_s: Callable[[Job], float],
        parallel: int,
        now: Callable[[], float],
        done: Container[str] = (),
    ) -> None:
        self._estimate_s, self._now = estimate_s, now
        self._places = max(1, min(parallel, len(jobs)))
        self._spent_s, self._expected_s = 0.0, 0.0
        self.hosts = {name: HostTally(name, len(all_), _blocks(all_)) for name, all_ in jobs.items()}
        self.total = sum(host.total for host in self.hosts.values())
        for name, all_ in jobs.items():
            self._set_left(name, [job for job in all_ if job.boot not in done])

    @property
    def done(self) -> int:
        """Boots that ended, in this run or an earlier one. A boot that is tried again is not done until it ends."""
        return self.total - sum([len(host.left) for host in self.hosts.values()])

    def host_starts(self, name: str, left: Sequence[Job]) -> None:
        host = self.hosts[name]
        host.state, host.reason, host.job = "running", "", None
        self._set_left(name, left)

    def host_left(self, name: str, jobs: Sequence[Job]) -> None:
        """Only these are still to be run: boots that are needed no more are none of the run's."""
        host = self.hosts[name]
        before = len(host.left)
        self._set_left(name, jobs)
        host.total -= before - len(host.left)
        self.total = sum(host.total for host in self.hosts.values())

    def boot_starts(self, job: Job) -> None:
        """Also a boot that was torn or has failed, and begins again."""
        host = self.hosts[job.host]
        host.poor.pop(_key(job), None)
        host.job, host.begun, host.usual_s = job, self._now(), self._estimate_s(job)
        host.set_left({**host.left, _key(job): host.usual_s})

    def boot_ended(self, job: Job, status: str) -> float:
        """Seconds that the boot took."""
        host = self.hosts[job.host]
        took = self._now() - host.begun
        # A boot that failed tells how long a failure takes.
        if status != "failed":
            host.spent_s, host.expected_s = host.spent_s + took, host.expected_s + host.usual_s
            self._spent_s, self._expected_s = self._spent_s + took, self._expected_s + host.usual_s
        if status != "ok":
            host.poor[_key(job)] = status
        host.set_left({key: usual_s for key, usual_s in host.left.items() if key != _key(job)})
        host.job = None
        return took

    def host_ends(self, name: str, state: str, reason: str) -> None:
        host = self.hosts[name]
        host.state, host.reason, host.job = state, reason, None

    def host_left_s(self, name: str) -> float:
        """Seconds until this host is through its boots, from when it begins."""
        return self.hosts[name].left_s(self._now(), self._pace)

    def left_s(self) -> float:
        """Seconds to the end of the run: each host takes the place that is free first; those that run have theirs."""
        now, pace = self._now(), self._pace
        places = [0.0] * self._places
        for host in sorted(self.hosts.values(), key=lambda host: host.state == "waiting"):
            heapq.heapreplace(places, places[0] + host.left_s(now, pace))
        return max(places)

    @property
    def _pace(self) -> float:
        """Seconds that went by for each second expected; 1 as long as nothing ended."""
        return self._spent_s / self._expected_s if self._expected_s else 1.0

    def _set_left(self, name: str, jobs: Sequence[Job]) -> None:
        self.hosts[name].set_left({_key(job): self._estimate_s(job) for job in jobs})


def _blocks(jobs: Sequence[Job]) -> int:
    return max((job.block for job in jobs), default=0)
