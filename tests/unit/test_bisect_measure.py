"""A build measured against the good one, over a machine that is scripted: what is its fault, and what the lab's."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from bisectlab import asked_for
from boot_records import failed_boot
from commands_lab import Here, quicken
from fake_lab import RESOLVED, Answer, FakeLab, Talk

from bench.commands import running
from bench.commands.bisect_measure import Measured, judged, measured, only_the_head_failed
from bench.errors import InputError, LabError
from bench.wire.job import Job

SHORT = ("blocks=2", "min_blocks=2", "retries=0")


@pytest.fixture
def here(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Here:
    """One machine."""
    quicken(monkeypatch, built)
    monkeypatch.chdir(tmp_path)
    made = Here(FakeLab("lab1"), tmp_path)
    monkeypatch.setattr(running, "How", functools.partial(running.How, connect=made.lab.connect))
    return made


def measure(here: Here, **changes: Any) -> Measured:
    folder = here.out.parent
    plain: dict[str, Any] = {"plan": str(folder / "plan.yaml"), "host": "lab1", "folder": str(folder), "blocks": 2}
    asked = asked_for(**(plain | {"sets": SHORT, "margin": 0.05} | changes))
    return measured(asked, Path("/good"), Path("/tree"), here.out, False)


def failing(talk: Talk, job: Job) -> None:
    talk.say(*failed_boot(job))
    talk.over()


def answer_to(qemu: str, answer: Answer) -> Any:
    """The answer where this QEMU is asked about; else the usual one."""

    def resolve(args: Mapping[str, Any]) -> Answer:
        return answer if args["qemu"] == qemu else dict(RESOLVED)

    return resolve


def test_only_the_two_builds_are_booted_and_equal_ones_are_equivalent(here: Here, tmp_path: Path) -> None:
    found = measure(here)
    assert (found.verdict, found.effect, found.blocks) == ("equivalent", 1.0, 2)
    arms = {boot.rpartition(".")[2] for boot in here.boots()}
    assert arms == {"base-reporting", "head-reporting"}
    assert list(here.folder.run["metrics"]) == ["residual_bytes"]


def test_a_head_whose_guests_do_not_come_to_an_end_is_skipped_with_the_reason(here: Here) -> None:
    here.lab["lab1"].boots["lab1.cycle.b002.head-reporting"] = failing
    found = measure(here)
    assert (found.verdict, found.blocks) == ("skip", 0)
    assert "blocks are missing" in found.reason
    assert "lab1.cycle.b002.head-reporting: QEMU ended with status 1" in found.evidence[0]


def test_guests_of_both_that_come_to_no_end_are_the_labs_fault(here: Here) -> None:
    for side in ("base", "head"):
        here.lab["lab1"].boots[f"lab1.cycle.b002.{side}-reporting"] = failing
    with pytest.raises(LabError, match="blocks are missing"):
        measure(here)


def test_a_host_that_is_not_reached_is_the_labs_fault(here: Here) -> None:
    here.lab["lab1"].open = [LabError("lab1", "no route to host")]
    with pytest.raises(LabError, match="no route to host"):
        measure(here)


def test_a_qemu_that_does_not_run_is_the_commits_fault_and_one_of_the_good_build_is_not(here: Here) -> None:
    wrong = InputError("/tree/q is no QEMU that runs", "qemu")
    here.lab["lab1"].asks["resolve"] = answer_to("/tree/q", wrong)
    assert measure(here) == Measured("skip", reason="--head-qemu: /tree/q is no QEMU that runs")
    here.lab["lab1"].asks["resolve"] = answer_to("/good/q", wrong)
    with pytest.raises(InputError, match="--base-qemu"):
        measure(here)


def test_what_is_wrong_in_the_plan_is_not_the_commits_fault(here: Here) -> None:
    with pytest.raises(InputError, match=r"--set guest\.memory"):
        measure(here, sets=("guest.memory=lots",))


def analysis(**changes: Any) -> dict[str, Any]:
    row = {"metric": "residual_bytes", "verdict": "worse", "effect": 1.2, "low": 1.1, "high": 1.3, "n": 3, "why": "so"}
    pair = {"host": "local", "cell": "cycle", "arm": "head-reporting", "metrics": [row]}
    return {"cells": [{**pair, **changes}], "skipped": []}


def test_the_verdict_is_the_heads_on_the_metric() -> None:
    found = judged(analysis(), asked_for())
    assert (found.verdict, found.effect, found.blocks, found.reason) == ("worse", 1.2, 3, "so")
    assert judged(analysis(arm="head-none"), asked_for()).verdict == "invalid"
    assert judged({"cells": [], "skipped": []}, asked_for()).reason == "no boot has a value of residual_bytes"
    skipped = [{"arm": "head-reporting", "reason": "no DAMON"}, {"arm": "base-reporting", "reason": "no QEMU"}]
    assert judged({"cells": [], "skipped": skipped}, asked_for()).reason == "no DAMON"


@pytest.mark.parametrize(
    ("base", "head", "lost", "expected"),
    [
        ({1: "ok", 2: "ok"}, {1: "ok", 2: "failed"}, False, True),
        ({1: "ok", 2: "ok"}, {1: "failed", 2: "failed"}, False, True),
        ({1: "ok", 2: "invalid"}, {1: "ok", 2: "failed"}, False, True),
        ({1: "ok", 2: "failed"}, {1: "ok", 2: "failed"}, False, False),
        ({1: "failed", 2: "ok"}, {1: "ok", 2: "failed"}, False, False),
        ({1: "ok", 2: "ok"}, {1: "ok", 2: "failed"}, True, False),
    ],
)
def test_a_lab_is_not_to_blame_for_what_only_the_head_did(
    tmp_path: Path, base: dict[int, str], head: dict[int, str], lost: bool, expected: bool
) -> None:
    assert not only_the_head_failed(tmp_path / "none", "reporting")
    for name in ("run.json", "analysis.json"):
        (tmp_path / name).write_text("{}")
    boots = [
        {"arm": f"{side}-reporting", "block": block, "status": status}
        for side, statuses in (("base", base), ("head", head))
        for block, status in statuses.items()
    ]
    (tmp_path / "boots.jsonl").write_text("".join(json.dumps(boot) + "\n" for boot in boots))
    (tmp_path / "events.jsonl").write_text(json.dumps({"event": "lost" if lost else "held"}) + "\n")
    assert only_the_head_failed(tmp_path, "reporting") is expected
