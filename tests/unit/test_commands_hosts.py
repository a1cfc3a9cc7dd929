"""`bench prepare`, `bench doctor` and `bench tune` over machines that are scripted: some of them fail."""

from __future__ import annotations

import io
import json
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from commands_lab import Here, ctrl_c, quicken
from fake_lab import Answer, FakeLab

from bench.cli import main
from bench.commands.hosts import Which, doctor, prepare, tune
from bench.commands.saying import say
from bench.errors import BenchError, InputError, Interrupted, LabError, MissingError
from bench.wire.codec import to_json
from bench.wire.finding import Finding
from bench.wire.setting import Setting


@pytest.fixture
def lab(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeLab:
    quicken(monkeypatch, built)
    monkeypatch.chdir(tmp_path)
    made = FakeLab("lab1", "lab2", "lab3")
    Here(made, tmp_path)
    return made


def which(lab: FakeLab, *names: str) -> Which:
    return Which(hosts=names, connect=lab.connect)


NO_ROUTE = "no route to host"


def unreachable(lab: FakeLab, name: str, times: int = 1) -> None:
    lab[name].open = [LabError(name, NO_ROUTE) for _ in range(times)]


# -- prepare -----------------------------------------------------------------------------------------------------------


def lacking(**changes: Any) -> dict[str, Any]:
    plan: dict[str, Any] = {
        "missing": ["qemu"],
        "commands": [["apt-get", "install", "qemu"]],
        "fetch": "",
        "blocked": "",
        "reason": "",
        "installed": [],
        "kernel": {"image": "/boot/vmlinuz"},
        **{key: [] for key in ("extra", "there", "lacks", "failed")},
    }
    return {**plan, **changes}


def preparing(after: Answer) -> Any:
    return lambda args: lacking() if args["dry_run"] else after


COMPLETE = lacking(missing=[], commands=[])
DONE = lacking(missing=[], commands=[], installed=["qemu"])
BLOCKED = lacking(commands=[], blocked="sudo apt-get install qemu", reason="this user is not root")


def all_prepare(lab: FakeLab, answer: Any) -> None:
    for machine in lab.machines.values():
        machine.asks["prepare"] = answer


def test_what_is_missing_is_installed_where_it_is(lab: FakeLab, capsys: pytest.CaptureFixture[str]) -> None:
    all_prepare(lab, preparing(DONE))
    lab["lab2"].asks["prepare"] = COMPLETE
    prepare(which(lab), dry_run=False, yes=True)
    out = capsys.readouterr().out
    assert "lab1: installed: qemu" in out
    assert "lab2: nothing is missing" in out
    assert [lab[name].count("ask prepare") for name in ("lab1", "lab2", "lab3")] == [2, 1, 2]


def test_a_dry_run_installs_nothing_and_is_fine(lab: FakeLab, capsys: pytest.CaptureFixture[str]) -> None:
    all_prepare(lab, preparing(DONE))
    prepare(which(lab), dry_run=True, yes=True)
    assert "apt-get install qemu" in capsys.readouterr().out
    assert lab["lab1"].count("ask prepare") == 1


def test_without_a_terminal_nobody_can_be_asked(lab: FakeLab, monkeypatch: pytest.MonkeyPatch) -> None:
    all_prepare(lab, preparing(DONE))
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    with pytest.raises(InputError, match="say --yes, or --dry-run"):
        prepare(which(lab), dry_run=False, yes=False)
    assert lab["lab1"].count("ask prepare") == 1


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("answer", ["n\n", "\n", ""])
def test_who_does_not_say_yes_gets_nothing_installed(
    lab: FakeLab, answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    all_prepare(lab, preparing(DONE))
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    with pytest.raises((Interrupted, RuntimeError)) as caught:  # click.Abort is a RuntimeError
        prepare(which(lab), dry_run=False, yes=False)
    assert answer == "" or str(caught.value) == "nothing was installed"
    assert lab["lab1"].count("ask prepare") == 1


def test_who_says_yes_sees_first_which_machines_cannot_be_reached(
    lab: FakeLab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    all_prepare(lab, preparing(DONE))
    unreachable(lab, "lab2")
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    with pytest.raises(LabError, match=f"host lab2: {NO_ROUTE}"):
        prepare(which(lab), dry_run=False, yes=False)
    captured = capsys.readouterr()
    assert captured.err.index("goes on without it: host lab2") < captured.err.index("Do this on 2 hosts?")
    assert "lab1: installed" in captured.out
    assert "lab3: installed" in captured.out


def test_a_machine_where_this_user_may_not_is_the_administrators(
    lab: FakeLab, capsys: pytest.CaptureFixture[str]
) -> None:
    all_prepare(lab, preparing(DONE))
    lab["lab3"].asks["prepare"] = BLOCKED
    with pytest.raises(InputError, match="lab3: an administrator has to run"):
        prepare(which(lab), dry_run=False, yes=True)
    out = capsys.readouterr().out
    assert "sudo apt-get install qemu" in out
    assert "lab1: installed" in out


NAMED = {"extra": ["kernel named:backports: linux-image, unpacked"]}


def test_what_is_wanted_by_name_is_asked_of_every_machine_told_before_and_then_fetched(
    lab: FakeLab, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Any] = []

    def answer(args: Mapping[str, Any]) -> dict[str, Any]:
        asked.append(args["extra"])
        return lacking(
            missing=[], commands=[], **(NAMED if args["dry_run"] else {"there": ["kernel named:backports: 6"]})
        )

    lab["lab1"].asks["prepare"] = answer
    prepare(which(lab, "lab1"), dry_run=False, yes=True, named=["backports"])
    out = capsys.readouterr().out
    assert out.index("linux-image, unpacked") < out.index("lab1: kernel named:backports: 6")
    assert asked == [["backports"], ["backports"]]


def test_what_a_distribution_does_not_have_is_said_and_is_no_failure(
    lab: FakeLab, capsys: pytest.CaptureFixture[str]
) -> None:
    all_prepare(lab, {**COMPLETE, "lacks": ["kernel named:backports: Fedora has none"]})
    prepare(which(lab, "lab1"), dry_run=False, yes=True, named=["backports"])
    captured = capsys.readouterr()
    assert "lab1: skipped: kernel named:backports: Fedora has none" in captured.err
    assert "lab1: nothing is missing" in captured.out


def test_a_source_that_could_not_be_reached_is_the_labs_failure_after_the_rest_was_done(
    lab: FakeLab, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = {**DONE, "failed": ["kernel named:backports: not reached\n  | E: 404"]}
    all_prepare(lab, lambda args: lacking(**NAMED) if args["dry_run"] else failed)
    lab["lab2"].asks["prepare"] = COMPLETE
    with pytest.raises(LabError, match=r"host lab1, lab3: not everything(?s:.*)not reached\n.*\| E: 404"):
        prepare(which(lab), dry_run=False, yes=True, named=["backports"])
    assert "lab1: installed: qemu" in capsys.readouterr().out


def test_the_options_of_prepare_are_the_names_of_what_they_bring(lab: FakeLab, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr("bench.commands.hosts.prepare", lambda **options: asked.append(options["named"]))
    for words in ([], ["--backports"], ["--standard-kernel", "--backports"]):
        assert main(["prepare", "lab1", *words]) == 0
    assert asked == [[], ["backports"], ["backports", "standard"]]


@pytest.mark.parametrize(
    ("errors", "exit_code", "message"),
    [
        ([LabError("", "apt-get failed")], 5, "host lab1: apt-get failed"),
        ([LabError("", "apt-get failed")] * 2, 5, "2 of 3 hosts failed"),
        ([LabError("", "apt-get failed")] * 3, 5, "no host can be used"),
        ([MissingError("no QEMU here", "install it")] * 2, 2, "host lab2: no QEMU here"),
        ([InputError("not a kernel", "kernel")], 2, "hosts.0.kernel: not a kernel"),
    ],
    ids=["one", "some", "all", "to be installed", "wrong file"],
)
def test_what_fails_while_it_is_installed_does_not_hide_what_went_well(
    lab: FakeLab, errors: list[BenchError], exit_code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names = list(lab.machines)
    all_prepare(lab, preparing(DONE))
    for name, error in zip(names, errors, strict=False):
        lab[name].asks["prepare"] = preparing(error)
    with pytest.raises(BenchError) as caught:
        prepare(which(lab), dry_run=False, yes=True)
    assert caught.value.exit_code == exit_code
    assert message in str(caught.value)
    out = capsys.readouterr().out
    assert [name for name in names if f"{name}: installed" in out] == names[len(errors) :]


# -- doctor ------------------------------------------------------------------------------------------------------------


def healthy(_args: Mapping[str, Any]) -> Answer:
    return {"findings": [to_json(Finding("ok", "kvm", "usable"))]}


def all_healthy(lab: FakeLab) -> None:
    for machine in lab.machines.values():
        machine.asks["doctor"] = healthy


def test_the_doctor_of_healthy_machines_is_content(lab: FakeLab) -> None:
    all_healthy(lab)
    assert doctor(which(lab), as_json=False, everything=False) == 0


def test_a_machine_that_does_not_answer_the_doctor_is_a_finding_and_exit_5(
    lab: FakeLab, capsys: pytest.CaptureFixture[str]
) -> None:
    all_healthy(lab)
    unreachable(lab, "lab2")
    assert doctor(which(lab), as_json=True, everything=False) == 5
    told = json.loads(capsys.readouterr().out)
    assert told["exit_code"] == 5
    assert [finding["value"] for finding in told["hosts"]["lab2"]] == [NO_ROUTE]
    assert told["hosts"]["lab1"][0]["severity"] == "ok"


def test_no_machine_that_answers_is_still_a_table_of_the_doctor(
    lab: FakeLab, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in lab.machines:
        unreachable(lab, name)
    assert doctor(which(lab), as_json=False, everything=False) == 5
    assert NO_ROUTE in capsys.readouterr().out


def test_a_wrong_file_of_one_machine_does_not_hide_the_findings_of_the_others(
    lab: FakeLab, capsys: pytest.CaptureFixture[str]
) -> None:
    all_healthy(lab)
    lab["lab1"].asks["doctor"] = InputError("not a kernel", "kernel")
    assert doctor(which(lab), as_json=True, everything=False) == 2
    told = json.loads(capsys.readouterr().out)
    assert "hosts.0.kernel: not a kernel" in told["hosts"]["lab1"][0]["value"]
    assert told["hosts"]["lab2"][0]["value"] == "usable"


def test_a_wrong_file_of_the_only_machine_is_shown_at_its_line(lab: FakeLab) -> None:
    lab["lab1"].asks["doctor"] = InputError("not a kernel", "kernel")
    with pytest.raises(InputError, match=r"hosts\.yaml:\d+: hosts\.0\.kernel: not a kernel"):
        doctor(which(lab, "lab1"), as_json=False, everything=False)


def test_ctrl_c_in_the_doctor_waits_for_its_answer_and_leaves_nothing(lab: FakeLab) -> None:
    answered = threading.Event()
    lab["lab1"].asks["doctor"] = lambda _args: {"findings": []} if answered.wait(5) else {}

    def asked() -> None:
        lab["lab1"].seen("ask doctor")
        threading.Timer(0.3, answered.set).start()

    ctrl_c(asked)
    with pytest.raises(KeyboardInterrupt):
        doctor(which(lab, "lab1"), as_json=False, everything=False)
    assert lab.at_peace()


# -- tune --------------------------------------------------------------------------------------------------------------


def tuned(*settings: Setting) -> dict[str, Any]:
    return {"settings": [to_json(one) for one in settings], "journal": [], "problems": [], "second_opinion": []}


REFUSED = Setting("governor", "/sys/g", "powersave", "performance", "powersave", "refused", "Read-only file system")


def all_tuned(lab: FakeLab) -> None:
    for machine in lab.machines.values():
        machine.asks["tune"] = tuned(REFUSED)


def test_a_setting_that_could_not_be_touched_is_said_and_is_no_failure(
    lab: FakeLab, capsys: pytest.CaptureFixture[str]
) -> None:
    all_tuned(lab)
    tune(which(lab), "apply", (), as_json=False)
    assert capsys.readouterr().out.count("Read-only file system") == 3


def test_a_machine_that_cannot_be_tuned_is_beside_the_others_and_exit_5(
    lab: FakeLab, capsys: pytest.CaptureFixture[str]
) -> None:
    all_tuned(lab)
    lab["lab3"].asks["tune"] = LabError("", "held by ann")
    with pytest.raises(LabError, match="host lab3: held by ann") as caught:
        tune(which(lab), "apply", (), as_json=True)
    assert caught.value.exit_code == 5
    told = json.loads(capsys.readouterr().out)
    assert told["hosts"]["lab1"]["settings"][0]["state"] == "refused"
    assert "held by ann" in told["hosts"]["lab3"]["error"]


@pytest.mark.parametrize("action", ["show", "apply", "restore"])
def test_a_name_that_is_no_setting_is_refused_before_any_machine_is_contacted(
    lab: FakeLab, action: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match=r"--only: unknown setting 'govenor'; did you mean 'governor'\?"):
        tune(which(lab), action, ("govenor", "ksm"), as_json=False)
    assert [machine.requests for machine in lab.machines.values()] == [[], [], []]
    assert main(["tune", action, "--only", "govenor"]) == 2
    assert "governor" in capsys.readouterr().err


# -- what is said ------------------------------------------------------------------------------------------------------


class Pieces(io.StringIO):
    """Remembers every write by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[str] = []

    def write(self, text: str) -> int:
        self.written.append(text)
        return len(text)


def test_a_message_is_written_in_one_piece_whatever_its_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = Pieces()
    monkeypatch.setattr(sys, "stderr", pieces)
    say("host lab1: no route\n  | ssh: …")
    assert pieces.written == ["bench: host lab1: no route\n  | ssh: …\n"]
