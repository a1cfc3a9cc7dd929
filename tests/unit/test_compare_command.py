"""`bench compare RUN [RUN]` as a process: its formats and its exit codes."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import forked
import pytest
from synthetic_run import Shape, edit_json, write_run

pytestmark = pytest.mark.once

KNOWN = {"cpu_model": "AMD EPYC 7B13", "MemTotal_bytes": 8 * 2**30}


def recorded(boot: dict[str, Any]) -> dict[str, Any]:
    files = {"qemu_sha256": "11", "kernel_sha256": "22"}
    return {**boot, "files": files, "host_facts": {**boot["host_facts"], **KNOWN}}


SHAPE = Shape(blocks=4, edit=recorded)


def made(path: Path, shape: Shape) -> Path:
    root = write_run(path, shape)
    (root / "plan.yaml").write_text(f"name: quick\nseed: {shape.seed}\nsample_hz: 20.0\n")
    return root


@pytest.fixture(scope="module")
def then(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("runs") / "then", SHAPE)


@pytest.fixture(scope="module")
def now(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("runs") / "now", replace(SHAPE, seed=8))


def bench(*words: object) -> subprocess.CompletedProcess[str]:
    return forked.run("compare", *words)


@pytest.mark.parametrize("form", ["text", "markdown", "lkml", "json", "csv"])
def test_two_runs_are_compared_and_every_format_says_unpaired(then: Path, now: Path, form: str) -> None:
    done = bench(then, now, "--format", form)
    assert (done.returncode, done.stderr) == (0, "")
    assert "unpaired" in done.stdout
    assert "residual_bytes" in done.stdout.replace("\\", "")
    if form == "lkml":
        assert done.stdout.isascii()
        assert max(map(len, done.stdout.splitlines())) <= 75
    if form == "text":
        assert max(map(len, done.stdout.splitlines())) <= 120


def test_a_row_of_the_json_is_the_row_of_the_csv(then: Path, now: Path) -> None:
    rows = json.loads(bench(then, now, "--format", "json").stdout)["metrics"]
    lines = list(csv.DictReader(io.StringIO(bench(then, now, "--format", "csv").stdout)))
    assert [row["metric"] for row in rows] == [line["metric"] for line in lines]
    assert {row["arm"] for row in rows} == {"none", "reporting"}
    residual = next(line for line in lines if line["metric"] == "residual_bytes")
    assert residual["design"] == "unpaired"
    assert float(residual["detectable"]) > 1
    assert residual["verdict"] == "equivalent"


def test_one_run_has_a_csv_too(then: Path) -> None:
    lines = list(csv.DictReader(io.StringIO(bench(then, "--format", "csv").stdout)))
    residual = next(line for line in lines if line["metric"] == "residual_bytes")
    assert (residual["design"], residual["verdict"]) == ("paired", "better")
    assert float(residual["detectable"]) > 1


def test_runs_that_measured_something_else_are_refused_with_what_differs(then: Path, tmp_path: Path) -> None:
    other = made(tmp_path / "other", replace(SHAPE, accel="kvm"))
    (other / "plan.yaml").write_text("name: quick\nsample_hz: 10.0\n")
    edit_json(other / "run.json", lambda run: run["versions"].update({"fpr-bench": "2"}))
    done = bench(then, other)
    assert (done.returncode, done.stdout) == (4, "")
    for said in ("accelerator: tcg | kvm", "plan.yaml: sample_hz: 20.0 | 10.0", "suite: not recorded | 2"):
        assert said in done.stderr


def test_wrong_use_is_exit_2_with_what_would_be_right(then: Path, tmp_path: Path) -> None:
    for words, said in (
        ([], "name one, or two"),
        ([then, then, then], "name one, or two"),
        ([then, then], "the same run twice"),
        ([then, tmp_path], "no run folder"),
    ):
        done = bench(*words)
        assert (done.returncode, done.stdout) == (2, "")
        assert said in done.stderr
