"""What a person sees on a terminal while a run goes on: the screen as it stands, after every cursor movement."""

from __future__ import annotations

import errno
import io
import re
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from boot_records import good_boot
from hypothesis import given
from hypothesis import strategies as st
from jobs import NONE, REPORTING, cycle, job
from rich.console import Console

from bench.controller.collect import Collected
from bench.controller.progress_live import LiveProgress, Row, phase_of, table_lines, visible
from bench.controller.progress_tally import HostTally, Tally
from bench.wire.job import Job, Quiet
from bench.wire.record import PhaseDone, Quieted, Ready, Samples
from bench.wire.units import MIB

_STEP = re.compile(r"\x1b\[\??(\d*)(?:;\d+)*([A-Za-z])|(\r)|(\n)|([^\x1b\r\n]+)")


class Terminal(io.StringIO):
    """A terminal of endless height, as far as the table moves its cursor. A line that is too long is an error."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self._width = width

    def isatty(self) -> bool:
        return True

    @property
    def screen(self) -> list[str]:
        lines, row, column = [""], 0, 0
        for number, command, back, down, text in _STEP.findall(self.getvalue()):
            if down:
                row, column = row + 1, 0
                lines += [""] * (row + 1 - len(lines))
            elif back:
                column = 0
            elif text:
                lines[row] = lines[row].ljust(column)[:column] + text + lines[row][column + len(text) :]
                column += len(text)
                assert column <= self._width, f"longer than the terminal is wide: {lines[row]!r}"
            elif command == "A":
                row -= int(number or 1)
                assert row >= 0
            elif command == "K":
                lines[row] = ""
        return [line.rstrip() for line in lines]


class Watch:
    """A run of which the test tells the time, on a terminal of the test's size."""

    def __init__(
        self,
        hosts: Mapping[str, Sequence[Job]],
        size: tuple[int, int] = (100, 24),
        parallel: int = 2,
        redirect: bool = False,
    ) -> None:
        self.t = 1000.0
        self.hosts = hosts
        self.terminal = Terminal(size[0])
        self.console = Console(
            file=self.terminal, width=size[0], height=size[1], force_interactive=True, color_system="standard"
        )
        tally = Tally(hosts, lambda _: 30.0, parallel, lambda: self.t)
        self.progress = LiveProgress(tally, self.console, redirect=redirect)

    def boot(self, host: str, number: int, took_s: float, status: str = "ok", reason: str = "") -> None:
        request = self.hosts[host][number]
        self.progress.boot_starts(request)
        self.t += took_s
        self.progress.boot_ended(request, {"status": status, "reason": reason})

    def drawn(self) -> list[str]:
        self.progress.draw()
        return self.terminal.screen


def jobs_of(host: str) -> list[Job]:
    phases = cycle(64 * MIB)
    return [job(arm, host=host, block=block, phases=phases) for block in (1, 2) for arm in (NONE, REPORTING)]


def lab(number: int) -> dict[str, list[Job]]:
    return {f"lab-{index}": jobs_of(f"lab-{index}") for index in range(1, number + 1)}


def seen_of(request: Job, phases: int = 1) -> Collected:
    """A boot that is through its first phases and holds 385 MiB."""
    seen = Collected(request)
    seen.add(Ready(2.9, {}))
    seen.add(Samples([(0.1, "ram", "resident_bytes", 385.0 * MIB), (0.1, "qemu", "cpu_main_s", 1.0)]))
    for phase in request.phases[:phases]:
        seen.add(PhaseDone(phase.name, phase.kind, 0, False, 3.0, 4.0))
    return seen


SAMPLES = Samples([])


def test_each_host_has_a_line_and_the_run_one_below_them() -> None:
    watch = Watch(lab(4))
    with watch.progress as progress:
        for host in ("lab-1", "lab-2", "lab-3"):
            progress.host_starts(host, watch.hosts[host])
        for number in range(4):
            watch.boot("lab-2", number, 30)
        progress.host_ends("lab-2", "done")
        progress.host_ends("lab-3", "lost", "no answer for 30 s")
        request = watch.hosts["lab-1"][1]
        progress.boot_starts(request)
        progress.boot_goes_on(request, seen_of(request), SAMPLES)
        watch.t += 10
        screen = watch.drawn()
    assert screen == [
        "lab-3: lost: no answer for 30 s; 4 of 4 boots not run",
        "host   state    boots  left  arm        block   memory  phase",
        "lab-1  running    0/4  1:50  reporting    1/2  385 MiB  cycle touch 2/6",
        "lab-2  done       4/4",
        "lab-3  lost       0/4        no answer for 30 s",
        "lab-4  waiting    0/4  2:00",
        "4 of 16 boots done, 4 not run, 2:00 left; hosts: 1 running, 1 lost, 1 waiting, 1 done",
    ]


def test_a_run_of_one_host_keeps_a_line_for_each_boot_above() -> None:
    watch = Watch(lab(1))
    with watch.progress as progress:
        progress.host_starts("lab-1", watch.hosts["lab-1"])
        watch.boot("lab-1", 0, 23.4)
        watch.boot("lab-1", 1, 2, "failed", "panic")
    assert watch.terminal.screen == [
        "[1/4] block 1 cycle none: ok, 23.4 s",
        "[2/4] block 1 cycle reporting: failed (panic), 2.0 s",
        "host   state    boots  left  arm  block  memory  phase",
        "lab-1  running    2/4  0:46",
        "2 of 4 boots done, 1 failed, 0:46 left",
        "",
    ]


def test_of_many_hosts_only_boots_that_are_not_ok_and_notes_are_kept_above() -> None:
    watch = Watch(lab(2))
    with watch.progress as progress:
        progress.host_starts("lab-1", watch.hosts["lab-1"])
        watch.boot("lab-1", 0, 30)
        watch.boot("lab-1", 1, 30, "invalid", "mechanism not seen")
        progress.note("lab-1", "reconnecting", "no answer; connecting again")
        screen = watch.drawn()
    assert screen[:2] == [
        "[2/8] lab-1 block 1 cycle reporting: invalid (mechanism not seen), 30.0 s, 2:00 left",
        "lab-1: no answer; connecting again",
    ]
    assert screen[3] == "lab-1  running    2/4  1:00  no answer; connecting again"


def test_a_note_gives_way_to_the_boot_that_comes_after_it() -> None:
    watch = Watch(lab(2))
    with watch.progress as progress:
        progress.host_starts("lab-1", watch.hosts["lab-1"])
        progress.note("lab-1", "waiting", "held by root")
        progress.boot_starts(watch.hosts["lab-1"][0])
        assert watch.drawn()[2].endswith("none    1/2          cycle boot")


def test_a_boot_that_is_tried_again_is_not_counted_as_failed_meanwhile() -> None:
    watch = Watch(lab(1))
    with watch.progress as progress:
        watch.boot("lab-1", 0, 5, "failed", "panic")
        assert "1 of 4 boots done, 1 failed" in watch.drawn()[-1]
        progress.boot_starts(replace(watch.hosts["lab-1"][0], attempt=2))
        assert "0 of 4 boots done, 2:00 left" in watch.drawn()[-1]


def test_the_table_is_drawn_in_place() -> None:
    watch = Watch(lab(3))
    with watch.progress:
        first = watch.drawn()
        for _ in range(5):
            assert watch.drawn() == first


def test_the_table_is_drawn_without_being_asked() -> None:
    watch = Watch(lab(1))
    wrote = threading.Event()
    write = watch.terminal.write

    def noticed(text: str) -> int:
        if "boots done" in text:
            wrote.set()
        return write(text)

    watch.terminal.write = noticed  # type: ignore[method-assign]
    with watch.progress:
        assert wrote.wait(10)


def test_the_last_state_stays_on_the_screen_and_the_cursor_comes_back() -> None:
    watch = Watch(lab(1))
    with watch.progress as progress:
        progress.host_ends("lab-1", "done")
    assert watch.terminal.screen[-2].startswith("0 of 4 boots done")
    assert watch.terminal.getvalue().rindex("\x1b[?25h") > watch.terminal.getvalue().rindex("boots done")


def test_what_others_print_on_stderr_goes_above_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(lab(2), redirect=True)
    monkeypatch.setattr(sys, "stderr", watch.terminal)
    with watch.progress:
        watch.drawn()
        print("bench: [bold]a warning", file=sys.stderr)
        screen = watch.drawn()
    assert (screen[0], screen[1].split()[0], len(screen)) == ("bench: [bold]a warning", "host", 5)
    assert sys.stderr is watch.terminal


def test_a_reason_is_cut_to_the_width_and_kept_whole_above() -> None:
    watch = Watch(lab(2), size=(50, 24))
    reason = "ssh: connect to host 192.0.2.7 port 22: Connection timed out"
    with watch.progress as progress:
        progress.host_ends("lab-1", "lost", reason)
        screen = watch.drawn()
    above = screen.index("host   state    boots  left  arm  block  memory  …")
    assert reason in " ".join(screen[:above])
    assert screen[above + 1] == "lab-1  lost       0/4        ssh: connect to host…"


def test_a_text_of_a_host_is_never_obeyed() -> None:
    watch = Watch(lab(2))
    with watch.progress as progress:
        progress.host_ends("lab-1", "lost", "[red]a[/red]\x1b[2J\nb")
        screen = watch.drawn()
    assert screen[0] == "lab-1: lost: [red]a[/red]\ufffd[2J b; 4 of 4 boots not run"
    assert screen[2].endswith("[red]a[/red]\ufffd[2J b")


def test_lost_hosts_are_red() -> None:
    watch = Watch(lab(2))
    with watch.progress as progress:
        progress.host_ends("lab-1", "lost", "no answer")
    assert re.search(r"\x1b\[31mlab-1  lost", watch.terminal.getvalue())


# More hosts than lines.


def test_hosts_that_find_no_line_are_counted() -> None:
    watch = Watch(lab(40), size=(100, 10))
    with watch.progress as progress:
        for number in range(1, 31):
            progress.host_ends(f"lab-{number}", "done")
        progress.host_starts("lab-35", watch.hosts["lab-35"])
        progress.host_ends("lab-40", "lost", "no answer")
        screen = watch.drawn()[1:]
    assert [line.split()[:2] for line in screen[1:7]] == [
        ["lab-31", "waiting"],
        ["lab-32", "waiting"],
        ["lab-33", "waiting"],
        ["lab-34", "waiting"],
        ["lab-35", "running"],
        ["lab-40", "lost"],
    ]
    assert screen[7:] == [
        "and 34 more: 4 waiting, 30 done",
        "0 of 160 boots done, 124 not run, 10:00 left; hosts: 1 running, 1 lost, 8 waiting, 30 done",
    ]


STATES = st.sampled_from(["waiting", "running", "done", "lost", "stopped"])


@given(st.lists(STATES, min_size=1), st.integers(5, 60))
def test_the_lines_are_never_more_than_the_terminal_has_and_what_matters_is_among_them(
    states: list[str], height: int
) -> None:
    hosts = [HostTally(f"lab-{number}", 4, 2, state) for number, state in enumerate(states)]
    shown = visible(hosts, height)
    hidden = [host.state for host in hosts if host not in shown]
    head, summary, one_free = 1, 1, 1
    assert len(shown) + head + summary + one_free + bool(hidden) <= height
    assert shown == [host for host in hosts if host in shown], "in their order"
    if "running" in hidden or "lost" in hidden:
        assert {host.state for host in shown} <= {"running", "lost"}
    if "lost" in states and "running" in states and height > 5:
        assert {"running", "lost"} <= {host.state for host in shown}


@given(st.lists(st.tuples(st.text("ab-1", min_size=1, max_size=30), st.booleans()), min_size=1, max_size=20))
def test_columns_stand_below_each_other(hosts: list[tuple[str, bool]]) -> None:
    cells = ("running", "1/4", "1:00")
    rest = ("none", "1/2", "5 MiB", "boot")
    rows = [Row("", (name, *cells, *rest) if whole else (name, *cells, "held")) for name, whole in hosts]
    head, *lines = [line.plain for line in table_lines(rows)]
    assert {line.index("running") for line in lines} == {head.index("state")}
    assert {line.index("boot") for line, (_, whole) in zip(lines, hosts, strict=True) if whole} <= {head.index("phase")}
    assert {line.index("held") for line in lines if "held" in line} <= {head.index("arm")}


def test_a_long_name_is_cut() -> None:
    host = "lab-1.with.a.very.long.name.example.org"
    watch = Watch({host: jobs_of(host)})
    with watch.progress:
        assert watch.drawn()[1].startswith("lab-1.with.a.very.long.…  waiting")


# What a boot does now.


@pytest.mark.parametrize(("phases", "text"), [(0, "map 1/6"), (1, "touch 2/6"), (5, "settle 6/6"), (6, "shutdown")])
def test_the_phase_is_the_one_after_the_last_that_ended(phases: int, text: str) -> None:
    request = jobs_of("lab-1")[0]
    assert phase_of(request, seen_of(request, phases)) == text


def test_before_the_guest_is_ready_it_boots_and_before_that_the_host_gets_quiet() -> None:
    request = replace(jobs_of("lab-1")[0], quiet=Quiet(busy_share=0.1), attempt=2)
    seen = Collected(request)
    assert phase_of(request, None) == phase_of(request, seen) == "waiting for quiet, try 2"
    seen.add(Quieted(3.0, {}))
    assert phase_of(request, seen) == "boot, try 2"


# Many threads.


def test_many_hosts_at_once_leave_a_whole_table_and_right_counts() -> None:
    watch = Watch(lab(60), size=(110, 70), parallel=60)

    def run(host: str) -> None:
        watch.progress.host_starts(host, watch.hosts[host])
        for number, request in enumerate(watch.hosts[host]):
            watch.progress.boot_starts(request)
            seen = Collected(request)
            for record in good_boot(request) * 5:
                seen.add(record)
                watch.progress.boot_goes_on(request, seen, record)
            status = "failed" if number == 3 else "ok"
            watch.progress.boot_ended(request, {"status": status, "reason": "panic" if number == 3 else ""})
        watch.progress.host_ends(host, "done")

    threads = [threading.Thread(target=run, args=(host,)) for host in watch.hosts]
    with watch.progress:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    screen = watch.terminal.screen
    kept = [line for line in screen if "failed (panic)" in line]
    assert len(kept) == 60
    assert screen[60].split() == ["host", "state", "boots", "left", "arm", "block", "memory", "phase"]
    assert [line.split() for line in screen[61:121]] == [[f"lab-{number}", "done", "4/4"] for number in range(1, 61)]
    assert screen[121:] == ["240 of 240 boots done, 60 failed, 0:00 left; hosts: 60 done", ""]


class Closing(Terminal):
    """A terminal that is closed at some moment."""

    closed_now = False

    def write(self, text: str) -> int:
        if self.closed_now:
            raise OSError(errno.EIO, "Input/output error")
        return super().write(text)


def test_a_run_goes_on_when_its_terminal_is_gone() -> None:
    watch = Watch(lab(1))
    terminal = watch.console.file = Closing(100)
    with watch.progress as progress:
        progress.draw()
        terminal.closed_now = True
        watch.boot("lab-1", 0, 30)
        with pytest.raises(OSError, match="Input/output"):
            progress.draw()
        progress.host_ends("lab-1", "stopped")
