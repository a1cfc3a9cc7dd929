"""Lab hosts without hosts: a Transport that speaks the real protocol in this process, and does as a test scripts it.

A `Machine` answers the receiver of files, Hold, Ask and Job as the host side does, and has one lock. Its connections
can be refused, and dropped at any moment; a test waits for a request by `seen`.
"""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from boot_records import good_boot
from jobs import PATHS

from bench.controller.inventory import Host
from bench.errors import BenchError, LabError, parts
from bench.wire import codec, record
from bench.wire.job import Ask, Hold, Job
from bench.wire.record import End, Held, Hello, Record, Released, Reply, Waiting
from bench.wire.units import GIB

# A test that waits longer for something hangs.
HANG_S = 10.0
RESOLVED: Mapping[str, Any] = {
    "paths": asdict(PATHS),
    "accel": "tcg",
    "kvm": None,
    "qemu_version": "7.2",
    "guest_kernel": "6.1.0",
    "available_bytes": 64 * GIB,
    "host_facts": {"kernel": "6.1.0"},
}
Answer = dict[str, Any] | BenchError
# What a machine does with a job: says records over the conversation, and ends it or not.
Boot = Callable[["Talk", Job], None]


def well(talk: Talk, job: Job) -> None:
    """A boot that was measured and can be believed."""
    talk.say(*good_boot(job))
    talk.over()


def endless(talk: Talk, job: Job) -> None:
    """A boot that goes on until the controller says that it shall end."""
    talk.say(Hello(7, {}))
    talk.when_closed = lambda: talk.say(End("failed", "the controller went away"))


def deaf(talk: Talk, job: Job) -> None:
    """A host side that hangs: it does not even see that its stdin was closed."""
    talk.deaf = True


def dropped(talk: Talk, job: Job) -> None:
    """The connection breaks in the middle of the boot."""
    talk.say(Hello(7, {}))
    talk.machine.drop()


class Machine:
    """A lab host. Everything that came is in `requests`: "push", "hold RUN", "ask WHAT", "boot NAME", "released".

    open: what `open` of a transport does, one entry each time, nothing when it is empty: an exception, or a call.
    asks: the answers by question. boots: by the boot's name, `well` for others. missing: the files that it lacks.
    removed: what it put away before it is held.
    notices: whether it sees at once that a connection is gone; else its lock stays until `notice`.
    """

    def __init__(self, name: str = "lab1") -> None:
        self.name = name
        self.requests: list[str] = []
        self.open: list[BenchError | Callable[[], object]] = []
        self.asks: dict[str, Answer | Callable[[Mapping[str, Any]], Answer]] = {"resolve": dict(RESOLVED)}
        self.boots: dict[str, Boot] = {}
        self.push: Callable[[Talk], None] = stored
        self.missing: tuple[str, ...] = ()
        self.removed: tuple[str, ...] = ()
        self.notices = True
        self.holder: tuple[Talk | None, dict[str, Any]] | None = None
        self.roads: list[Road] = []
        self._waiting: list[tuple[Talk, Hold]] = []
        self._changed = threading.Condition(threading.RLock())

    def road(self, _host: Host) -> Road:
        self.roads.append(Road(self))
        return self.roads[-1]

    def note(self, request: str) -> None:
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()

    def seen(self, start: str, times: int = 1) -> None:
        """Returns when so many requests that begin so have come."""
        with self._changed:
            came = self._changed.wait_for(lambda: self.count(start) >= times, HANG_S)
        assert came, f"{times} of {start!r} did not come; came: {self.requests}"

    def count(self, start: str) -> int:
        return sum(request.startswith(start) for request in self.requests)

    def drop(self) -> None:
        """Every connection breaks."""
        for road in self.roads:
            road.drop()

    def notice(self) -> None:
        """A lock whose connection is gone is free now."""
        self.free(self.holder[0] if self.holder else None)

    def take(self, talk: Talk, hold: Hold) -> None:
        with self._changed:
            if talk.gone:
                return
            if self.holder is None:
                self.holder = (talk, {"owner": hold.owner, "run": hold.run, "since": "then", "pid": 7})
                talk.when_closed = lambda: talk.say(Released())
                talk.say(Held(removed=self.removed))
            elif hold.wait:
                self._waiting.append((talk, hold))
                talk.say(Waiting(self.holder[1]))
            else:
                who = "held by {owner} for run {run} since {since}, process {pid}".format_map(self.holder[1])
                talk.fail(LabError("", f"{who}; wait with --wait, or end that run"))

    def free(self, talk: Talk | None) -> None:
        with self._changed:
            self._waiting = [item for item in self._waiting if item[0] is not talk]
            if self.holder is None or self.holder[0] is not talk:
                return
            self.holder = None
            self.note("released")
            waiting, self._waiting = self._waiting, []
            for item in waiting:
                self.take(*item)


def stored(talk: Talk) -> None:
    """The receiver, after everything that was missing has come."""
    talk.tell({"stored": [], "received_bytes": 0, "pruned": []})
    talk.over()


class Road:
    """bench.controller.transport.Transport to a Machine."""

    python, heartbeat_s = "python3", 0.0

    def __init__(self, machine: Machine) -> None:
        self.machine, self.name = machine, machine.name
        self.connected = False
        self.closed = False
        self.talks: list[Talk] = []

    def open(self) -> None:
        step = self.machine.open.pop(0) if self.machine.open else None
        if isinstance(step, BenchError):
            raise step
        if step is not None:
            step()
        self.connected = True

    def start(self, argv: Sequence[str], *, beat: bool = False) -> Talk:
        del beat
        if not self.connected:
            raise LabError(self.name, "there is no connection to it", argv)
        self.talks.append(Talk(self.machine))
        return self.talks[-1]

    def drop(self) -> None:
        self.connected = False
        for talk in self.talks:
            talk.over(noticed=self.machine.notices)

    def close(self) -> None:
        self.closed = True
        self.drop()


class Talk:
    """bench.controller.transport.Conversation with a Machine."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.log = ""
        self.deaf = False
        self.when_closed: Callable[[], None] = lambda: None
        self._lines: queue.Queue[bytes] = queue.Queue()
        self._over = threading.Event()
        self._input_closed = threading.Event()
        self._left: int | None = None

    # -- the controller's end ------------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        if self._over.is_set() or self._input_closed.is_set():
            raise BrokenPipeError
        if self._left is not None:
            self._received(len(data))
        elif data.startswith(b'{"v"'):
            self._request(*codec.decode(data))
        else:
            self._receive(json.loads(data.splitlines()[-1]))

    def lines(self) -> Iterator[bytes]:
        while line := self._lines.get():
            yield line

    def close_input(self) -> None:
        if not self._input_closed.is_set():
            self._input_closed.set()
            if not self.deaf:
                self.when_closed()
                self.over()

    def end(self, deadline_s: float) -> int | None:
        self.close_input()
        if not self._over.wait(deadline_s):
            self.over()
        return 0

    @property
    def gone(self) -> bool:
        return self._over.is_set()

    # -- the machine's end -------------------------------------------------------------------------------------------

    def say(self, *records: Record) -> None:
        for item in records:
            self._put(record.encode(item))

    def tell(self, answer: dict[str, Any]) -> None:
        """A line of the receiver."""
        self._put(json.dumps(answer).encode() + b"\n")

    def fail(self, error: BenchError) -> None:
        self.say(Reply({}, parts(error)))
        self.over()

    def over(self, *, noticed: bool = True) -> None:
        """The process has ended, or cannot be heard any more."""
        if not self._over.is_set():
            self._over.set()
            self._lines.put(b"")
            if noticed:
                self.machine.free(self)

    def _put(self, line: bytes) -> None:
        if not self._over.is_set():
            self._lines.put(line)

    def _receive(self, header: Mapping[str, Any]) -> None:
        self.machine.note("push")
        files = {file["name"]: file["size"] for file in header["files"]}
        missing = [name for name in files if name.startswith(self.machine.missing or ("nothing",))]
        self.tell({"cache": "/cache", "missing": missing, "free_bytes": GIB, "python": "3.11.2", "machine": "x86_64"})
        self._left = sum(files[name] for name in missing)
        self._received(0)

    def _received(self, size: int) -> None:
        assert self._left is not None
        self._left -= size
        if self._left == 0:
            self.machine.push(self)

    def _request(self, kind: str, body: Any) -> None:
        machine = self.machine
        if kind == "Hold":
            hold = codec.from_json(Hold, body)
            machine.note(f"hold {hold.run}")
            machine.take(self, hold)
        elif kind == "Ask":
            ask = codec.from_json(Ask, body)
            machine.note(f"ask {ask.what}")
            answer = machine.asks[ask.what]
            told = answer(ask.args) if callable(answer) else answer
            if isinstance(told, BenchError):
                self.fail(told)
            else:
                self.say(Reply(told))
                self.over()
        else:
            job = codec.from_json(Job, body)
            machine.note(f"boot {job.boot}")
            machine.boots.get(job.boot, well)(self, job)


class FakeLab:
    """Several machines, by their names; `connect` is the road to each. `hosts_file`: the text of a hosts.yaml."""

    def __init__(self, *names: str) -> None:
        self.machines = {name: Machine(name) for name in names}

    def __getitem__(self, name: str) -> Machine:
        return self.machines[name]

    def connect(self, host: Host) -> Road:
        return self.machines[host.name].road(host)

    @property
    def hosts_file(self) -> str:
        return json.dumps({"hosts": [{"name": name, "address": f"{name}.lab"} for name in self.machines]})

    def at_peace(self) -> bool:
        """Whether nobody holds a machine, and every connection was closed."""
        with suppress(StopIteration):
            next(m for m in self.machines.values() if m.holder or not all(road.closed for road in m.roads))
            return False
        return True
