"""`bench history`: runs of one plan in the order of time, as a table and as a CSV of effects."""

from __future__ import annotations

import csv
import functools
import io
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from synthetic_run import Shape, edit_json, write_run

from bench.analysis.history import Dated, rows, terminal
from bench.cli import cli
from bench.commands.reporting import history
from bench.errors import InputError, InvalidError

pytestmark = pytest.mark.once


def _started(value: dict[str, Any], day: int) -> None:
    value["started"] = f"2026-02-0{day}T10:00:00+00:00"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three runs, named out of order; the second one has no refaults."""
    folder = tmp_path_factory.mktemp("runs")
    found = []
    for day, name in ((3, "c"), (1, "a"), (2, "b")):
        shape = Shape(blocks=3, seed=day)
        if name == "b":
            shape = Shape(blocks=3, seed=day, edit=lambda boot: {**boot, "values": {**boot["values"], "t90_s": None}})
        run = write_run(folder / name, shape)
        edit_json(run / "run.json", functools.partial(_started, day=day))
        found.append(run)
    return found


def test_the_table_has_the_runs_by_time_and_the_metrics_of_the_plan(runs: list[Path]) -> None:
    said = history(runs, (), "text")
    first = said.split("\n\n")[0].splitlines()
    assert first[0] == "local, cycle, reporting against none: residual_bytes"
    assert [line.split()[:2] for line in first[2:]] == [[f"2026-02-0{day}", "10:00"] for day in (1, 2, 3)]
    assert all(" better" in line for line in first[2:])
    assert "returned_share" in said
    assert "refault" not in said


def test_the_csv_has_a_line_a_run_and_effects_only(runs: list[Path]) -> None:
    lines = list(csv.DictReader(io.StringIO(history(runs, ("residual_*", "t90_s"), "csv"))))
    assert [line["run"] for line in lines] == ["a", "b", "c"]
    times = [datetime.fromisoformat(line["time"]) for line in lines]
    assert times == sorted(times)
    column = "local.cycle.reporting.residual_bytes"
    assert set(lines[0]) == {"time", "run", column}, "nothing returned in arm none: there is no effect on a time"
    assert all(0.2 < float(line[column]) < 0.8 for line in lines)


def test_runs_of_two_plans_and_unknown_metrics_are_refused(runs: list[Path], tmp_path: Path) -> None:
    other = write_run(tmp_path / "other")
    edit_json(other / "run.json", lambda value: value.update(plan="return"))
    with pytest.raises(InvalidError, match='plan: "quick"'):
        history([runs[0], other], (), "text")
    with pytest.raises(InputError, match="no such metric; see `bench list metrics`"):
        history(runs, ("nothing_*",), "text")


def test_the_command_prints_it(runs: list[Path]) -> None:
    said = CliRunner().invoke(cli, ["history", *map(str, runs), "--metric", "residual_bytes", "--format", "csv"])
    assert said.exit_code == 0
    assert said.stdout.startswith("time,run,local.cycle.reporting.residual_bytes\n2026-02-01T10:00:00+00:00,")


def test_runs_with_and_without_looks_say_their_own_level(runs: list[Path]) -> None:
    dated: list[Dated] = []
    for day, level in ((1, {}), (2, {"percent": 97.25})):
        analysis = json.loads((runs[0] / "analysis.json").read_text())
        for pair in analysis["cells"]:
            pair["metrics"] = [{**metric, **level} for metric in pair["metrics"]]
        dated.append(Dated(f"run-{day}", f"2026-02-0{day}T10:00:00+00:00", analysis))
    both, later = (terminal(rows(told, ("residual_bytes",))).splitlines() for told in (dated, dated[1:]))
    assert "% interval" not in both[1], "no level stands over intervals of two"
    assert ["(95 %)" in line for line in both[2:4]] == [True, False]
    assert ["(97.2 %)" in line for line in both[2:4]] == [False, True]
    assert "97.2 % interval" in later[1]
