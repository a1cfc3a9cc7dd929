"""`bench gate RUN` as a process: every exit code, the files that it leaves, and fresh boots, which are used again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import forked
import pytest
from gate_runs import PLAN, boots, facts, gate_of, read, write_folder

from bench.command_line.judging import FORMS as CHOICES
from bench.commands.gate import FORMS, Asked, gate
from bench.errors import InputError, RegressionError

pytestmark = pytest.mark.once
UNREACHABLE = "hosts:\n  - name: lab-1\n    address: 127.0.0.1\n    port: 1\n    user: nobody\n"


def bench(*words: object) -> subprocess.CompletedProcess[str]:
    return forked.run("gate", *words)


def made(path: Path, lines: Sequence[dict[str, Any]] | None = None, again: Any = None, **asked: Any) -> Path:
    about = facts(gate=gate_of(**asked))
    write_folder(path / "run", boots() if lines is None else lines, about)
    if again is not None:
        write_folder(path / "run/confirmation", again, {**about, "seed": 2}).seal()
    return path / "run"


def test_0_and_every_file_that_ci_reads(tmp_path: Path) -> None:
    run = made(tmp_path)
    done = bench(run)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("pass: no regression was found (2 blocking comparisons, 1 host, plan quick)")
    assert read(run)["verdict"] == "pass"
    left = {path.name for path in run.iterdir() if path.name.startswith("gate.")}
    assert left == {"gate.json", "gate.junit.xml", "gate.md", "gate.txt", "gate.codequality.json"}
    assert "gate.json" in json.loads((run / "manifest.json").read_text())["files"]
    assert "no regression was found" in (run / "report.html").read_text()


def test_1_when_fresh_boots_say_so_too_and_they_are_not_measured_a_second_time(tmp_path: Path) -> None:
    run = made(tmp_path, boots(refault=1.3), boots(refault=1.3, seed=8))
    done = bench(run)
    assert done.returncode == 1, done.stderr
    assert "bench: regression: worse, and worse again with fresh boots" in done.stderr
    assert "confirmed: refault_s_per_gib" in done.stdout
    assert isinstance(gate(run, Asked())[1], RegressionError), "the second time by the same boots"


def test_2_for_no_run_and_for_a_quarantine_that_has_expired(tmp_path: Path) -> None:
    assert bench(tmp_path / "nothing").returncode == 2
    held = {"metric": "refault_*", "cell": "*", "arm": "*", "reason": "noise", "owner": "ann", "until": "2020-01-01"}
    run = made(tmp_path, quarantine=[held])
    plan = PLAN.replace("gate: {rules", "gate: {quarantine: [{metric: 'refault_*', reason: noise, owner: ann, until: "
                        "2020-01-01}], rules")  # fmt: skip
    (run / "plan.yaml").write_text(plan)
    done = bench(run)
    assert done.returncode == 2
    assert "plan.yaml:6: gate.quarantine.0.until: expired on 2020-01-01 (refault_*, ann: noise); remove" in done.stderr


def test_3_for_what_is_worse_and_was_not_measured_again(tmp_path: Path) -> None:
    done = bench(made(tmp_path, boots(refault=1.3)), "--no-confirm")
    assert done.returncode == 3
    assert "unconfirmed: worse, but not measured again" in done.stderr


def test_3_for_undecided_where_the_caller_wants_that(tmp_path: Path) -> None:
    run = made(tmp_path, boots(refault=1.06, sd=0.08))
    assert gate(run, Asked())[1] is None
    assert bench(run, "--on-undecided", "fail").returncode == 3
    assert read(run)["on_undecided"] == "fail"


def test_4_for_a_run_that_cannot_be_believed_and_nothing_is_booted_for_it(tmp_path: Path) -> None:
    lines = boots(refault=1.5)
    lines[0] |= {"status": "invalid", "reason": "mechanism not seen: reporting was not negotiated"}
    run = made(tmp_path, lines)
    done = bench(run)
    assert done.returncode == 4
    assert "mechanism not seen" in done.stdout
    assert not (run / "confirmation").exists()


def test_5_where_no_fresh_boots_can_be_had_and_what_is_known_is_told(tmp_path: Path) -> None:
    run = made(tmp_path, boots(refault=1.3))
    (run / "hosts.yaml").write_text(UNREACHABLE)
    done = bench(run)
    assert done.returncode == 5, done.stderr
    assert read(run)["verdict"] == "unconfirmed"


def test_130_when_it_is_interrupted_while_it_measures_again(tmp_path: Path) -> None:
    run = made(tmp_path, boots(refault=1.3))
    with forked.Bench("gate", run) as process:
        seen = ""
        while "measuring it again" not in seen:
            line = process.stderr.readline()
            assert line, seen
            seen += line
        time.sleep(0.2)
        os.kill(process.pid, signal.SIGINT)
        process.stderr.read()
        assert process.wait(60) == 130
    assert read(run)["verdict"] == "unconfirmed"


@pytest.mark.parametrize(("form", "start"), [
    ("text", "pass: "), ("mail", "pass: "), ("markdown", "### bench gate: pass"), ("json", "{"),
    ("junit", "<testsuites>"), ("github", "::notice title=bench gate::pass"), ("gitlab", "["),
])  # fmt: skip
def test_every_form_that_can_be_asked_for_is_one_that_there_is(tmp_path: Path, form: str, start: str) -> None:
    text, error = gate(made(tmp_path), Asked(form=form))
    assert error is None
    assert text.startswith(start)
    assert set(CHOICES) == set(FORMS)


def test_a_gate_that_is_told_from_another_folder_says_the_same(tmp_path: Path) -> None:
    run = made(tmp_path)
    gate(run, Asked())
    before = (run / "gate.json").read_bytes()
    shutil.copytree(run, tmp_path / "copy/run")
    gate(tmp_path / "copy/run", Asked())
    assert (tmp_path / "copy/run/gate.json").read_bytes() == before


def test_the_page_shows_the_gate_with_its_rows_and_controls_and_the_floor_of_the_host(tmp_path: Path) -> None:
    run = made(tmp_path, boots(refault=1.3), boots(refault=1.3, seed=8))
    figures = {"kind": "ratio", "unit": "byte", "n": 12, "sd": 0.21, "sure": 0.25, "blocks": {}, "margin": 0.05,
               "blocks_for_margin": None, "least_margin": 0.3}  # fmt: skip
    floor = {"local": {"when": "2026-02-01", "run": "aa", "cells": {"cycle": {"residual_bytes": figures}}}}
    (run / "floors.json").write_text(json.dumps(floor))
    gate(run, Asked())
    page = (run / "report.html").read_text()
    section = page[page.index('<section id="gate">') :].partition("</section>")[0]
    assert "confirmed" in section
    assert "NOT GATEABLE HERE" in section
    assert "Measured again with seed 2, in run/confirmation." in section
    assert section.count(">seen</span>") == 2
    assert "Noise floor of the hosts" in page
    assert "<td>21 %</td><td>25 %</td><td>30 %</td>" in page


def test_a_quarantine_that_has_expired_is_an_error_without_its_plan_too(tmp_path: Path) -> None:
    held = {"metric": "refault_*", "cell": "*", "arm": "*", "reason": "noise", "owner": "ann", "until": "2020-01-01"}
    run = made(tmp_path, quarantine=[held])
    (run / "plan.yaml").unlink()
    with pytest.raises(InputError, match="a quarantine of its gate has expired"):
        gate(run, Asked())
