"""The settings of this machine: tuned by real commands and runs that are killed by kill -9, and back as they were.

Which files there are, and which may be written, is found out: no test here says what this machine has.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from waiting import wait_for

from bench.host import lock
from bench.host.knobs import KNOBS, chosen

pytestmark = [pytest.mark.guest, pytest.mark.alone]

ROOT = Path("/")
HOSTS = "hosts:\n  - {name: local, address: local, become: sudo, accel: tcg}\n"
DEADLINE_S = 120.0
GIVEN_BACK_S = 15.0
# What else runs here must not keep a guest from being started.
ANY_LOAD = tuple(word for limit in ("busy", "load", "pressure", "swap") for word in ("--set", f"quiet.{limit}=null"))
RUN = (
    *("run", "quick", "--wait", "--out", "out", "--blocks", "1", "--set", "min_blocks=1", "--set", "tune=true"),
    *("--set", "guest.memory=512M", "--set", "workloads.0.touch=20%"),
    *ANY_LOAD,
)


def snapshot() -> dict[Path, str]:
    """Text of every file of every setting of this machine, and of what may change with them; what is not readable is
    not in it.
    """
    files = [path for knob in KNOBS for setting in knob.settings for path in setting.paths(ROOT)]
    files += [path for knob in KNOBS for path in knob.beside(ROOT)]
    found = {}
    for path in files:
        with contextlib.suppress(OSError):
            found[path] = path.read_text()
    return found


def different(before: dict[Path, str]) -> dict[Path, str]:
    now = snapshot()
    return {path: now.get(path, "gone") for path in before if now.get(path) != before[path]}


class Machine:
    """This machine, with a working folder and a journal of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.before = snapshot()
        self.started: list[subprocess.Popen[str]] = []
        (folder / "hosts.yaml").write_text(HOSTS)

    @property
    def journal(self) -> Path:
        return self.state / "tuned.json"

    def start(self, *argv: str) -> subprocess.Popen[str]:
        wait_for(lambda: lock.holder() is None, DEADLINE_S, "the host to be free")
        with (self.folder / "stdout").open("w") as out, (self.folder / "stderr").open("w") as err:
            process = subprocess.Popen(
                [sys.executable, "-m", "bench", *argv],
                cwd=self.folder,
                env={**os.environ, "BENCH_STATE": str(self.state)},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                text=True,
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def bench(self, *argv: str) -> str:
        """stdout of a command that succeeds."""
        status = self.start(*argv).wait(DEADLINE_S)
        assert status == 0, self.said()
        return (self.folder / "stdout").read_text()

    def tune(self, action: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.bench("tune", action, "local", "--json"))["hosts"]["local"]
        return answer

    def said(self) -> str:
        return (self.folder / "stderr").read_text()

    def processes(self, word: str = "") -> dict[int, str]:
        """Command lines of those that run with this journal, the guests included."""
        mine = f"BENCH_STATE={self.state}".encode()
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if mine in (folder / "environ").read_bytes().split(b"\0"):
                    found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
        return {pid: line for pid, line in found.items() if word in line and pid != os.getpid()}

    def kill_all(self) -> None:
        """kill -9 of everything, all at once, and until nothing is left."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in self.started:
            process.wait(DEADLINE_S)
        wait_for(lambda: not self.processes(), 10, "the end of what was killed")

    def changed_by(self, answer: dict[str, Any]) -> dict[Path, str]:
        """What is different now, which is what the answer says was set. Fails when that is nothing."""
        refused = [(item["file"], item["problem"]) for item in answer["settings"] if item["state"] == "refused"]
        now = {path: chosen(text.strip()) for path, text in different(self.before).items()}
        told = {Path(item["file"]): item["wanted"] for item in answer["settings"] if item["state"] == "set"}
        if not told and os.geteuid() != 0:
            pytest.skip(f"this user may set nothing here: {refused}")
        assert told, f"nothing was set; refused: {refused}"
        besides = {path for knob in KNOBS for path in knob.beside(ROOT)}
        assert {path: value for path, value in now.items() if path not in besides} == told
        return now

    def assert_restored(self) -> None:
        answer = self.tune("restore")
        assert {item["state"] for item in answer["settings"]} <= {"restored"}, answer["settings"]
        assert answer["journal"] == []
        assert different(self.before) == {}
        assert not self.journal.exists()

    def put_back(self) -> dict[Path, str]:
        """From this test's own snapshot; what had to be."""
        left = different(self.before)
        for path in left:
            with contextlib.suppress(OSError):
                path.write_text(chosen(self.before[path].strip()) + "\n")
        return left


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path)
    yield made
    made.kill_all()
    assert made.put_back() == {}, "the test left settings changed; they were put back"


def test_what_is_applied_is_set_and_what_was_is_restored(machine: Machine) -> None:
    applied = machine.tune("apply")
    changed = machine.changed_by(applied)
    assert {item["state"] for item in applied["settings"]} <= {"set", "kept", "absent", "refused"}
    assert {Path(entry["file"]) for entry in applied["journal"]} >= set(changed)
    assert len(machine.tune("show")["journal"]) == len(applied["journal"])
    assert different(machine.before).keys() == changed.keys()
    machine.assert_restored()


def test_what_was_applied_and_then_killed_is_restored(machine: Machine) -> None:
    machine.changed_by(machine.tune("apply"))
    machine.kill_all()
    assert different(machine.before)
    machine.assert_restored()


@pytest.mark.parametrize("late_s", [0.0, 0.002])
def test_everything_killed_in_the_middle_of_apply_is_restored(machine: Machine, late_s: float) -> None:
    controller = machine.start("tune", "apply", "local")
    host_side = wait_for(lambda: machine.processes("fpr-host-"), DEADLINE_S, f"the host side: {machine.said()}")
    deadline = time.monotonic() + DEADLINE_S
    while not machine.journal.exists():  # no pause: what is looked for lasts a millisecond
        assert controller.poll() is None, machine.said()
        assert time.monotonic() < deadline
    time.sleep(late_s)
    for pid in (*host_side, controller.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    machine.kill_all()
    assert machine.journal.exists()
    machine.assert_restored()


def tuned_run(machine: Machine) -> subprocess.Popen[str]:
    """A run that has this machine, tuned, and whose first guest was started."""
    run = machine.start(*RUN)
    try:
        wait_for(lambda: run.poll() is not None or machine.processes(" -kernel "), DEADLINE_S, "a guest")
    except AssertionError as error:
        raise AssertionError(f"{error}: {machine.said()}; {machine.processes()}") from error
    assert run.poll() is None, machine.said()
    assert len(machine.processes("fpr-host-")) == 2  # what holds the host, and the boot
    return run


def events(machine: Machine, kind: str) -> list[dict[str, Any]]:
    lines = (machine.folder / "out/events.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == kind]


@pytest.mark.parametrize("after", ["restore", "another run"])
def test_a_tuned_run_whose_every_process_is_killed_is_told_and_undone(machine: Machine, after: str) -> None:
    tuned_run(machine)
    (held,) = events(machine, "held")
    during = machine.changed_by(held)
    machine.kill_all()
    assert different(machine.before).keys() == during.keys()
    shown = machine.bench("tune", "show")
    assert "files are still changed; put them back with: bench tune restore local" in shown
    assert {entry["by"] for entry in json.loads(machine.journal.read_text())} == {"out"}
    if after == "another run":
        machine.bench("run", "quick", "--wait", "--dry-run")
        assert different(machine.before) == {}
    machine.assert_restored()


def test_a_tuned_run_whose_controller_alone_is_killed_is_undone_by_what_holds_the_host(machine: Machine) -> None:
    run = tuned_run(machine)
    machine.changed_by(events(machine, "held")[0])
    run.kill()
    run.wait(DEADLINE_S)
    wait_for(lambda: not machine.processes(), GIVEN_BACK_S, "the host to be given back")
    assert different(machine.before) == {}
    assert not machine.journal.exists()
    assert lock.holder() is None


def test_a_tuned_run_that_is_interrupted_gives_back_what_it_changed(machine: Machine) -> None:
    run = tuned_run(machine)
    run.send_signal(signal.SIGINT)
    assert run.wait(DEADLINE_S) == 130, machine.said()
    assert different(machine.before) == {}
    (released,) = events(machine, "released")
    assert {item["state"] for item in released["settings"]} == {"restored"}
    assert not machine.journal.exists()
