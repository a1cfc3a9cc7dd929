"""`bench run` as people use it: real processes, real guests, killed at bad moments and finished afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from benchlab import bench, boots, finished, host_sides, parent_of, qemus
from waiting import wait_for

pytestmark = [pytest.mark.guest, pytest.mark.processes]

PLAN = """\
name: short
question: Does it survive?
reference: none
arms: [none, reporting]
blocks: 2
min_blocks: 2
workloads:
  - {workload: cycle, touch: 20%, drain_min_s: 1, settle_min_s: 6, window_s: 6, hold_s: 0.2}
guest: {memory: 512M}
quiet: {busy: null, load: null, pressure: null, swap: null}
metrics:
  residual_bytes: {margin: 5%}
"""
NO_ORPHAN_S = 5.0


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was broken three times, and resumed until it was whole: the story of the tests below."""
    cwd = tmp_path_factory.mktemp("run")
    (cwd / "plan.yaml").write_text(PLAN)
    folder = cwd / "out"

    # kill -9 of the controller, in the second boot
    controller = bench("run", "plan.yaml", "--seed", "1", "--out", "out", cwd=cwd)
    wait_for(lambda: len(boots(folder)) == 1 and qemus(), 120, "the second boot")
    os.kill(controller.pid, signal.SIGKILL)
    controller.communicate()
    wait_for(lambda: not qemus() and not host_sides(), NO_ORPHAN_S, "no QEMU after kill -9 of the controller")
    (cwd / "first").write_bytes((folder / "boots.jsonl").read_bytes())

    # kill -9 of the host side: that boot fails, is tried again, and the run goes on; then Ctrl-C
    controller = bench("run", "--resume", "out", cwd=cwd)
    wait_for(qemus, 120, "a guest of the resumed run")
    os.kill(parent_of(qemus()[0]), signal.SIGKILL)
    wait_for(lambda: [boot for boot in boots(folder) if boot["status"] == "failed"], NO_ORPHAN_S, "a failed boot")
    wait_for(lambda: len(boots(folder)) == 3 and qemus(), 120, "the boot after the retry")
    os.kill(controller.pid, signal.SIGINT)
    (cwd / "interrupted").write_text(json.dumps(finished(controller)))
    wait_for(lambda: not qemus(), NO_ORPHAN_S, "no QEMU after Ctrl-C")

    # kill -9 of QEMU: tried again, and the run ends well
    controller = bench("run", "--resume", "out", cwd=cwd)
    os.kill(wait_for(qemus, 120, "a guest")[0], signal.SIGKILL)
    (cwd / "last").write_text(json.dumps(finished(controller)))
    return folder


def test_finished_boots_are_unchanged_byte_for_byte(run: Path) -> None:
    first = (run.parent / "first").read_bytes()
    assert first
    assert (run / "boots.jsonl").read_bytes().startswith(first)


def test_an_interrupted_run_exits_with_130_and_is_a_valid_partial_run(run: Path) -> None:
    code, out, err = json.loads((run.parent / "interrupted").read_text())
    assert code == 130, err
    assert out.splitlines()[-1] == "out"
    assert "--resume out" in err


def test_the_resumed_run_is_whole_and_exits_with_0(run: Path) -> None:
    code, out, err = json.loads((run.parent / "last").read_text())
    assert code == 0, err
    assert out.splitlines()[-1] == "out"
    ok = {(boot["block"], boot["arm"]) for boot in boots(run) if boot["status"] == "ok"}
    assert ok == {(block, arm) for block in (1, 2) for arm in ("none", "reporting")}
    failed = [boot for boot in boots(run) if boot["status"] == "failed"]
    assert len(failed) == 2
    assert any("status -9" in boot["reason"] for boot in failed), [boot["reason"] for boot in failed]


def test_the_verdict_on_residency_is_better_with_its_interval(run: Path) -> None:
    analysis = json.loads((run / "analysis.json").read_text())
    assert analysis["verdict"]["metric"] == "residual_bytes"
    (residual,) = [row for row in analysis["cells"][0]["metrics"] if row["metric"] == "residual_bytes"]
    assert residual["effect"] < 1
    assert residual["low"] < residual["effect"] < residual["high"]
    assert residual["verdict"] in ("better", "undecided"), residual  # two blocks: the interval may be too wide


def test_the_page_and_the_manifest_are_there(run: Path) -> None:
    page = (run / "report.html").read_text()
    assert page.count("<script") == 1, "what a guest says is text"
    assert "http://www.w3.org" in page or "<svg" in page
    manifest = json.loads((run / "manifest.json").read_text())
    assert {"boots.jsonl", "analysis.json", "report.html", "run.json"} <= set(manifest["files"])


@pytest.mark.parametrize("command", [["stats"], ["check"], ["hist"]])
def test_pyperf_reads_the_full_files(run: Path, command: list[str]) -> None:
    for arm in ("none", "reporting"):
        argv = [sys.executable, "-m", "pyperf", *command, str(run / f"pyperf/local.{arm}.json")]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "cycle.residual_bytes" in done.stdout


def test_pyperf_compares_the_boot_files(run: Path) -> None:
    files = [str(run / f"pyperf/local.{arm}.boot.json") for arm in ("none", "reporting")]
    argv = [sys.executable, "-m", "pyperf", "compare_to", "--table", *files]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "cycle.residual_bytes" in done.stdout


def test_a_run_whose_discards_cannot_happen_exits_with_4(tmp_path: Path) -> None:
    plan = PLAN.replace("arms: [none, reporting]", "arms: [none, {name: locked, like: reporting, mem_lock: true}]")
    plan = plan.replace("blocks: 2\nmin_blocks: 2", "blocks: 1\nmin_blocks: 1")
    (tmp_path / "plan.yaml").write_text(plan)
    code, out, err = finished(bench("run", "plan.yaml", "--out", "out", cwd=tmp_path))
    assert code == 4, err
    assert "mechanism not seen" in err
    assert boots(tmp_path / "out")
    assert out.splitlines()[-1] == "out"
