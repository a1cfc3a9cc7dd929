"""What a person or a program is told while a run goes on: a live table, plain lines, or JSON lines."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Container, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, Self, TextIO

from rich.console import Console

from bench.controller.collect import Collected
from bench.controller.progress_lines import JsonProgress, LineWriter, PlainProgress
from bench.controller.progress_live import LiveProgress
from bench.controller.progress_tally import Tally, clock
from bench.wire.job import Job
from bench.wire.record import Record

__all__ = ["Listener", "Progress", "clock", "progress_for"]


class Listener(Protocol):
    """Is told what happens on all hosts, by the threads of all of them. Nothing here raises because nobody looks on.

    Texts may come from a host: they are shown, never obeyed by a terminal.
    """

    def host_starts(self, host: str, jobs: Sequence[Job]) -> None:
        """jobs: those that are left on this host, which may be fewer than it was planned with."""
        ...

    def host_left(self, host: str, jobs: Sequence[Job]) -> None:
        """jobs: those that are still to be run; the others are needed no more."""
        ...

    def note(self, host: str, event: str, text: str, **facts: Any) -> None:
        """Anything besides boots. event: one word for programs, as "waiting"; text: for people; facts: its details."""
        ...

    def boot_starts(self, job: Job) -> None:
        """A first try, a further one, or again the same because the connection was lost in it."""
        ...

    def boot_goes_on(self, job: Job, seen: Collected, record: Record) -> None:
        """seen: all that came up of this boot, `record` included."""
        ...

    def boot_ended(self, job: Job, line: Mapping[str, Any]) -> None:
        """line: the boot's line in boots.jsonl."""
        ...

    def host_ends(self, host: str, state: str, reason: str = "") -> None:
        """state: "done", "lost" or "stopped"."""
        ...


class Progress(Listener, Protocol):
    """One that also shows it."""

    def __enter__(self) -> Self:
        """What is live is shown from here to the end of `with`."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def progress_for(
    jobs: Mapping[str, Sequence[Job]],
    estimate_s: Callable[[Job], float],
    parallel: int,
    *,
    stderr: TextIO,
    stdout: TextIO,
    as_json: bool,
    done: Container[str] = (),
    now: Callable[[], float] = time.monotonic,
) -> Progress:
    """JSON lines on stdout if `as_json`; else on stderr a live table if it is a terminal, and plain lines if it is not.

    jobs: all boots of each host, hosts in the order in which they are run, `parallel` at once. estimate_s: usual
    seconds of a boot. done: names of the boots (of their first try) that an earlier run has finished; `host_starts`
    says it again for its host. now: seconds of a clock that never steps back. The keys of a JSON line are those of
    bench.controller.progress_events.Event. NO_COLOR is honoured.
    """
    tally = Tally(jobs, estimate_s, parallel, now, done)
    if as_json:
        return JsonProgress(tally, LineWriter(stdout), LineWriter(stderr))
    if stderr.isatty():
        console = Console(file=stderr, markup=False, emoji=False, highlight=False)
        # A terminal that cannot move its cursor (TERM=dumb) gets lines.
        if console.is_interactive:
            one_terminal = stdout is sys.stdout and stdout.isatty()
            return LiveProgress(tally, console, redirect=stderr is sys.stderr, redirect_stdout=one_terminal)
    return PlainProgress(tally, LineWriter(stderr))
