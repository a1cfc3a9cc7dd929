"""pyperf files: read back through pyperf's API, and given to its commands as real processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyperf
import pytest
from synthetic_run import WINDOW_S, Boot, Shape, write_run

from bench.controller.export import export_pyperf


def pyperf_command(*arguments: str | Path) -> str:
    """What `python -m pyperf …` prints; it must succeed and say nothing on stderr."""
    done = subprocess.run([sys.executable, "-m", "pyperf", *map(str, arguments)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = write_run(tmp_path_factory.mktemp("run") / "quick", Shape(warmups=1))
    export_pyperf(run)
    return run


def suite(run: Path, name: str) -> pyperf.BenchmarkSuite:
    return pyperf.BenchmarkSuite.load(str(run / "pyperf" / name))


def test_two_files_an_arm_are_written_and_nothing_else(exported: Path) -> None:
    names = sorted(path.name for path in (exported / "pyperf").iterdir())
    assert names == ["local.none.boot.json", "local.none.json", "local.reporting.boot.json", "local.reporting.json"]


def test_a_run_is_a_boot_with_its_iterations_as_values_and_its_warmups(exported: Path) -> None:
    benchmark = suite(exported, "local.reporting.json").get_benchmark("cycle.residual_bytes")
    boots = [json.loads(line) for line in (exported / "boots.jsonl").read_text().splitlines()]
    expected = {boot["boot"]: boot for boot in boots if boot["arm"] == "reporting"}
    assert benchmark.get_unit() == "byte"
    assert len(benchmark.get_runs()) == 3
    for run in benchmark.get_runs():
        boot = expected[run.get_metadata()["boot"]]
        assert list(run.values) == boot["values"]["residual_bytes"]
        assert [value for _, value in run.warmups] == boot["warmups"]["residual_bytes"]


def test_metadata_say_where_a_value_comes_from_and_nothing_of_this_process(exported: Path) -> None:
    run = suite(exported, "local.none.json").get_benchmark("cycle.residual_bytes").get_runs()[0]
    metadata = run.get_metadata()
    assert metadata["accel"] == "tcg"
    assert metadata["block"] == 1
    assert metadata["guest_kernel"] == "6.1.0-56-cloud-amd64"
    assert not {"python_version", "cpu_model_name", "platform"} & set(metadata)


def test_only_what_is_lower_better_and_above_zero_is_exported(exported: Path) -> None:
    none = suite(exported, "local.none.json").get_benchmark_names()
    reporting = suite(exported, "local.reporting.json").get_benchmark_names()
    assert {"cycle.residual_bytes", "cycle.refault_p999_s", "cycle.qemu_cpu_s"} <= set(none) & set(reporting)
    assert "cycle.t90_s" in reporting
    assert "cycle.t90_s" not in none
    assert not {"cycle.returned_bytes", "cycle.returned_share", "cycle.discarded_bytes"} & set(reporting)


def test_the_footprint_is_the_mean_residency_over_the_window(exported: Path) -> None:
    benchmark = suite(exported, "local.none.boot.json").get_benchmark("cycle.footprint_mean_bytes")
    boot = json.loads((exported / "boots.jsonl").read_text().splitlines()[0])
    assert boot["arm"] == "none"
    areas = boot["values"]["footprint_byte_s"]
    assert benchmark.get_values()[0] == pytest.approx(sum(areas) / len(areas) / WINDOW_S)


def test_boot_files_hold_one_value_a_boot_of_complete_blocks_only(tmp_path: Path) -> None:
    def fail_one(boot: Boot) -> Boot:
        return boot | {"status": "failed"} if (boot["arm"], boot["block"]) == ("none", 2) else boot

    run = write_run(tmp_path / "run", Shape(edit=fail_one))
    export_pyperf(run)
    for arm, full in (("none", 2), ("reporting", 3)):
        assert len(suite(run, f"local.{arm}.json").get_benchmark("cycle.residual_bytes").get_runs()) == full
        paired = suite(run, f"local.{arm}.boot.json").get_benchmark("cycle.residual_bytes")
        assert [one.get_metadata()["block"] for one in paired.get_runs()] == [1, 3]
        assert len(paired.get_values()) == 2


def test_a_metric_missing_in_one_block_leaves_that_block_out_in_both_arms(tmp_path: Path) -> None:
    def lose_one(boot: Boot) -> Boot:
        if (boot["arm"], boot["block"]) == ("reporting", 2):
            boot["values"]["refault_s_per_gib"] = [None, float("inf")]
        return boot

    run = write_run(tmp_path / "run", Shape(edit=lose_one))
    export_pyperf(run)
    for arm in ("none", "reporting"):
        runs = suite(run, f"local.{arm}.boot.json").get_benchmark("cycle.refault_s_per_gib").get_runs()
        assert [one.get_metadata()["block"] for one in runs] == [1, 3]


def test_the_last_usable_attempt_of_a_block_counts(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    lines = (run / "boots.jsonl").read_text().splitlines()
    again = json.loads(lines[0]) | {"attempt": 2}
    again["values"] = {"residual_bytes": [123.0]}
    (run / "boots.jsonl").write_text("\n".join([*lines, json.dumps(again), '{"boot": "half']) + "\n")
    export_pyperf(run)
    assert 123.0 in suite(run, f"local.{again['arm']}.json").get_benchmark("cycle.residual_bytes").get_values()


def test_a_run_without_a_usable_boot_writes_no_file(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", Shape(edit=lambda boot: boot | {"status": "failed", "values": {}}))
    assert export_pyperf(run) == []


def test_names_that_are_no_file_names_stay_inside_the_folder(tmp_path: Path) -> None:
    def rename(boot: Boot) -> Boot:
        return boot | {"host": "../../up/host\n", "boot": "a\nb\ud800", "started": "yesterday"}

    run = write_run(tmp_path / "run", Shape(edit=rename))
    paths = export_pyperf(run)
    assert len(paths) == 4
    assert {path.parent for path in paths} == {run / "pyperf"}
    assert "Number of run" in pyperf_command("stats", paths[0])


@pytest.mark.parametrize("command", ["check", "stats", "hist", "show", "metadata"])
@pytest.mark.parametrize("name", ["local.none.json", "local.reporting.json", "local.reporting.boot.json"])
def test_pyperf_accepts_the_files(exported: Path, command: str, name: str) -> None:
    assert pyperf_command(command, exported / "pyperf" / name).strip()


def test_stats_adds_up_the_durations_of_boots_and_not_their_bytes(exported: Path) -> None:
    first = pyperf_command("stats", exported / "pyperf" / "local.none.json").split("cycle.residual_bytes", 1)[1]
    total = next(line for line in first.splitlines() if line.startswith("Total duration"))
    assert " hour" not in total
    assert " day" not in total


def test_compare_to_on_the_boot_files_prints_a_table(exported: Path) -> None:
    folder = exported / "pyperf"
    table = pyperf_command(
        "compare_to", folder / "local.none.boot.json", folder / "local.reporting.boot.json", "--table"
    )
    row = next(line for line in table.splitlines() if "cycle.residual_bytes" in line)
    assert "faster" in row
    assert "MiB" in row


def test_a_single_block_is_accepted_too(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", Shape(blocks=1, iterations=1))
    export_pyperf(run)
    folder = run / "pyperf"
    for command in ("check", "stats", "hist"):
        pyperf_command(command, folder / "local.reporting.json")
    pyperf_command("compare_to", folder / "local.none.boot.json", folder / "local.reporting.boot.json", "--table")


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", Shape(blocks=1))
    before = [path.read_bytes() for path in export_pyperf(run)]
    assert [path.read_bytes() for path in export_pyperf(run)] == before
