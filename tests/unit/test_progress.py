"""What a person sees while a run goes on: how it is counted, how long it will take, and the lines of a log."""

from __future__ import annotations

import errno
import io
import threading
from collections.abc import Callable, Mapping, Sequence

import pytest
from boot_records import good_boot
from hypothesis import given
from hypothesis import strategies as st
from jobs import NONE, REPORTING, job

from bench.controller.collect import Collected
from bench.controller.progress import Progress, clock, progress_for
from bench.controller.progress_lines import JsonProgress, LineWriter, PlainProgress
from bench.controller.progress_live import LiveProgress
from bench.controller.progress_tally import Tally
from bench.wire.job import Job
from bench.wire.units import printable

USUAL_S = 30.0


def jobs_of(host: str, blocks: int = 2) -> list[Job]:
    return [job(arm, host=host, block=block) for block in range(1, blocks + 1) for arm in (NONE, REPORTING)]


JOBS = jobs_of("local")


class Watch:
    """A run of which the test tells the time."""

    def __init__(self, jobs: Mapping[str, Sequence[Job]], parallel: int = 1, done: Sequence[str] = ()) -> None:
        self.t = 1000.0
        self.stream = io.StringIO()
        self.tally = Tally(jobs, lambda _: USUAL_S, parallel, lambda: self.t, done)
        self.progress = PlainProgress(self.tally, LineWriter(self.stream))
        self._read = 0

    def said(self) -> str:
        """What was printed since the last time."""
        text = self.stream.getvalue()[self._read :]
        self._read += len(text)
        return text

    def boot(self, request: Job, took_s: float, status: str = "ok", reason: str = "") -> str:
        """Starts and ends a boot; answers what that printed."""
        self.said()
        self.progress.boot_starts(request)
        self.t += took_s
        self.progress.boot_ended(request, {"status": status, "reason": reason})
        return self.said()


@pytest.fixture
def one() -> Watch:
    return Watch({"local": JOBS})


@pytest.fixture
def two() -> Watch:
    return Watch({host: jobs_of(host) for host in ("lab-1", "lab-2")}, parallel=2)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.9, "0:59"), (60, "1:00"), (754, "12:34"), (4000, "66:40")]
)
def test_a_time_is_minutes_and_seconds(seconds: float, text: str) -> None:
    assert clock(seconds) == text


# One host: what a log says.


def test_a_boot_of_the_only_host_has_a_line_at_its_start_and_one_at_its_end(one: Watch) -> None:
    assert one.boot(JOBS[0], 12.34) == (
        "[1/4] block 1 cycle none starts, 2:00 left\n[1/4] block 1 cycle none: ok, 12.3 s\n"
    )


def test_boots_are_counted(one: Watch) -> None:
    for number, request in enumerate(JOBS, start=1):
        assert one.boot(request, 30).count(f"[{number}/4]") == 2


def test_a_boot_that_is_not_ok_says_why(one: Watch) -> None:
    text = one.boot(JOBS[0], 5, "invalid", "mechanism not seen")
    assert text.endswith("[1/4] block 1 cycle none: invalid (mechanism not seen), 5.0 s\n")


def test_a_second_try_is_named_and_keeps_the_number_of_its_boot(one: Watch) -> None:
    one.boot(JOBS[0], 30, "failed", "panic")
    assert one.boot(job(NONE, attempt=2), 30).count("[1/4] block 1 cycle none, try 2") == 2
    assert one.boot(JOBS[1], 30).startswith("[2/4]")


def test_a_boot_that_a_lost_connection_tore_is_begun_again_and_counted_once(one: Watch) -> None:
    one.progress.boot_starts(JOBS[0])
    one.progress.note("local", "reconnecting", "no answer; connecting again")
    one.progress.boot_starts(JOBS[0])
    one.progress.boot_ended(JOBS[0], {"status": "ok", "reason": ""})
    assert [line.split()[0] for line in one.said().splitlines()] == ["[1/4]", "local:", "[1/4]", "[1/4]"]
    assert (one.tally.done, one.tally.total) == (1, 4)


def test_boots_of_an_earlier_run_are_done_and_cost_nothing() -> None:
    resumed = Watch({"local": JOBS}, done=[JOBS[0].boot, JOBS[1].boot, "of.another.run"])
    assert resumed.tally.left_s() == 60
    assert resumed.boot(JOBS[2], 30).startswith("[3/4] block 2 cycle none starts, 1:00 left")


def test_what_is_left_can_also_be_known_only_when_its_host_starts(one: Watch) -> None:
    one.progress.host_starts("local", JOBS[2:])
    assert (one.tally.done, one.tally.left_s()) == (2, 60)


def test_only_a_host_that_was_not_done_says_so_where_it_is_alone(one: Watch) -> None:
    one.progress.host_starts("local", [])
    one.progress.host_ends("local", "done")
    assert one.said() == ""


def test_nothing_is_said_within_a_boot(one: Watch) -> None:
    one.progress.boot_goes_on(JOBS[0], Collected(JOBS[0]), good_boot(JOBS[0])[4])
    assert one.said() == ""


# Many hosts: what a log says.


def test_of_many_hosts_each_boot_has_one_line_at_its_end_that_counts_over_all(two: Watch) -> None:
    for host in ("lab-1", "lab-2"):
        two.progress.host_starts(host, jobs_of(host))
    assert two.boot(jobs_of("lab-2")[0], 30) == "[1/8] lab-2 block 1 cycle none: ok, 30.0 s, 2:00 left\n"
    assert two.boot(jobs_of("lab-1")[0], 45) == "[2/8] lab-1 block 1 cycle none: ok, 45.0 s, 2:15 left\n"


def test_a_host_says_how_it_ended_and_what_it_left(two: Watch) -> None:
    two.boot(jobs_of("lab-1")[0], 30)
    two.progress.host_ends("lab-1", "lost", "no answer for 30 s")
    two.progress.host_starts("lab-2", [])
    two.progress.host_ends("lab-2", "done")
    assert two.said() == "lab-1: lost: no answer for 30 s; 3 of 4 boots not run\nlab-2: done\n"


def test_a_note_has_a_line(two: Watch) -> None:
    two.progress.note("lab-1", "waiting", "waiting for the host; it is held by root", holder={"pid": 7})
    two.progress.note("lab-2", "tuned", "")
    assert two.said() == "lab-1: waiting for the host; it is held by root\nlab-2: tuned\n"


def test_a_text_of_a_host_does_nothing_to_the_terminal_and_fits_a_line(two: Watch) -> None:
    two.progress.note("lab-1", "waiting", "a\x1b[2Jb\nc\x07\u202e[red]d")
    assert two.said() == "lab-1: a\ufffd[2Jb c\ufffd\ufffd[red]d\n"


@given(st.text())
def test_whatever_a_text_holds_it_is_shown_in_one_printable_line_of_the_same_length(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert len(shown) == len(text)


# How long it will take.


def test_what_is_left_is_corrected_by_how_long_boots_took(one: Watch) -> None:
    assert one.tally.left_s() == 120
    one.boot(JOBS[0], 60)  # twice the estimate
    assert one.tally.left_s() == 2 * 3 * 30
    one.boot(JOBS[1], 30)
    assert one.tally.left_s() == pytest.approx(1.5 * 2 * 30)


def test_a_boot_that_failed_at_once_makes_the_others_no_quicker(one: Watch) -> None:
    one.boot(JOBS[0], 0.1, "failed", "QEMU does not start")
    assert one.tally.left_s() == 3 * 30


def test_nothing_is_left_at_the_end(one: Watch) -> None:
    for request in JOBS:
        one.boot(request, 17)
    assert one.tally.left_s() == 0


def test_time_that_a_boot_runs_is_not_left_any_more(one: Watch) -> None:
    one.progress.boot_starts(JOBS[0])
    one.t += 10
    assert one.tally.left_s() == 110


def test_a_boot_that_takes_longer_than_expected_takes_nothing_from_the_others(one: Watch) -> None:
    one.progress.boot_starts(JOBS[0])
    one.t += 1000
    assert one.tally.left_s() == 90


def test_hosts_that_run_one_after_another_add_up() -> None:
    assert Watch({host: jobs_of(host) for host in "abc"}, parallel=1).tally.left_s() == 3 * 120


def test_hosts_that_run_at_once_take_as_long_as_the_slowest() -> None:
    assert Watch({"a": jobs_of("a", 1), "b": jobs_of("b", 3)}, parallel=2).tally.left_s() == 180


def test_a_host_that_waits_takes_the_place_that_is_free_first() -> None:
    sizes = {"a": 3, "b": 1, "c": 1, "d": 1}
    watch = Watch({host: jobs_of(host, blocks) for host, blocks in sizes.items()}, parallel=2)
    assert watch.tally.left_s() == 180  # a beside b, c, d, a minute each


def test_a_host_of_which_nothing_is_known_is_taken_to_be_as_slow_as_the_others(two: Watch) -> None:
    two.boot(jobs_of("lab-1")[0], 60)
    assert two.tally.host_left_s("lab-2") == 2 * 120


@pytest.mark.parametrize("state", ["lost", "stopped"])
def test_a_host_that_ended_early_takes_no_more_time(two: Watch, state: str) -> None:
    two.progress.host_ends("lab-1", state, "no answer")
    two.progress.host_ends("lab-2", state, "no answer")
    assert two.tally.left_s() == 0


# Who shows it.


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown_by(stderr: io.StringIO, *, as_json: bool = False) -> Progress:
    jobs = {"local": JOBS}
    return progress_for(jobs, lambda _: USUAL_S, 1, stderr=stderr, stdout=io.StringIO(), as_json=as_json)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    for name in ("TTY_COMPATIBLE", "TTY_INTERACTIVE", "FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    return Terminal()


def test_a_terminal_gets_a_table(terminal: Terminal) -> None:
    assert isinstance(shown_by(terminal), LiveProgress)


def test_a_log_gets_lines_even_where_colours_are_forced(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert isinstance(shown_by(io.StringIO()), PlainProgress)


def test_a_terminal_that_cannot_move_its_cursor_gets_lines(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(shown_by(terminal), PlainProgress)


def test_json_is_for_programs_on_a_terminal_too(terminal: Terminal) -> None:
    assert isinstance(shown_by(terminal, as_json=True), JsonProgress)


@pytest.mark.parametrize(("no_color", "red"), [("", True), ("1", False)])
def test_no_color_is_honoured(terminal: Terminal, monkeypatch: pytest.MonkeyPatch, no_color: str, red: bool) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    with shown_by(terminal) as progress:
        progress.host_ends("local", "lost", "no answer")
    assert ("\x1b[31m" in terminal.getvalue()) is red


# Many threads.


class Slow(io.StringIO):
    """A stream that lets the other threads run within a line."""

    def write(self, text: str) -> int:
        half = len(text) // 2
        super().write(text[:half])
        threading.Event().wait(0.0001)
        return super().write(text[half:])


def run_at_once(progress: Progress, hosts: Mapping[str, Sequence[Job]], within: Callable[[Job], None]) -> None:
    """Each host in a thread of its own, from its start to its end."""

    def run(host: str) -> None:
        progress.host_starts(host, hosts[host])
        for request in hosts[host]:
            progress.boot_starts(request)
            within(request)
            progress.boot_ended(request, {"status": "ok", "reason": ""})
        progress.host_ends(host, "done")

    threads = [threading.Thread(target=run, args=(host,)) for host in hosts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_many_hosts_at_once_write_whole_lines_and_lose_no_count() -> None:
    hosts = {f"lab-{number}": jobs_of(f"lab-{number}", 5) for number in range(40)}
    tally = Tally(hosts, lambda _: USUAL_S, 40, lambda: 0.0)
    stream = Slow()
    run_at_once(PlainProgress(tally, LineWriter(stream)), hosts, lambda _: None)
    lines = stream.getvalue().splitlines()
    boots = [line for line in lines if line.startswith("[")]
    assert [line.split("]")[0] for line in boots] == [f"[{number}/400" for number in range(1, 401)]
    assert sorted(line for line in lines if not line.startswith("[")) == sorted(f"{host}: done" for host in hosts)
    assert (tally.done, tally.left_s()) == (400, 0)


class Broken(io.StringIO):
    """A pipe whose reader has left."""

    tries = 0

    def write(self, _text: str) -> int:
        self.tries += 1
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")


def test_a_run_goes_on_when_its_onlooker_has_left() -> None:
    tally = Tally({"local": JOBS}, lambda _: USUAL_S, 1, lambda: 0.0)
    stream = Broken()
    run_at_once(PlainProgress(tally, LineWriter(stream)), {"local": JOBS}, lambda _: None)
    assert (tally.done, stream.tries) == (4, 1)
