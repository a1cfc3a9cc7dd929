"""What many hosts cost the controller: memory, CPU time and wall time a host, and whether every record arrives.

    python -m benchmarks.fleet [HOSTS] [SPEED]

The host sides are replaced by a fake that speaks the real protocol over the real Session, Lab and HostRun: it replays
the boots of the published run, every sample of them, SPEED times as fast as they were recorded. All hosts are at
work at once.
"""

from __future__ import annotations

import csv
import functools
import gzip
import json
import queue
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.controller.fanout import each
from bench.controller.inventory import Host
from bench.controller.lab import Cargo, Lab, open_lab
from bench.controller.outcome import conclude
from bench.controller.plan import Options, Plan, load_plan, resolve
from bench.controller.progress import progress_for
from bench.controller.run import HostRun, Outcome
from bench.controller.schedule import estimate_s, schedule
from bench.controller.store import SCHEMA, RunFolder
from bench.wire import codec, record
from bench.wire.codec import to_json
from bench.wire.job import Hold, Job, Paths
from bench.wire.record import End, Held, Hello, LogPart, PhaseDone, Ready, Record, Released, Row, Samples, Started

PUBLISHED = Path(__file__).resolve().parent.parent / "reports/published/quick-emulated"
FLUSH_S = 0.5


@dataclass(frozen=True)
class Recorded:
    """One boot of the published run: its line, its rows, its logs."""

    line: Mapping[str, Any]
    rows: Sequence[Row]
    logs: Mapping[str, str]

    @functools.cached_property
    def lines(self) -> list[tuple[float, bytes]]:
        """The records as they go over the wire, made once: that work is the hosts', not the controller's."""
        return [(at, record.encode(item)) for at, item in self.records()]

    def records(self) -> Iterator[tuple[float, Record]]:
        """(when, record), as a host side sent them."""
        line, begin = self.line, 0
        yield 0.0, Hello(1, line["host_facts"])
        yield 0.0, Started(line["argv"], 2, line["started"])
        yield line["ready_s"], Ready(line["ready_s"], line["guest"])
        done = {phase["end_s"]: PhaseDone(**phase) for phase in line["phases"]}
        ticks = [tick * FLUSH_S for tick in range(int(self.rows[-1][0] / FLUSH_S) + 2)]
        for at in sorted([*ticks, *done]):
            end = begin
            while end < len(self.rows) and self.rows[end][0] < at:
                end += 1
            if end > begin:
                yield at, Samples(list(self.rows[begin:end]))
            begin = end
            if at in done:
                yield at, done[at]
        last = ticks[-1]
        yield from ((last, LogPart(name, text)) for name, text in self.logs.items())
        yield last, End("ok", "", [], line["sampler"], line["clock"], line["qmp"])


def recorded() -> dict[str, Recorded]:
    """A boot of each arm of the published run."""
    found = {}
    for text in (PUBLISHED / "boots.jsonl").read_text().splitlines():
        line = json.loads(text)
        if line["status"] == "ok" and line["arm"] not in found:
            with gzip.open(PUBLISHED / line["series"], "rt") as file:
                rows = [(float(t), source, name, float(value)) for t, source, name, value in list(csv.reader(file))[1:]]
            logs = {path.split(".")[-2]: (PUBLISHED / path).read_text() for path in line["logs"]}
            found[line["arm"]] = Recorded(line, rows, logs)
    return found


class Conversation:
    """A host side that answers one request from the recorded boots."""

    log = ""

    def __init__(self, boots: Mapping[str, Recorded], speed: float) -> None:
        self._boots, self._speed = boots, speed
        self._requests: queue.Queue[bytes] = queue.Queue()
        self._closed = threading.Event()

    def send(self, data: bytes) -> None:
        self._requests.put(data)

    def lines(self) -> Iterator[bytes]:
        data = self._requests.get()
        if b'"files"' in data.rsplit(b"\n", 2)[-2]:
            yield json.dumps({"cache": "/cache", "missing": [], "free_bytes": 2**40, "python": "3.11"}).encode() + b"\n"
            yield json.dumps({"stored": [], "received_bytes": 0, "pruned": []}).encode() + b"\n"
            return
        kind, body = codec.decode(data)
        if kind == "Hold":
            yield record.encode(Held())
            self._closed.wait()
            yield record.encode(Released())
        else:
            yield from self._boot(codec.from_json(Job, body))

    def _boot(self, job: Job) -> Iterator[bytes]:
        begin = time.monotonic()
        for at, line in self._boots[job.arm.name].lines:
            self._closed.wait(max(0.0, begin + at / self._speed - time.monotonic()))
            yield line

    def close_input(self) -> None:
        self._closed.set()

    def end(self, _deadline_s: float) -> int | None:
        self._closed.set()
        return 0


@dataclass
class Transport:
    """The road to a fake host."""

    name: str
    boots: Mapping[str, Recorded]
    speed: float
    python: str = "python3"
    heartbeat_s: float = 0.0
    connected: bool = field(default=True)

    def open(self) -> None:
        """Nothing to connect to."""

    def start(self, argv: Sequence[str], *, beat: bool = False) -> Conversation:
        del argv, beat
        return Conversation(self.boots, self.speed)

    def close(self) -> None:
        """Nothing is kept open."""


@dataclass(frozen=True)
class Fleet:
    """What all simulated hosts share."""

    folder: RunFolder
    plan: Plan
    cargo: Cargo
    boots: Mapping[str, Recorded]
    speed: float

    def host_run(self, host: Host, jobs: Sequence[Job], progress: Any) -> HostRun:
        windows = {cell.name: float(cell.params["window_s"]) for cell in self.plan.cells}
        hold = Hold("simulation", "benchmark")
        return HostRun(host.name, jobs, self._opener(host), hold, self.folder, progress, 0, windows)

    def _opener(self, host: Host) -> Callable[[], Lab]:
        return lambda: open_lab(host, self.cargo, lambda chosen: Transport(chosen.name, self.boots, self.speed))


def main(count: int = 500, speed: float = 1.0) -> None:
    """Prints the table; fails when a record is missing."""
    boots = recorded()
    plan = resolve(load_plan("quick"), "tcg", Options())
    hosts = [Host(f"host-{number:03d}") for number in range(count)]
    jobs = {host.name: schedule(plan, host, Paths("", "", "", ""), "tcg", 1) for host in hosts}
    with tempfile.TemporaryDirectory() as base:
        folder = RunFolder.create(Path(base) / "run", _facts(plan, hosts, jobs), "", "")
        file = Path(base) / "file"
        file.write_bytes(b"x")
        fleet = Fleet(folder, plan, Cargo(file, file, {}), boots, speed)
        before, begin, cpu = _rss_bytes(), time.monotonic(), time.process_time()
        with (Path(base) / "progress").open("w") as shown:
            progress = progress_for(jobs, estimate_s, count, stderr=shown, stdout=shown, as_json=True)
            with progress:
                runs = {host.name: fleet.host_run(host, jobs[host.name], progress) for host in hosts}
                outcomes = each({name: run.run for name, run in runs.items()}, count, lambda: None)
        wall, spent, peak = time.monotonic() - begin, time.process_time() - cpu, _peak_bytes()
        _check(folder, outcomes.values(), boots, sum(map(len, jobs.values())))
        began = time.process_time()
        conclude(folder)
        analysed = time.process_time() - began
    replayed = max(boot.rows[-1][0] for boot in boots.values()) / speed * len(next(iter(jobs.values())))
    number = sum(map(len, jobs.values()))
    print(f"{count} hosts at once, {number} boots, {sum(len(b.rows) for b in boots.values()) // len(boots)} rows each")
    print(f"wall time                 {wall:8.1f} s   (a host alone: {replayed:.1f} s)")
    shares = f"{1000 * spent / count:8.1f} ms a host {1000 * spent / number:8.1f} ms a boot"
    print(f"CPU time of the run       {spent:8.1f} s   {shares}")
    print(f"CPU used while it ran     {100 * spent / wall:8.1f} %")
    print(f"memory, highest           {peak / 2**20:8.1f} MiB {(peak - before) / count / 2**20:8.2f} MiB a host")
    print(f"analysis at the end       {analysed:8.1f} s of CPU time")


def _facts(plan: Plan, hosts: Sequence[Host], jobs: Mapping[str, Sequence[Job]]) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "plan": plan.name,
        "accel": "tcg",
        "hosts": [host.name for host in hosts],
        "reference": plan.reference,
        "arms": [arm.name for arm in plan.arms],
        "blocks": plan.blocks,
        "min_blocks": plan.min_blocks,
        "metrics": to_json(plan.metrics),
        "schedule": [job.boot for mine in jobs.values() for job in mine],
    }


def _check(folder: RunFolder, outcomes: Any, boots: Mapping[str, Recorded], expected: int) -> None:
    """Every boot of every host is there, and every row of every boot."""
    assert all(isinstance(outcome, Outcome) and outcome.state == "done" for outcome in outcomes), outcomes
    lines = folder.boots()
    assert len(lines) == expected == len({line["boot"] for line in lines}), f"{len(lines)} of {expected} boots"
    for line in lines:
        assert line["status"] == "ok", line
        with gzip.open(folder.path / line["series"], "rt") as file:
            rows = sum(1 for _ in file) - 1
        assert rows == len(boots[line["arm"]].rows), f"{line['boot']}: {rows} rows"


def _rss_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main(*(kind(text) for kind, text in zip((int, float), sys.argv[1:3], strict=False)))
