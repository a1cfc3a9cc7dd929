"""Progress on a terminal: a table with a line a host, drawn four times a second; what is to be kept scrolls above."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from bench.controller.collect import Collected
from bench.controller.progress_events import Event, Telling, in_words
from bench.controller.progress_lines import is_problem
from bench.controller.progress_tally import HostTally, clock
from bench.wire.job import Job, Quiet
from bench.wire.record import Record
from bench.wire.units import printable, show_bytes

REFRESH_S = 0.25
_STYLES = {"running": "", "lost": "red", "stopped": "yellow", "waiting": "dim", "done": "dim"}
_HEAD = ("host", "state", "boots", "left", "arm", "block", "memory", "phase")
_TO_THE_RIGHT = ("boots", "left", "block", "memory")
_NAME_WIDTH = 24


@dataclass(frozen=True)
class Row:
    """A line of the table. cells: all of _HEAD; or the first four and a text that takes the rest of the line."""

    style: str
    cells: tuple[str, ...]


@dataclass
class LiveProgress(Telling):
    """The table is there between `with` and its end, and stays on the screen as it was last.

    redirect: what others print on sys.stderr meanwhile goes above the table; redirect_stdout: on sys.stdout too, which
    is only right where both are one terminal. Of a record only what it belongs to is stored: no work until it is drawn.
    """

    console: Console
    redirect: bool = False
    redirect_stdout: bool = False
    _now: dict[str, Collected | str] = field(default_factory=dict, init=False)
    _above: list[str] = field(default_factory=list, init=False)
    _ended: threading.Event = field(default_factory=threading.Event, init=False)

    def __post_init__(self) -> None:
        self._live = Live(
            console=self.console,
            auto_refresh=False,
            redirect_stderr=self.redirect,
            redirect_stdout=self.redirect_stdout,
        )
        self._drawer = threading.Thread(target=self._draw_on, name="progress", daemon=True)

    def __enter__(self) -> Self:
        self._live.start()
        self._drawer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._drawer.join()
        # A terminal that is gone is no reason to lose what the run has measured.
        with suppress(OSError):
            self.draw()
        with suppress(OSError):
            self._live.stop()

    def boot_goes_on(self, job: Job, seen: Collected, record: Record) -> None:  # noqa: ARG002 - as declared
        self._now[job.host] = seen

    def draw(self) -> None:
        """Prints what has come since the last time, and the table anew."""
        size = self.console.size
        with self._lock:
            above, self._above = self._above, []
            table = self._table(size.height)
        self._live.update(table)
        if above:
            self.console.print(Text("\n".join(above)))
        self._live.refresh()

    def _draw_on(self) -> None:
        with suppress(OSError):
            while not self._ended.wait(REFRESH_S):
                self.draw()

    def _show(self, event: Event) -> None:
        alone = len(self._tally.hosts) == 1
        if event.event == "note":
            self._now[event.host] = event.text or event.kind or ""
        elif event.event != "host-start":
            self._now.pop(event.host, None)
        if event.event == "note" or is_problem(event) or (alone and event.event == "boot-end"):
            self._above.append(in_words(event, alone=alone))

    def _table(self, height: int) -> Text:
        hosts = list(self._tally.hosts.values())
        shown = visible(hosts, height)
        lines = table_lines([self._row(host) for host in shown])
        names = {host.name for host in shown}
        hidden = [host for host in hosts if host.name not in names]
        if hidden:
            lines.append(Text(f"and {len(hidden)} more: {by_state(hidden)}"))
        lines.append(Text(self._summary(hosts)))
        return Text("\n", no_wrap=True, overflow="ellipsis").join(lines)

    def _summary(self, hosts: Sequence[HostTally]) -> str:
        tally = self._tally
        poor = Counter(status for host in hosts for status in host.poor.values())
        not_run = sum(host.not_run for host in hosts)
        parts = [f"{tally.done} of {tally.total} boots done"]
        parts += [f"{number} {status}" for status, number in sorted(poor.items())]
        parts += [f"{not_run} not run"] if not_run else []
        parts.append(f"{clock(tally.left_s())} left")
        return ", ".join(parts) + (f"; hosts: {by_state(hosts)}" if len(hosts) > 1 else "")

    def _row(self, host: HostTally) -> Row:
        """A host that has ended tells why; one that runs what it does, or what was last noted about it."""
        left = clock(self._tally.host_left_s(host.name)) if host.state in ("running", "waiting") else ""
        name = host.name if len(host.name) <= _NAME_WIDTH else host.name[: _NAME_WIDTH - 1] + "…"
        first = (name, host.state, f"{host.done}/{host.total}", left)
        now, job = self._now.get(host.name), host.job
        if host.state != "running" or job is None or isinstance(now, str):
            text = now if isinstance(now, str) else host.reason
            return Row(_STYLES[host.state], (*map(printable, first), printable(text)))
        resident = now.resident_bytes if now is not None else None
        memory = show_bytes(resident) if resident is not None else ""
        second = (job.arm.name, f"{job.block}/{host.blocks}", memory, f"{job.cell} {phase_of(job, now)}")
        return Row(_STYLES[host.state], (*map(printable, first), *map(printable, second)))


def phase_of(job: Job, seen: Collected | None) -> str:
    """What the boot does now: "touch 2/6" is the second of six phases. A phase is only told of when it has ended."""
    again = f", try {job.attempt}" if job.attempt > 1 else ""
    if seen is None or seen.ready is None:
        quiet = job.quiet == Quiet() or (seen is not None and seen.quieted is not None)
        return f"boot{again}" if quiet else f"waiting for quiet{again}"
    number = seen.done_phases
    if number >= len(job.phases):
        return f"shutdown{again}"
    return f"{job.phases[number].name} {number + 1}/{len(job.phases)}{again}"


def visible(hosts: Sequence[HostTally], height: int) -> list[HostTally]:
    """The hosts that have a line on a terminal of so many lines, in their order.

    Head and summary take two lines, and one stays free for what is printed above. Where they are too many, one more
    tells of the others. Lost hosts come first, but fill no more than half as long as others run; then those that run.
    """
    if len(hosts) <= height - 3:
        return list(hosts)
    room = max(1, height - 4)
    states: dict[str, list[HostTally]] = {state: [] for state in _STYLES}
    for host in hosts:
        states[host.state].append(host)
    half = (room + 1) // 2
    lost = states["lost"]
    first = [*lost[:half], *states["running"], *lost[half:], *states["stopped"], *states["waiting"], *states["done"]]
    chosen = {host.name for host in first[:room]}
    return [host for host in hosts if host.name in chosen]


def by_state(hosts: Sequence[HostTally]) -> str:
    """ "3 running, 1 lost": how many hosts are in which state."""
    numbers = Counter(host.state for host in hosts)
    return ", ".join(f"{numbers[state]} {state}" for state in _STYLES if numbers[state])


def table_lines(rows: Sequence[Row]) -> list[Text]:
    """The head and a line for each row, in columns as wide as their widest cell."""
    full: list[tuple[str, ...]] = [_HEAD, *(row.cells for row in rows if len(row.cells) == len(_HEAD))]
    widths = [max(len(cells[column]) for cells in full) for column in range(len(_HEAD))]
    for row in rows:
        widths[:4] = [max(pair) for pair in zip(widths[:4], map(len, row.cells[:4]), strict=True)]
    return [_line(_HEAD, widths, "bold"), *(_line(row.cells, widths, row.style) for row in rows)]


def _line(cells: Sequence[str], widths: Sequence[int], style: str) -> Text:
    *columns, last = cells
    padded = [
        cell.rjust(width) if head in _TO_THE_RIGHT else cell.ljust(width)
        for cell, width, head in zip(columns, widths, _HEAD, strict=False)
    ]
    return Text("  ".join([*padded, last]).rstrip(), style=style)
