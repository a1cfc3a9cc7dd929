"""Arms with files of their own: looked up on the host before anything boots, kept with its answer, skipped alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from commands_lab import Here, quicken
from fake_lab import RESOLVED, Answer, FakeLab, Talk, well

from bench.errors import InputError, MissingError
from bench.wire.job import Job
from bench.wire.record import End, Hello

NAMED_ARM = "arms: [none, {name: newer, kernel: named:backports}]"
FILES = {"qemu": "/usr/bin/qemu-system-x86_64", "modules": "/m", "image": "/i"}


@pytest.fixture
def here(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Here:
    """One machine, and a plan with an arm that names a kernel."""
    quicken(monkeypatch, built)
    monkeypatch.chdir(tmp_path)
    made = Here(FakeLab("lab1"), tmp_path)
    plan = Path("plan.yaml")
    plan.write_text(plan.read_text().replace("arms: [none, reporting]", NAMED_ARM))
    return made


def on_arms(answer: Answer) -> Any:
    """The answer to the arm's question; the host's own is the usual one."""
    return lambda args: answer if args["kernel"] else dict(RESOLVED)


def skipped(talk: Talk, job: Job) -> None:
    """As a host side does that does not find what the job names."""
    talk.say(Hello(7, {}), End("skipped", "kernel named:backports is not on this host"))
    talk.over()


def test_what_an_arm_names_is_looked_up_on_the_host_and_kept_with_its_answer(here: Here) -> None:
    asked: list[str] = []

    def resolve(args: Mapping[str, Any]) -> dict[str, Any]:
        asked.append(args["kernel"])
        kernel = "/cache/named/backports/vmlinuz" if args["kernel"] else "/own"
        return {**RESOLVED, "paths": {**FILES, "kernel": kernel}, "guest_kernel": "6.12"}

    jobs: list[Job] = []

    def boot(talk: Talk, job: Job) -> None:
        jobs.append(job)
        well(talk, job)

    here.lab["lab1"].asks["resolve"] = resolve
    here.lab["lab1"].boots = dict.fromkeys(("lab1.cycle.b001.none", "lab1.cycle.b001.newer"), boot)
    here.run()
    assert asked == ["", "named:backports"]
    answer = here.folder.host("lab1")
    assert answer is not None
    assert answer["arms"] == {
        "newer": {
            "paths": {**FILES, "kernel": "/cache/named/backports/vmlinuz"},
            "qemu_version": "7.2",
            "guest_kernel": "6.12",
        }
    }
    assert {job.arm.kernel: job.paths.kernel for job in jobs} == {
        "": "/own",
        "named:backports": "/cache/named/backports/vmlinuz",
    }


def test_what_a_host_lacks_by_name_is_said_before_and_skips_only_its_arm(
    here: Here, capsys: pytest.CaptureFixture[str]
) -> None:
    lacks = MissingError("kernel named:backports is not on this host", "bench prepare --backports")
    here.lab["lab1"].asks["resolve"] = on_arms(lacks)
    here.lab["lab1"].boots["lab1.cycle.b001.newer"] = skipped
    here.run()
    assert "arm newer will be skipped: host lab1: kernel named:backports" in capsys.readouterr().err
    answer = here.folder.host("lab1")
    assert answer is not None
    assert "bench prepare --backports" in answer["arms"]["newer"]["lacks"]
    assert here.boots() == {"lab1.cycle.b001.none": "ok", "lab1.cycle.b001.newer": "skipped"}


def test_a_path_that_is_missing_on_the_host_ends_it_before_the_first_boot(here: Here) -> None:
    plan = Path("plan.yaml")
    plan.write_text(plan.read_text().replace("named:backports", "/k"))
    wrong = InputError("/k is not there; name a kernel path on the host", "kernel")
    here.lab["lab1"].asks["resolve"] = on_arms(wrong)
    with pytest.raises(InputError, match=r"plan\.yaml:4: arms\.1\.kernel: /k is not there"):
        here.run()
    assert not here.out.exists()
