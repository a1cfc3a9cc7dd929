"""A conversation with a host side that is a real process: one that answers, and ones that do not."""

from __future__ import annotations

import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from host_side import gone_within
from jobs import job

from bench.controller import session
from bench.controller.bundle import build_bundle
from bench.controller.session import Session
from bench.controller.transport import LocalTransport
from bench.errors import EVIDENCE_LINES, InputError, Interrupted, LabError, MissingError, parts
from bench.wire.job import Hold
from bench.wire.record import End, Held, Hello, LogPart, Record, Released, Waiting

Speaker = Callable[[str], Session]
# What every script below begins with: plain JSON, so that it does not rely on the code under test.
PRELUDE = """
import json, os, sys, time
def say(kind, **body):
    print(json.dumps({"v": 1, "type": kind, "body": body}), flush=True)
request = json.loads(sys.stdin.readline())
say_end = lambda status, **more: say("End", status=status, **more)
"""


def local(name: str, bundle: Path) -> Session:
    return Session(LocalTransport(name), str(bundle))


@pytest.fixture
def speaker(tmp_path: Path) -> Speaker:
    """Makes a session whose host side is a script; its pid is in the file `pid`."""

    def make(script: str) -> Session:
        path = tmp_path / "host.py"
        note = f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\n"
        path.write_text(PRELUDE + note + textwrap.dedent(script))
        return local("lab1", path)

    return make


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host side that does not end is killed sooner than in real life."""
    monkeypatch.setattr(session, "END_DEADLINE_S", 0.5)


def pid_of(tmp_path: Path) -> int:
    return int((tmp_path / "pid").read_text())


def test_every_record_is_handed_on_as_it_comes_and_the_end_is_the_answer(speaker: Speaker) -> None:
    seen: list[Record] = []
    script = """
        say("Hello", pid=7, host_facts={"boot": request["body"]["cell"]})
        say("LogPart", name="qemu", text="é")
        say_end("ok")
    """
    end = speaker(script).boot(job(), seen.append)
    assert seen == [Hello(7, {"boot": "cycle"}), LogPart("qemu", "é"), End("ok")]
    assert end == End("ok")


def test_records_are_handed_on_while_the_host_side_still_runs(speaker: Speaker) -> None:
    times: list[float] = []

    def note(_: Record) -> None:
        times.append(time.monotonic())

    speaker('say("Hello", pid=7, host_facts={})\ntime.sleep(0.5)\nsay_end("ok")\n').boot(job(), note)
    hello, end = times
    assert end - hello > 0.3


def test_a_failed_boot_is_an_answer_and_no_exception(speaker: Speaker) -> None:
    end = speaker('say_end("failed", reason="panic", evidence=["Oops"])').boot(job(), lambda _: None)
    assert (end.status, end.reason, end.evidence) == ("failed", "panic", ["Oops"])


def test_a_host_side_that_dies_midway_is_the_labs_error_with_its_last_words(speaker: Speaker) -> None:
    script = """
        say("Hello", pid=7, host_facts={})
        for n in range(50): print("line", n, file=sys.stderr)
        sys.exit("out of disk")
    """
    seen: list[Record] = []
    with pytest.raises(LabError, match="host lab1: the host side ended without a result") as caught:
        speaker(script).boot(job(), seen.append)
    assert caught.value.evidence[-1] == "out of disk"
    assert len(caught.value.evidence) == EVIDENCE_LINES
    assert len(seen) == 1
    assert "host.py" in str(caught.value)


def test_a_host_side_that_dies_before_it_reads_is_the_labs_error(tmp_path: Path) -> None:
    path = tmp_path / "host.py"
    path.write_text("import sys; sys.exit('wrong Python')\n")
    large = job(paths=job().paths.__class__("q" * 300_000, "", "", ""))  # more than a pipe holds
    with pytest.raises(LabError) as caught:
        local("lab1", path).boot(large, lambda _: None)
    assert caught.value.evidence == ("wrong Python",)


@pytest.mark.parametrize(
    "line",
    ["Last login: Mon Nov 23", '{"v": 2, "type": "End", "body": {}}', '{"v": 1, "type": "Fin", "body": {}}', "{}"],
)
def test_a_host_side_that_speaks_nonsense_is_the_labs_error_with_the_line(
    speaker: Speaker, tmp_path: Path, line: str
) -> None:
    script = (
        f"print({line!r}, flush=True)\nprint('why', file=sys.stderr, flush=True)\ntime.sleep(0.2)\nsys.stdin.read()\n"
    )
    with pytest.raises(LabError, match="the conversation broke"):
        speaker(script).boot(job(), lambda _: None)
    assert gone_within(pid_of(tmp_path), 0)


@pytest.mark.usefixtures("quick")
def test_a_host_side_that_hangs_after_its_answer_is_killed(speaker: Speaker, tmp_path: Path) -> None:
    before = time.monotonic()
    end = speaker('say_end("ok")\ntime.sleep(60)\n').boot(job(), lambda _: None)
    assert end.status == "ok"
    assert gone_within(pid_of(tmp_path), 0)
    assert time.monotonic() - before < 10


@pytest.mark.usefixtures("quick")
def test_a_stop_from_another_thread_closes_stdin_and_the_boot_ends_in_order(speaker: Speaker, tmp_path: Path) -> None:
    lab = speaker("""
        say("Hello", pid=7, host_facts={})
        sys.stdin.read()
        say_end("failed", reason="the controller went away")
    """)

    def stop(item: Record) -> None:
        if isinstance(item, Hello):
            threading.Thread(target=lab.stop).start()

    end = lab.boot(job(), stop)
    assert end.reason == "the controller went away"
    assert lab.stopped
    assert gone_within(pid_of(tmp_path), 0)


@pytest.mark.usefixtures("quick")
def test_a_host_side_that_hangs_after_a_stop_is_killed_at_the_deadline(speaker: Speaker, tmp_path: Path) -> None:
    lab = speaker('say("Hello", pid=7, host_facts={})\ntime.sleep(60)\n')

    def stop(_: Record) -> None:
        threading.Thread(target=lab.stop).start()

    with pytest.raises(Interrupted):
        lab.boot(job(), stop)
    assert gone_within(pid_of(tmp_path), 0)


def test_a_question_that_goes_on_after_a_stop_is_left_to_end_unless_it_shall_end_now(
    speaker: Speaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be installing packages."""
    monkeypatch.setattr(session, "END_DEADLINE_S", 0.1)
    lab = speaker("sys.stdin.read()\ntime.sleep(60)\n")
    ended = threading.Event()

    def ask() -> None:
        with pytest.raises(Interrupted):
            lab.ask("prepare")
        ended.set()

    threading.Thread(target=ask).start()
    deadline = time.monotonic() + 5
    while not (tmp_path / "pid").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    lab.stop()
    assert not ended.wait(0.5)
    lab.stop(now=True)
    assert ended.wait(5)
    assert gone_within(pid_of(tmp_path), 0)


def test_a_stop_is_not_held_up_by_a_host_side_that_reads_nothing(speaker: Speaker) -> None:
    lab = speaker("time.sleep(60)")
    large = job(paths=job().paths.__class__("q" * 300_000, "", "", ""))  # more than a pipe holds
    threading.Timer(0.5, lab.stop, kwargs={"now": True}).start()
    before = time.monotonic()
    with pytest.raises(Interrupted):
        lab.boot(large, lambda _: None)
    assert time.monotonic() - before < 5


def test_nothing_is_begun_after_a_stop(speaker: Speaker, tmp_path: Path) -> None:
    lab = speaker('say_end("ok")')
    lab.stop()
    with pytest.raises(Interrupted):
        lab.boot(job(), lambda _: None)
    assert not (tmp_path / "pid").exists()


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("last", ["sys.stdin.read()", "time.sleep(60)"], ids=["ends when told", "has to be killed"])
def test_an_exception_while_records_come_leaves_no_process(speaker: Speaker, tmp_path: Path, last: str) -> None:
    def interrupt(_: Record) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        speaker(f'say("Hello", pid=7, host_facts={{}})\n{last}\n').boot(job(), interrupt)
    assert gone_within(pid_of(tmp_path), 0)


def test_what_the_host_side_wrote_on_stderr_is_kept_as_its_log(speaker: Speaker) -> None:
    lab = speaker("sys.stderr.buffer.write(b'a warning \\xff\\n')\nsay_end('ok')\n")
    lab.boot(job(), lambda _: None)
    assert lab.log == "a warning \ufffd\n"


def test_the_log_is_that_of_the_last_request_only(speaker: Speaker) -> None:
    lab = speaker("print(request['body']['cell'], file=sys.stderr)\nsay_end('ok')\n")
    lab.boot(job(cell="first"), lambda _: None)
    lab.boot(job(cell="second"), lambda _: None)
    assert lab.log == "second\n"


def test_much_on_stderr_does_not_block_the_host_side(speaker: Speaker) -> None:
    lab = speaker("sys.stderr.write('x' * 2_000_000)\nsay_end('ok')\n")
    assert lab.boot(job(), lambda _: None).status == "ok"
    assert len(lab.log) == 2_000_000


def test_a_question_carries_its_arguments_and_gets_its_data(speaker: Speaker) -> None:
    lab = speaker('say("Reply", data={"asked": request["body"]})')
    assert lab.ask("resolve", qemu="", accel="auto") == {
        "asked": {"what": "resolve", "args": {"qemu": "", "accel": "auto"}}
    }


def test_what_the_host_side_raised_is_raised_here_with_its_own_words(speaker: Speaker) -> None:
    told = parts(MissingError("no QEMU", "bench prepare"))
    lab = speaker(f'say("Reply", error={told!r})')
    with pytest.raises(MissingError) as caught:
        lab.ask("resolve")
    assert str(caught.value) == "host lab1: no QEMU\n  run: bench prepare"
    assert caught.value.exit_code == 2


def test_the_labs_error_of_a_host_gets_the_name_that_the_controller_knows(speaker: Speaker) -> None:
    told = parts(LabError("", "apt-get failed", ["apt-get", "update"], ["no route"]))
    with pytest.raises(LabError) as caught:
        speaker(f'say("Reply", error={told!r})').ask("prepare")
    assert str(caught.value) == "host lab1: apt-get failed\n  command: apt-get update\n  | no route"


def test_a_host_is_held_until_it_is_released(speaker: Speaker, tmp_path: Path) -> None:
    lab = speaker("""
        say("Waiting", holder={"owner": "ann"})
        say("Held", settings=[])
        sys.stdin.read()
        say("Released", settings=[])
    """)
    waited: list[Waiting] = []
    keeper = lab.hold(Hold("run", "me"), waited.append)
    assert waited == [Waiting({"owner": "ann"})]
    assert (keeper.held, keeper.gone) == (Held(), False)
    assert not gone_within(pid_of(tmp_path), 0.2)
    assert keeper.release(5) == Released()
    assert gone_within(pid_of(tmp_path), 0)


def test_a_host_that_somebody_else_holds_is_the_labs_error(speaker: Speaker, tmp_path: Path) -> None:
    told = parts(LabError("", "held by ann for run 7"))
    with pytest.raises(LabError, match="host lab1: held by ann for run 7"):
        speaker(f'say("Reply", error={told!r})').hold(Hold("run", "me"), lambda _: None)
    assert gone_within(pid_of(tmp_path), 0)


def test_a_keeper_that_speaks_nonsense_is_shown_with_what_broke(speaker: Speaker) -> None:
    keeper = speaker('say("Held", settings=[])\nprint("no record")\n').hold(Hold("r", "me"), lambda _: None)
    end = time.monotonic() + 10
    while not keeper.gone and time.monotonic() < end:
        time.sleep(0.01)
    assert keeper.died().evidence[-1].startswith("the conversation broke: ")
    keeper.release()


def test_a_keeper_that_dies_is_noticed(speaker: Speaker) -> None:
    keeper = speaker('say("Held", settings=[])\nsys.exit("killed by somebody")\n').hold(Hold("r", "me"), lambda _: None)
    deadline = time.monotonic() + 5
    while not keeper.gone and time.monotonic() < deadline:
        time.sleep(0.01)
    assert keeper.gone
    assert keeper.died().evidence == ("killed by somebody",)
    assert keeper.release(5) is None


def test_a_stop_ends_the_waiting_for_a_host(speaker: Speaker) -> None:
    lab = speaker('say("Waiting", holder={"owner": "ann"})\nsys.stdin.read()\n')

    def stop(_: Waiting) -> None:
        threading.Thread(target=lab.stop).start()

    with pytest.raises(Interrupted):
        lab.hold(Hold("run", "me"), stop)


def test_an_unanswered_question_is_the_labs_error(speaker: Speaker) -> None:
    with pytest.raises(LabError, match="ended without an answer"):
        speaker("sys.exit(3)").ask("doctor")


def test_the_real_bundle_answers_the_real_session(tmp_path: Path) -> None:
    lab = local("local", build_bundle(tmp_path))
    with pytest.raises(InputError, match="unknown question 'weather'"):
        lab.ask("weather")


def test_the_real_bundle_fails_a_boot_without_qemu_and_says_so(tmp_path: Path) -> None:
    request = job(paths=job().paths.__class__(str(tmp_path / "no-qemu"), "/boot/vmlinuz", "", __file__))
    end = local("local", build_bundle(tmp_path)).boot(request, lambda _: None)
    assert end.status == "failed"
    assert "QEMU cannot be started" in end.reason
