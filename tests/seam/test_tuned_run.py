"""Every setting of a host as files, tuned by the bundle that hosts get, which is killed by kill -9: all come back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from host_side import HANG_S
from tuned_tree import NOISY, changed, journal, tree, values

from bench.controller.bundle import build_bundle
from bench.host import lock
from bench.host.knobs import KNOBS
from bench.wire import codec, record
from bench.wire.job import Ask, Hold
from bench.wire.record import Held, Released, Reply
from bench.wire.setting import NAMES

EVERYTHING = tuple(name for name in NAMES if name != "cpu_latency")
QUIET = {name: wanted for name, (_, wanted) in NOISY.items()}
# Runs the bundle, and kills it by kill -9 just before the n-th file under the host's folder that it opens to write,
# replaces or removes: the interpreter tells of each.
KILLED = """
import os, runpy, signal, sys
fatal, root, sys.argv = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
seen = 0
def count(event, args):
    global seen
    writes = event == "open" and isinstance(args[2], int) and args[2] & 3
    if (writes or event in ("os.rename", "os.remove")) and str(args[0]).startswith(root):
        seen += 1
        if seen == fatal:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(count)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class Host:
    """A synthetic host with the bundle on it."""

    def __init__(self, folder: Path) -> None:
        self.root = tree(folder / "host")
        self.before = values(self.root)
        cache = folder / "cache"
        cache.mkdir(exist_ok=True)
        self.bundle = str(build_bundle(cache))

    def now(self) -> dict[str, str]:
        found: dict[str, str] = values(self.root)
        return found

    @contextmanager
    def running(self, kind: str, request: Ask | Hold, fatal: int = 0) -> Iterator[subprocess.Popen[bytes]]:
        """The host side at work; fatal: the deed that it is killed before."""
        through = ["-c", KILLED, str(fatal), str(self.root)] if fatal else []
        with (
            (self.root / "stderr").open("wb") as log,
            subprocess.Popen(
                [sys.executable, *through, self.bundle, "--root", str(self.root)],
                env={**os.environ, "BENCH_STATE": str(self.root / "state"), "PYTHONPATH": ""},
                cwd="/",
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            ) as process,
        ):
            try:
                assert process.stdin
                process.stdin.write(codec.encode(kind, request))
                process.stdin.flush()
                yield process
            finally:
                process.kill()

    def tune(self, action: str, fatal: int = 0, names: tuple[str, ...] = EVERYTHING) -> dict[str, Any] | None:
        """The answer of `bench tune ACTION`; None when it was killed."""
        request = Ask("tune", {"action": action, "names": list(names), "become": "none"})
        with self.running("Ask", request, fatal) as process:
            assert process.stdout
            line = process.stdout.readline()
            status = process.wait(HANG_S)
        if status == -signal.SIGKILL:
            return None
        reply = record.decode(line)
        assert isinstance(reply, Reply), (self.root / "stderr").read_text()
        assert (reply.error, status) == ({}, 0)
        return reply.data

    def assert_restored(self, why: object = "") -> None:
        answer = self.tune("restore", names=())
        assert answer is not None
        assert {item["state"] for item in answer["settings"]} <= {"restored"}, why
        assert answer["journal"] == []
        assert self.now() == self.before, why
        assert lock.holder(lock.default_path(self.root)) is None


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_the_synthetic_host_has_a_file_of_every_setting(host: Host) -> None:
    shown = host.tune("show")
    assert shown is not None
    assert {item["name"] for item in shown["settings"] if item["file"]} == set(EVERYTHING)
    assert {knob.name for knob in KNOBS} == set(EVERYTHING)
    assert host.now() == host.before


def test_all_are_applied_and_what_was_read_is_restored_by_another_process(host: Host) -> None:
    applied = host.tune("apply")
    assert applied is not None
    assert {item["state"] for item in applied["settings"]} == {"set"}
    assert changed(host.before, host.now()) == QUIET
    host.assert_restored()


def killed(host: Host, hold: Hold, fatal: int) -> bool:
    """Holds and lets go, unless it is killed before."""
    with host.running("Hold", hold, fatal) as process:
        assert process.stdin
        assert process.stdout
        kinds: list[type] = []
        for line in process.stdout:
            kinds.append(type(record.decode(line)))
            process.stdin.close()
        status = process.wait(HANG_S)
        assert kinds == [Held, Released][: len(kinds)]
        assert status == -signal.SIGKILL or kinds == [Held, Released]
    return status == -signal.SIGKILL


# Not every deed: all of them are tried in the functions (tests/unit/host/test_journal.py).
@pytest.mark.parametrize("action", ["apply", "restore"])
def test_tune_that_is_killed_at_any_deed_is_undone_by_restore(host: Host, action: str) -> None:
    partly = 0
    for fatal in range(1, 100, 5):
        if action == "restore":
            host.tune("apply")
        ended = host.tune(action, fatal) is not None
        partly += 0 < len(changed(host.before, host.now())) < len(QUIET)
        host.assert_restored(fatal)
        if ended:
            break
    assert ended
    assert partly > 2, "it was killed before the first or after the last setting only"


def test_a_run_that_is_killed_at_any_deed_is_undone_by_restore(host: Host) -> None:
    hold = Hold("run-1", "ann@lab", EVERYTHING)
    partly, fatal = 0, 1
    while killed(host, hold, fatal):
        partly += 0 < len(changed(host.before, host.now())) < len(QUIET)
        host.assert_restored(fatal)
        fatal += 5
    assert host.now() == host.before
    assert fatal > 2 * len(QUIET), "it was never killed while it put settings back"
    assert partly > 2


def test_a_run_that_is_killed_while_it_measures_is_told_and_undone(host: Host) -> None:
    with host.running("Hold", Hold("run-1", "ann@lab", EVERYTHING)) as process:
        assert process.stdout
        assert isinstance(record.decode(process.stdout.readline()), Held)
        process.kill()
        process.wait(HANG_S)
    assert changed(host.before, host.now()) == QUIET
    shown = host.tune("show")
    assert shown is not None
    assert {entry["by"] for entry in shown["journal"]} == {"run-1"}
    assert len(journal(host.root).entries) == len(QUIET)
    host.assert_restored()


def test_the_next_run_restores_first_what_a_killed_one_left(host: Host) -> None:
    with host.running("Hold", Hold("run-1", "ann@lab", EVERYTHING)) as process:
        assert process.stdout
        process.stdout.readline()
    with host.running("Hold", Hold("run-2", "bob@lab")) as process:
        assert process.stdout
        held = record.decode(process.stdout.readline())
        assert isinstance(held, Held)
        assert (held.taken_over["run"], len(held.recovered)) == ("run-1", len(QUIET))
        assert host.now() == host.before
