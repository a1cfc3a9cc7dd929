"""The hosts that a command works on, all at once: chosen, connected, stopped together."""

from __future__ import annotations

import getpass
import socket
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from bench.commands.saying import say
from bench.controller.fanout import each
from bench.controller.fleet import transport_for
from bench.controller.inventory import Host, load_inventory
from bench.controller.lab import Cargo, Connect, Lab, open_lab
from bench.controller.stopping import Stopping
from bench.errors import BenchError, InputError, LabError, MissingError

T = TypeVar("T")
# Hosts at work at once where no plan says how many.
PARALLEL = 32


class Stoppable(Protocol):
    """Something that is at work on a host, and can be told to end it soon, or at once."""

    def stop(self, *, now: bool = False) -> None: ...


def choose(names: Sequence[str], tags: Sequence[str], hosts_file: Path | None) -> tuple[Host, ...]:
    """The hosts of hosts.yaml that the options name; raises InputError."""
    return load_inventory(hosts_file).select(names, tags)


def check_twins(hosts: Sequence[Host], parallel: int, *, wait: bool) -> None:
    """Raises InputError where two of the hosts are one machine, and would be measured at once."""
    first: dict[tuple[object, ...], Host] = {}
    for host in hosts:
        twin = first.setdefault((host.address, host.port, host.gateway), host)
        if twin is not host and parallel > 1 and not wait:
            raise InputError(
                f"--host: {twin.name} and {host.name} are one machine ({host.address}), which can be measured once at "
                "a time; choose one of them, or say --parallel 1 or --wait"
            )


class Labs:
    """Opens hosts, and ends everything that is going on there when the user interrupts."""

    def __init__(self, hosts: Sequence[Host], parallel: int = PARALLEL, connect: Connect = transport_for) -> None:
        self.hosts = tuple(hosts)
        self.parallel = parallel
        self._connect = connect
        self._changing = threading.Lock()
        # Weak: a connection that was closed leaves it by itself.
        self._at_work: weakref.WeakSet[Stoppable] = weakref.WeakSet()
        self._stopped = False

    def open(self, host: Host, cargo: Cargo) -> Lab:
        """The host, connected and with its files in place. Raises LabError; Interrupted after a stop."""
        stopping = Stopping()
        self.watch(stopping)
        return open_lab(host, cargo, self._connect, lambda text: say(f"{host.name}: {text}"), stopping)

    def watch(self, work: Stoppable) -> None:
        """Has it stopped with all others."""
        with self._changing:
            self._at_work.add(work)
            stopped = self._stopped
        if stopped:
            work.stop()

    def stop(self, *, now: bool = False) -> None:
        """Has all of it end in order; now: at once."""
        with self._changing:
            self._stopped = True
            at_work = list(self._at_work)
        for work in at_work:
            # Each by itself: a connection that is dead takes long to close, and others must not wait for it.
            threading.Thread(target=work.stop, kwargs={"now": now}, daemon=True).start()

    def each(self, work: Callable[[Host], T], hosts: Sequence[Host] | None = None) -> dict[str, T | BenchError]:
        """`work` on every host at once, within the limit; by name, what it answered or the BenchError it raised."""
        chosen = self.hosts if hosts is None else hosts
        return each({host.name: _bound(work, host) for host in chosen}, self.parallel, self._ending, self._leaving)

    def _ending(self) -> None:
        self.stop()
        say("ending what runs on the hosts; Ctrl-C again leaves without waiting")

    def _leaving(self) -> None:
        self.stop(now=True)


def _bound(work: Callable[[Host], T], host: Host) -> Callable[[], T]:
    return lambda: work(host)


def raise_wrong_use(answers: Sequence[object]) -> None:
    """Raises one InputError of all that are among the answers: nothing was begun yet, and files can be mended."""
    wrong = [answer for answer in answers if isinstance(answer, InputError)]
    if wrong:
        raise InputError("\n".join(dict.fromkeys(str(error) for error in wrong)))


def parted(answers: Mapping[str, T | BenchError]) -> tuple[dict[str, T], dict[str, BenchError]]:
    """What the hosts answered, and why the others did not."""
    good = {name: answer for name, answer in answers.items() if not isinstance(answer, BenchError)}
    return good, {name: answer for name, answer in answers.items() if isinstance(answer, BenchError)}


def all_failed(failed: Sequence[tuple[str, BenchError]], of: int) -> BenchError:
    """What to raise when some of so many hosts failed: the error of the only one, or a list of all."""
    if len(failed) == 1:
        return failed[0][1]
    if all(isinstance(error, MissingError) for _, error in failed):
        return MissingError("\n".join(str(error) for _, error in failed))
    lines = [line for _, error in failed for line in str(error).splitlines()]
    what = "no host can be used" if len(failed) == of else f"{len(failed)} of {of} hosts failed"
    return LabError(", ".join(name for name, _ in failed), what, evidence=lines)


def owner() -> str:
    """Who is told to others that wait for a host."""
    return f"{getpass.getuser()}@{socket.gethostname()}"
