"""A host that is held by a real process: what it gives back, and what the next one finds when it was killed."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest
from host_side import HANG_S, ROOT
from tuned_tree import CPU, NOISY, changed, put, tree, values

from bench.errors import InputError, LabError
from bench.host import lock
from bench.host.keeper import second_opinion, tune_answer
from bench.wire import codec, record
from bench.wire.job import Hold
from bench.wire.record import Held, Record, Released, Reply, Waiting

T = TypeVar("T")
KSM = "sys/kernel/mm/ksm/run"
SWAPPINESS = "proc/sys/vm/swappiness"


class Keeper:
    """The host side with a Hold; `root` is the host."""

    def __init__(self, root: Path, hold: Hold, flags: Sequence[str] = ()) -> None:
        self.log = (root / f"{hold.run}.stderr").open("wb")
        environment = {**os.environ, "BENCH_STATE": str(root / "state"), "BENCH_CACHE": str(root / "cache")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.host", "--root", str(root), *flags],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            bufsize=0,  # `next` waits by select, which sees no buffer
        )
        self.send(codec.encode("Hold", hold))

    def send(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)

    def next(self, kind: type[T]) -> T:
        """The next record, which must be of this kind."""
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], HANG_S)
        assert ready, "nothing came"
        found: Record = record.decode(self.process.stdout.readline())
        assert isinstance(found, kind), found
        return found

    def let_go(self) -> Released:
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.next(Released)

    def end(self) -> int:
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        status = self.process.wait(HANG_S)
        self.log.close()
        return status


@contextlib.contextmanager
def keeper(root: Path, run: str = "run-1", flags: Sequence[str] = (), **hold: Any) -> Iterator[Keeper]:
    """A keeper that is gone at the end of the block."""
    kept = Keeper(root, Hold(run, "ann@lab", **hold), flags)
    try:
        yield kept
    finally:
        kept.process.kill()
        kept.end()


def test_a_host_is_held_and_given_back_as_it_was(tmp_path: Path) -> None:
    before = values(tree(tmp_path))
    with keeper(tmp_path, tune=("ksm", "smt", "cpu_latency")) as kept:
        held = kept.next(Held)
        assert [(item.name, item.state) for item in held.settings] == [("smt", "set"), ("ksm", "set")]
        assert (held.taken_over, held.recovered) == ({}, ())
        assert changed(before, values(tmp_path)) == {KSM: "0", CPU + "smt/control": "off"}
        holder = lock.holder(lock.default_path(tmp_path))
        assert holder is not None
        assert (holder["run"], holder["pid"]) == ("run-1", kept.process.pid)
        released = kept.let_go()
        assert [(item.name, item.state) for item in released.settings] == [("ksm", "restored"), ("smt", "restored")]
        assert values(tmp_path) == before
        assert lock.holder(lock.default_path(tmp_path)) is None
        assert kept.end() == 0


def test_a_hold_without_settings_leaves_nothing_behind(tmp_path: Path) -> None:
    before = values(tree(tmp_path))
    with keeper(tmp_path) as kept:
        assert kept.next(Held) == Held()
        assert values(tmp_path) == before
        assert kept.let_go() == Released()
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_gives_the_host_back(tmp_path: Path, number: int) -> None:
    before = values(tree(tmp_path))
    with keeper(tmp_path, tune=("ksm", "thp")) as kept:
        kept.next(Held)
        kept.process.send_signal(number)
        assert {item.state for item in kept.next(Released).settings} == {"restored"}
        assert values(tmp_path) == before
        assert kept.process.wait(HANG_S) == 0


def test_a_controller_that_reads_no_more_does_not_keep_the_host_changed(tmp_path: Path) -> None:
    before = values(tree(tmp_path))
    with keeper(tmp_path, tune=("ksm",)) as kept:
        kept.next(Held)
        assert kept.end() == 1  # closes both pipes: Released cannot be told
        assert values(tmp_path) == before
        assert lock.holder(lock.default_path(tmp_path)) is None


def test_a_heartbeat_that_stops_gives_the_host_back(tmp_path: Path) -> None:
    before = values(tree(tmp_path))
    with keeper(tmp_path, flags=["--heartbeat", "0.5"], tune=("ksm",)) as kept:
        kept.next(Held)
        assert kept.process.stdout is not None
        start = time.monotonic()
        while time.monotonic() < start + 1.0:
            kept.send(b"\n")
            assert not select.select([kept.process.stdout], [], [], 0.1)[0], "released in spite of the heartbeat"
        assert values(tmp_path)[KSM] == "0"
        kept.next(Released)
        assert values(tmp_path) == before


def test_after_kill_9_the_next_hold_recovers_first(tmp_path: Path) -> None:
    before = values(tree(tmp_path))
    with keeper(tmp_path, "run-1", tune=("ksm", "swappiness")) as first:
        first.next(Held)
        first.process.kill()
        first.process.wait(HANG_S)
    assert changed(before, values(tmp_path)) == {KSM: "0", SWAPPINESS: "1"}
    with keeper(tmp_path, "run-2", tune=("ksm",)) as second:
        held = second.next(Held)
        assert held.taken_over["run"] == "run-1"
        assert [(item.name, item.state) for item in held.recovered] == [
            ("swappiness", "restored"),
            ("ksm", "restored"),
        ]
        assert [(item.before, item.now) for item in held.settings] == [("1", "0")]
        assert changed(before, values(tmp_path)) == {KSM: "0"}
        second.let_go()
    assert values(tmp_path) == before


def test_a_host_that_is_held_is_refused_with_its_holder(tmp_path: Path) -> None:
    with keeper(tree(tmp_path), "run-1") as first:
        first.next(Held)
        with keeper(tmp_path, "run-2") as second:
            error = second.next(Reply).error
            assert (error["kind"], second.end()) == ("LabError", 0)
            assert error["message"].startswith("held by ann@lab for run run-1 since 2")
        with keeper(tmp_path, "run-3", wait=True) as third:
            assert third.next(Waiting).holder["run"] == "run-1"
            first.let_go()
            assert third.next(Held).taken_over == {}


def test_a_controller_that_goes_while_it_waits_gets_nothing(tmp_path: Path) -> None:
    with keeper(tree(tmp_path), "run-1") as first:
        first.next(Held)
        with keeper(tmp_path, "run-2", wait=True, tune=("ksm",)) as second:
            second.next(Waiting)
            assert second.process.stdin is not None
            second.process.stdin.close()
            assert second.process.wait(HANG_S) == 0
            assert second.process.stdout is not None
            assert second.process.stdout.read() == b""
        assert values(tmp_path)[KSM] == "1"


def test_a_run_that_is_called_like_the_command_is_still_a_run(tmp_path: Path) -> None:
    before = values(tree(tmp_path))
    with keeper(tmp_path, "command", tune=("ksm",)) as first:
        first.next(Held)
        first.process.kill()
        first.process.wait(HANG_S)
    with keeper(tmp_path, "command") as second:
        assert [item.state for item in second.next(Held).recovered] == ["restored"]
        second.let_go()
    assert values(tmp_path) == before


def test_a_connection_that_was_reset_gives_the_host_back(tmp_path: Path) -> None:
    before = values(tree(tmp_path))
    ours, theirs = socket.socketpair()  # what sshd gives to a process for both stdin and stdout
    with ours, theirs, (tmp_path / "log").open("wb") as log:
        host = subprocess.Popen(
            [sys.executable, "-m", "bench.host", "--root", str(tmp_path)],
            cwd=ROOT,
            env={**os.environ, "BENCH_STATE": str(tmp_path / "state")},
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            stderr=log,
        )
        ours.sendall(codec.encode("Hold", Hold("run-1", "ann@lab", ("ksm",))))
        ours.recv(1)  # the rest of Held is never read: the end becomes a reset
        ours.close()
        assert host.wait(HANG_S) == 1
    assert values(tmp_path) == before
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_a_request_that_never_comes_is_waited_for_as_long_as_for_a_heartbeat() -> None:
    argv = [sys.executable, "-m", "bench.host", "--heartbeat", "0.3"]
    with subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as host:
        assert host.wait(HANG_S) == -signal.SIGALRM


def test_a_setting_that_is_none_is_an_error_and_the_lock_is_free_again(tmp_path: Path) -> None:
    with keeper(tree(tmp_path), tune=("turbo",)) as kept:
        assert kept.next(Reply).error["kind"] == "InputError"
        assert kept.end() == 0
    assert lock.holder(lock.default_path(tmp_path)) is None


def test_a_damaged_journal_is_told_in_the_log_and_does_not_stop_a_run(tmp_path: Path) -> None:
    put(tree(tmp_path), "state/tuned.json", "garbage")
    with keeper(tmp_path) as kept:
        kept.next(Held)
        kept.let_go()
    log = (tmp_path / "run-1.stderr").read_text()
    assert "1 of 1 lines are no entry" in log
    assert "kept as" in log


# -- the question ----------------------------------------------------------------------------------------------------


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_STATE", str(tmp_path / "state"))
    return tree(tmp_path)


def ask(root: Path, action: str, *names: str) -> dict[str, Any]:
    return tune_answer({"action": action, "names": list(names), "become": "none"}, root)


def test_the_user_applies_looks_and_restores(host: Path) -> None:
    before = values(host)
    applied = ask(host, "apply", "ksm", "swappiness")
    assert [item["state"] for item in applied["settings"]] == ["set", "set"]
    assert [entry["by"] for entry in applied["journal"]] == ["command", "command"]
    shown = ask(host, "show", "ksm")
    assert [(item["state"], item["now"]) for item in shown["settings"]] == [("found", "0")]
    assert shown["journal"] == applied["journal"]
    restored = ask(host, "restore")
    assert [item["state"] for item in restored["settings"]] == ["restored", "restored"]
    assert (restored["journal"], values(host)) == ([], before)


def test_all_settings_are_applied_but_what_must_be_named(host: Path) -> None:
    ask(host, "apply")
    assert changed({name: wanted for name, (_, wanted) in NOISY.items()}, values(host)) == {CPU + "smt/control": "on"}


def test_what_the_user_tuned_is_not_undone_by_a_run(host: Path) -> None:
    ask(host, "apply", "ksm")
    with keeper(host, tune=("ksm", "swappiness")) as kept:
        assert [(item.name, item.state) for item in kept.next(Held).settings] == [
            ("ksm", "kept"),
            ("swappiness", "set"),
        ]
        assert [item.name for item in kept.let_go().settings] == ["swappiness"]
    assert (values(host)[KSM], values(host)[SWAPPINESS]) == ("0", "60")


def test_what_a_dead_run_left_is_restored_before_the_user_tunes(host: Path) -> None:
    with keeper(host, tune=("swappiness",)) as kept:
        kept.next(Held)
    applied = ask(host, "apply", "swappiness")
    assert [(entry["before"], entry["by"]) for entry in applied["journal"]] == [("60", "command")]
    assert applied["problems"] == [f"left by a run that died: {host / SWAPPINESS}, restored"]


def test_a_host_that_is_held_is_not_tuned_but_can_be_looked_at(host: Path) -> None:
    with keeper(host) as kept:
        kept.next(Held)
        with pytest.raises(LabError, match="held by ann@lab for run run-1"):
            ask(host, "apply")
        assert ask(host, "show")["settings"]


def test_wrong_questions_are_answered_before_anything_is_done(host: Path) -> None:
    before = values(host)
    for action, name in (("apply", "turbo"), ("restore", "turbo"), ("show", "turbo"), ("mend", "ksm")):
        with pytest.raises(InputError, match="known: "):
            ask(host, action, name)
    assert values(host) == before


def test_the_second_opinion_is_lines_or_nothing(host: Path) -> None:
    assert all(isinstance(line, str) for line in second_opinion())
