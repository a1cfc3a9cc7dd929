"""docs/metrics.md says what the program does: its table is METRICS, its series are those written and read."""

from __future__ import annotations

import re
from pathlib import Path

from bench.analysis import conditions, values
from bench.host.readers import MEMINFO_NAMES, STATUS_NAMES, VMSTAT_NAMES
from bench.wire.metrics import METRICS
from bench.wire.units import show

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


def table(first_column: str) -> list[list[str]]:
    """Rows of the page's table whose head starts with `first_column`."""
    lines = PAGE.read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {first_column} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def quoted(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def documented_series() -> set[str]:
    return {f"{source}.{name}" for row in table("source") for source in quoted(row[0]) for name in quoted(row[1])}


def test_the_table_of_metrics_is_that_of_the_program() -> None:
    expected = [
        [
            f"`{metric.name}`{' †' if metric.time_like else ''}",
            metric.unit,
            metric.direction,
            metric.kind,
            show(metric.resolution, metric.unit) if metric.resolution else "–",
            metric.definition,
        ]
        for metric in METRICS.values()
    ]
    assert table("metric | unit | direction | kind | resolution | definition") == expected


def test_every_metric_says_where_it_comes_from_once() -> None:
    rows = table("metric | source")
    assert sorted(name for row in rows for name in quoted(row[0])) == sorted(METRICS)
    assert all(len(row[1]) > 20 for row in rows)


def test_every_series_that_is_read_or_sampled_is_documented() -> None:
    sampled = {f"qemu.{name}" for name in STATUS_NAMES.values()} | {f"vmstat.{name}" for name in VMSTAT_NAMES}
    sampled |= {f"meminfo.{name if name.startswith('HugePages') else name + '_bytes'}" for name in MEMINFO_NAMES}
    used = {values.RAM, values.DISCARD, *values.CPU, conditions.FAILED_DISCARD}
    assert sampled | used <= documented_series()


def test_no_series_is_documented_that_the_readers_do_not_know() -> None:
    by_table = {name for name in documented_series() if name.split(".")[0] in ("vmstat", "meminfo")}
    known = {f"vmstat.{name}" for name in VMSTAT_NAMES} | {f"meminfo.{name}" for name in MEMINFO_NAMES}
    known |= {f"meminfo.{name}_bytes" for name in MEMINFO_NAMES}
    assert by_table <= known


def test_the_limits_named_on_the_page_are_those_of_the_program() -> None:
    text = PAGE.read_text()
    assert f"at least {values.LEAST_RETURNED_BYTES // 2**20} MiB" in text
    assert f"at least {values.LEAST_RETURNED_SHARE:.0%} of the freed".replace("%", " %") in text
    assert values.PLATEAU_SHARE == 1 / 5
    assert "last fifth" in text
