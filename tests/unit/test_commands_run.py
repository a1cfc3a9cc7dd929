"""`bench run` over machines that are scripted: what a fleet does to it, and what it leaves behind."""

from __future__ import annotations

import io
import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from commands_lab import Here, ctrl_c, quicken
from fake_lab import HANG_S, FakeLab, Talk, deaf, dropped, endless, well

from bench.commands import running
from bench.controller import run as run_module
from bench.controller import session
from bench.controller.plan import Options
from bench.controller.store import RunFolder
from bench.errors import BenchError, InputError, Interrupted, LabError, MissingError
from bench.wire.job import Hold, Job

FIRST, SECOND = "lab1.cycle.b001.none", "lab1.cycle.b001.reporting"


@pytest.fixture
def here(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Here:
    """Two machines; the page is one word, since it takes seconds to draw."""
    quicken(monkeypatch, built)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run_module, "RECONNECT_AFTER_S", (0.01, 0.02))
    return Here(FakeLab("lab1", "lab2"), tmp_path)


def boots_of(host: str) -> set[str]:
    return {f"{host}.cycle.b001.none", f"{host}.cycle.b001.reporting"}


def test_every_machine_is_surveyed_held_booted_and_given_back(here: Here, capsys: pytest.CaptureFixture[str]) -> None:
    here.run()
    assert set(here.boots()) == boots_of("lab1") | boots_of("lab2")
    survey = ["push", "hold survey", "ask resolve", "released"]
    for name in ("lab1", "lab2"):
        requests = here.lab[name].requests
        assert requests[:6] == [*survey, "push", "hold out"]
        assert sorted(requests[6:8]) == sorted(f"boot {boot}" for boot in boots_of(name))
        assert requests[8:] == ["released"]
    assert here.lab.at_peace()
    assert capsys.readouterr().out.splitlines() == [str(here.out)]
    assert (here.out / "manifest.json").exists()


# -- a host is lost ----------------------------------------------------------------------------------------------------


def test_a_machine_that_is_never_reached_costs_only_its_own_boots(here: Here) -> None:
    here.lab["lab2"].open = [LabError("lab2", "no route to host", evidence=["ssh: …"])]
    with pytest.raises(LabError, match="host lab2: 1 of 2 hosts were lost") as caught:
        here.run()
    assert caught.value.exit_code == 5
    assert set(here.boots()) == boots_of("lab1")
    (lost,) = here.events("lost")
    assert (lost["host"], lost["reason"], set(lost["unfinished"])) == ("lab2", "no route to host", boots_of("lab2"))


def test_machines_that_all_lack_qemu_are_a_matter_of_installing_and_not_of_the_lab(here: Here) -> None:
    for machine in here.lab.machines.values():
        machine.asks["resolve"] = MissingError("QEMU is not installed", "bench prepare")
    with pytest.raises(MissingError) as caught:
        here.run()
    assert "host lab1: QEMU is not installed" in str(caught.value)
    assert "host lab2: QEMU is not installed" in str(caught.value)
    assert not here.out.exists()


def test_all_machines_lost_after_the_survey_is_said_without_a_word_about_others(here: Here) -> None:
    for name in ("lab1", "lab2"):
        here.lab[name].open = [lambda: None, LabError(name, "no route to host")]
    with pytest.raises(LabError) as caught:
        here.run()
    assert "2 of 2 hosts were lost. To finish:" in str(caught.value)
    assert here.boots() == {}


def test_a_machine_whose_connection_dropped_in_a_boot_is_reached_again(here: Here) -> None:
    machine = here.lab["lab1"]

    def once(talk: Talk, job: Job) -> None:
        machine.boots[job.boot] = well
        dropped(talk, job)

    machine.boots[FIRST] = once
    here.run()
    assert set(here.boots()) == boots_of("lab1") | boots_of("lab2")
    assert machine.count(f"boot {FIRST}") == 2
    assert [event["host"] for event in here.events("reconnecting")] == ["lab1"]


def test_a_lock_that_the_own_lost_connection_still_holds_is_waited_for(here: Here) -> None:
    """The machine sees the end of a silent connection only after some heartbeats."""
    machine = here.lab["lab1"]
    machine.notices = False

    def once(talk: Talk, job: Job) -> None:
        machine.boots[job.boot] = well
        dropped(talk, job)

    machine.boots[FIRST] = once

    def notice() -> None:
        machine.seen("hold out", 2)
        machine.notices = True
        machine.notice()

    thread = threading.Thread(target=notice)
    thread.start()
    here.run()
    thread.join()
    assert set(here.boots()) == boots_of("lab1") | boots_of("lab2")
    (waited,) = here.events("waiting")
    assert waited["holder"]["run"] == "out"


def test_a_lock_that_somebody_else_took_meanwhile_is_not_waited_for(here: Here) -> None:
    machine = here.lab["lab1"]

    def taken(talk: Talk, job: Job) -> None:
        machine.drop()
        machine.take(Talk(machine), Hold("nightly", "ann@desk"))

    machine.boots[FIRST] = taken
    with pytest.raises(LabError, match="1 of 2 hosts were lost") as caught:
        here.run()
    assert "lab1: held by ann@desk for run nightly since then, process 7; wait with --wait" in str(caught.value)


def test_a_connection_that_drops_while_the_host_is_taken_is_made_again(here: Here) -> None:
    machine = here.lab["lab1"]
    take = machine.take
    drops: list[int] = []

    def drop(talk: Talk, hold: Hold) -> None:
        if hold.run == "out" and not drops:
            drops.append(1)
            machine.drop()
        take(talk, hold)

    machine.take = drop  # type: ignore[method-assign]
    here.run()
    (again,) = here.events("reconnecting")
    assert again["reason"] == "the connection was lost"


def test_tries_to_reconnect_begin_anew_after_a_boot_that_went_well(here: Here) -> None:
    machine = here.lab["lab1"]

    def twice(talk: Talk, job: Job) -> None:
        if machine.count(f"boot {job.boot}") < 3:
            dropped(talk, job)
        else:
            well(talk, job)

    machine.boots = {FIRST: twice, SECOND: twice}
    here.run()
    assert [event["tries"] for event in here.events("reconnecting")] == [1, 2, 1, 2]


def test_a_keeper_that_died_between_two_boots_is_noticed_before_the_next_one(here: Here) -> None:
    machine = here.lab["lab1"]
    order: list[str] = []

    def die(talk: Talk, job: Job) -> None:
        well(talk, job)
        order.append(job.boot)
        if len(order) == 1:
            assert machine.holder is not None
            keeper = machine.holder[0]
            assert keeper is not None
            keeper.when_closed = lambda: None
            keeper.over()

    machine.boots = {FIRST: die, SECOND: die}
    here.run()
    assert machine.count("hold out") == 2
    assert set(here.boots()) == boots_of("lab1") | boots_of("lab2")


# -- the user stops it -------------------------------------------------------------------------------------------------


def test_ctrl_c_in_a_boot_gives_every_machine_back_and_says_how_to_go_on(
    here: Here, capsys: pytest.CaptureFixture[str]
) -> None:
    lab = here.lab
    for name in ("lab1", "lab2"):
        lab[name].boots = dict.fromkeys(boots_of(name), endless)

    def both() -> None:
        lab["lab1"].seen("boot")
        lab["lab2"].seen("boot")

    ctrl_c(both)
    with pytest.raises(Interrupted, match=r"interrupted; finish it with: bench run --resume .*/out"):
        here.run()
    assert here.boots() == {}
    assert lab.at_peace()
    assert here.events("lost") == []
    assert len(here.events("released")) == 2
    assert (here.out / "manifest.json").exists()
    assert capsys.readouterr().out.splitlines() == [str(here.out)]


def test_ctrl_c_in_the_survey_begins_nothing(here: Here) -> None:
    machine = here.lab["lab2"]
    machine.holder = (None, {"owner": "ann", "run": "other"})
    ctrl_c(lambda: machine.seen("hold survey"))
    with pytest.raises((KeyboardInterrupt, Interrupted)):
        here.run(wait=True)
    machine.holder = None
    assert here.lab.at_peace()
    assert not here.out.exists()


def test_ctrl_c_while_a_host_is_waited_for_loses_no_host(here: Here) -> None:
    machine = here.lab["lab1"]
    take = machine.take

    def busy(talk: Talk, hold: Hold) -> None:
        if hold.run == "out":
            machine.holder = (None, {"owner": "ann", "run": "other"})
        take(talk, hold)

    machine.take = busy  # type: ignore[method-assign]
    ctrl_c(lambda: machine.seen("hold out"))
    with pytest.raises(Interrupted):
        here.run(wait=True, hosts=("lab1",))
    assert here.events("lost") == []


@pytest.mark.parametrize("phase", ["survey", "run"])
def test_ctrl_c_while_files_go_to_a_machine_ends_that(here: Here, phase: str) -> None:
    machine = here.lab["lab1"]
    nth = 1 if phase == "survey" else 2

    def slow(talk: Talk) -> None:
        if machine.count("push") < nth:
            talk.tell({"stored": []})
            talk.over()

    machine.push = slow
    ctrl_c(lambda: machine.seen("push", nth))
    with pytest.raises((KeyboardInterrupt, Interrupted)):
        here.run(hosts=("lab1",))
    assert here.lab.at_peace()
    if phase == "run":
        assert here.events("lost") == []


def test_ctrl_c_while_a_connection_is_made_stops_behind_it(here: Here) -> None:
    machine = here.lab["lab1"]
    connecting, go = threading.Event(), threading.Event()

    def connect() -> None:
        connecting.set()
        assert go.wait(HANG_S)

    machine.open = [lambda: None, connect]
    thread = ctrl_c(lambda: connecting.wait(HANG_S))

    def interrupted() -> None:
        thread.join()
        time.sleep(0.05)
        go.set()

    threading.Thread(target=interrupted).start()
    with pytest.raises(Interrupted):
        here.run(hosts=("lab1",))
    assert machine.count("hold out") == 0
    assert here.lab.at_peace()
    assert here.events("lost") == []


def test_ctrl_c_between_two_tries_to_connect_does_not_wait_for_the_next(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "RECONNECT_AFTER_S", (60.0,))
    machine = here.lab["lab1"]
    machine.boots[FIRST] = dropped
    machine.boots[SECOND] = dropped

    def trying_again() -> None:
        machine.seen("boot")
        time.sleep(0.1)

    ctrl_c(trying_again)
    before = time.monotonic()
    with pytest.raises(Interrupted):
        here.run(hosts=("lab1",))
    assert time.monotonic() - before < 5
    assert here.events("lost") == []


def test_a_machine_that_hangs_holds_up_the_end_no_longer_than_the_deadline(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "END_DEADLINE_S", 0.2)
    machine = here.lab["lab1"]
    machine.boots = dict.fromkeys(boots_of("lab1"), deaf)
    ctrl_c(lambda: machine.seen("boot"))
    with pytest.raises(Interrupted):
        here.run(hosts=("lab1",))
    assert here.boots() == {}


def test_a_second_ctrl_c_leaves_without_waiting_and_without_a_page(here: Here) -> None:
    machine = here.lab["lab1"]
    machine.boots = dict.fromkeys(boots_of("lab1"), deaf)
    thread = ctrl_c(lambda: machine.seen("boot"), lambda: time.sleep(0.3))
    before = time.monotonic()
    with pytest.raises(Interrupted, match="bench run --resume"):
        here.run(hosts=("lab1",))
    thread.join()
    assert time.monotonic() - before < 5
    assert not (here.out / "report.html").exists()
    ended = time.monotonic() + HANG_S
    while any(name.startswith("host") for name in alive()) and time.monotonic() < ended:
        time.sleep(0.02)
    assert not any(name.startswith("host") for name in alive()), "no thread holds up the exit"


def alive() -> list[str]:
    return [thread.name for thread in threading.enumerate()]


def test_ctrl_c_while_the_page_is_drawn_says_how_to_go_on(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(_folder: Path) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr("reports.page.render", draw)
    with pytest.raises(Interrupted, match=r"bench report .*out") as caught:
        here.run()
    assert "bench run --resume" in str(caught.value)
    assert len(here.boots()) == 4


# -- this side fails ---------------------------------------------------------------------------------------------------


def test_a_full_disk_here_ends_the_run_on_all_machines_in_order(here: Here) -> None:
    lab = here.lab
    lab["lab2"].boots = dict.fromkeys(boots_of("lab2"), endless)

    def full(talk: Talk, job: Job) -> None:
        lab["lab2"].seen("boot")
        (here.out / "series").rmdir()
        well(talk, job)

    lab["lab1"].boots = dict.fromkeys(boots_of("lab1"), full)
    with pytest.raises(LabError, match="cannot be saved"):
        here.run()
    assert lab.at_peace()
    assert here.events("lost") == []


def test_a_bug_shows_itself_and_the_other_machines_are_given_back(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = here.lab
    lab["lab2"].boots = dict.fromkeys(boots_of("lab2"), endless)

    def wait(talk: Talk, job: Job) -> None:
        lab["lab2"].seen("boot")
        well(talk, job)

    lab["lab1"].boots = dict.fromkeys(boots_of("lab1"), wait)
    append = RunFolder.append_boot

    def broken(*args: Any) -> None:
        append(*args)
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(RunFolder, "append_boot", broken)
    with pytest.raises(ZeroDivisionError):
        here.run()
    assert lab.at_peace()


# -- what is said ------------------------------------------------------------------------------------------------------


def test_json_progress_is_all_of_stdout_and_the_run_is_its_last_line(
    here: Here, capsys: pytest.CaptureFixture[str]
) -> None:
    here.lab["lab2"].open = [LabError("lab2", "no route to host")]
    with pytest.raises(LabError):
        here.run(as_json=True)
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert events[-1] == {"event": "run", "folder": str(here.out)}
    ends = {event["host"]: event["status"] for event in events if event["event"] == "host-end"}
    assert ends == {"lab1": "done", "lab2": "lost"}


def test_a_dry_run_shows_every_machines_boots_and_makes_no_folder(
    here: Here, capsys: pytest.CaptureFixture[str]
) -> None:
    here.run(dry_run=True)
    lines = capsys.readouterr().out.splitlines()
    named = [line.split()[1].rstrip(":") for line in lines if line.startswith("#")]
    assert set(named) == boots_of("lab1") | boots_of("lab2")
    assert not here.out.exists()
    assert here.lab.at_peace()


def test_a_dry_run_in_json_is_json(here: Here, capsys: pytest.CaptureFixture[str]) -> None:
    here.run(dry_run=True, as_json=True)
    jobs = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {job["boot"] for job in jobs} == boots_of("lab1") | boots_of("lab2")
    assert {job["event"] for job in jobs} == {"job"}
    assert jobs[0]["argv"][0].endswith("qemu-system-x86_64")


def test_a_dry_run_with_a_machine_that_does_not_answer_shows_the_others_and_fails(
    here: Here, capsys: pytest.CaptureFixture[str]
) -> None:
    here.lab["lab1"].open = [LabError("lab1", "no route to host")]
    with pytest.raises(LabError, match="host lab1: no route to host"):
        here.run(dry_run=True)
    assert "lab2.cycle.b001.none" in capsys.readouterr().out


class Closed(io.StringIO):
    """A stream whose reader has left."""

    def write(self, _text: str) -> int:
        raise BrokenPipeError


@pytest.mark.parametrize("as_json", [True, False])
def test_a_run_goes_on_when_who_read_its_output_has_left(
    here: Here, monkeypatch: pytest.MonkeyPatch, *, as_json: bool
) -> None:
    monkeypatch.setattr(sys, "stdout", Closed())
    monkeypatch.setattr(sys, "stderr", Closed())
    here.run(as_json=as_json)
    assert len(here.boots()) == 4
    assert (here.out / "manifest.json").exists()


def test_two_names_of_one_machine_are_refused_before_anything_is_contacted(here: Here) -> None:
    twins = {"hosts": [{"name": name, "address": "one.lab"} for name in ("lab1", "lab2")]}
    Path("hosts.yaml").write_text(json.dumps(twins))
    with pytest.raises(InputError, match=r"lab1 and lab2 are one machine \(one\.lab\).*--parallel 1.*--wait"):
        here.run()
    assert here.lab["lab1"].requests == here.lab["lab2"].requests == []
    here.run(parallel=1)
    assert len(here.boots()) == 4


def test_machines_behind_different_gateways_may_have_the_same_address(here: Here) -> None:
    hosts = [{"name": name, "address": "10.0.0.2", "gateway": f"gate-{name}"} for name in ("lab1", "lab2")]
    Path("hosts.yaml").write_text(json.dumps({"hosts": hosts}))
    here.run()
    assert len(here.boots()) == 4


def test_nothing_of_a_machines_connections_is_kept_when_they_are_closed(here: Here) -> None:
    import gc

    from bench.commands import labs

    made: list[labs.Labs] = []
    original = labs.Labs.__init__

    def init(self: labs.Labs, *args: Any, **more: Any) -> None:
        original(self, *args, **more)
        made.append(self)

    labs.Labs.__init__ = init  # type: ignore[method-assign]
    try:
        here.run()
    finally:
        labs.Labs.__init__ = original  # type: ignore[method-assign]
    gc.collect()
    assert [len(item._at_work) for item in made] == [0]


def test_the_wrong_line_of_one_machine_is_said_before_anything_boots(here: Here) -> None:
    here.lab["lab2"].asks["resolve"] = InputError("/etc/passwd is no kernel", "kernel")
    with pytest.raises(BenchError, match=r"hosts\.yaml:\d+: hosts\.1\.kernel: /etc/passwd is no kernel"):
        here.run()
    assert not here.out.exists()


def test_options_reach_the_plan(here: Here) -> None:
    running.run("plan.yaml", Options(sets=("blocks=2",)), here.how(out=here.out, hosts=("lab1",)))
    assert len(here.boots()) == 4
