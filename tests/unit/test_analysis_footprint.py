"""The metrics of `footprint`, on boots whose curves can be worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from analysis_boots import boot, phase

from bench.analysis.series import frame
from bench.analysis.summary import summarise
from bench.analysis.validity import boot_doubts, judge
from bench.wire.metrics import metrics_of
from bench.wire.units import GIB, MIB

# A day is 40 s: work from 1 to 11, idle to 21, clean, waits to 32 and 40.
LENGTH_S = 40.0


def day_phases(start: float, iteration: int = 0, **changes: dict[str, Any]) -> list[dict[str, Any]]:
    steps: list[tuple[str, float, float, dict[str, Any]]] = [
        ("day-begin", 0, 1, {"kworker_ns": 10**8}),
        ("read-1", 1, 3, {"disk_bytes": 40 * MIB, "bad_pages": 0}),
        ("work-1", 3, 5, {"ns": 2 * 10**9}),
        ("read-2", 6, 8, {"disk_bytes": 60 * MIB, "bad_pages": 0}),
        ("work-2", 8, 10, {"ns": 2 * 10**9}),
        ("work-end", 11, 11.1, {}),
        ("idle", 11.1, 21, {}),
        ("clean-1", 21, 21.5, {"bytes": 100 * MIB}),
        ("cleaned", 22, 32, {}),
        ("drop", 32, 32.1, {"freed_bytes": 100 * MIB}),
        ("dropped", 32.2, LENGTH_S, {}),
        ("day-end", LENGTH_S, LENGTH_S + 0.1, {"kworker_ns": 6 * 10**8}),
    ]
    return [
        phase(name, start + a, start + b, iteration, result={**result, **changes.get(name, {})})
        for name, a, b, result in steps
    ]


def footprint_boot(days: int = 1, changes: dict[str, Any] | None = None) -> dict[str, Any]:
    found = [p for i in range(days) for p in day_phases(10 + i * 50, i, **(changes or {}))]
    return boot(phases=found, workload="footprint")


def series(days: int = 1, left_mib: int = 150, grows_mib: int = 0, discarded_at: float = 23.0) -> pd.DataFrame:
    """100 MiB at first; each day a ramp to 500 in its work, then steps to 400, 300 and what is left, at once."""
    ticks = np.arange(0, 12 + days * 50, 0.05)
    rows: list[Any] = []
    for t in ticks:
        number, since = divmod(max(0.0, float(t) - 10 + 1e-6), 50)
        left = left_mib + grows_mib * min(number, days - 1)
        steps = ((11, 1.0), (13, 400 / 500), (23, 300 / 500))
        level = next((500 * share for until, share in reversed(steps) if since >= until), 100 + 400 * since / 11)
        value = 100.0 if t < 10 else left if since >= 33 or number >= days else level
        rows += [(float(t), "ram", "resident_bytes", value * MIB), (float(t), "qemu", "cpu_main_s", 0.1 * float(t))]
    return frame([*rows, *((10 + i * 50 + discarded_at, "discard", "bytes", 64.0 * MIB) for i in range(days))])


def test_a_day_is_summed_up_from_its_first_job_to_the_end_of_its_last_wait() -> None:
    summary = summarise(footprint_boot(), series())
    assert set(summary.values) == {metric.name for metric in metrics_of("footprint")}
    # The ramp, then 500 for 2 s, 400 for 10, 300 for 10, and 150 for 7.
    area = (11 * 300 + 2 * 500 + 10 * 400 + 10 * 300 + 7 * 150) * MIB
    expected = {
        "day_footprint_byte_s": area,
        "day_guest_share": area / (GIB * LENGTH_S),
        "day_resident_bytes": area / LENGTH_S,
        "day_peak_bytes": 500 * MIB,
        "day_idle_bytes": 400 * MIB,
        "day_cleaned_bytes": 300 * MIB,
        "day_dropped_bytes": 150 * MIB,
        "day_work_s": 10.0,
        "day_disk_bytes": 100 * MIB,
        "day_qemu_main_cpu_s": 4.0,
        "day_kworker_cpu_s": 0.5,
    }
    assert {name: summary.values[name][0] for name in expected} == pytest.approx(expected, rel=0.01)
    assert summary.values["day_growth_bytes"] == [None]
    assert summary.doubts == ()


def test_what_stays_more_from_day_to_day_is_a_fact_of_the_boot() -> None:
    summary = summarise(footprint_boot(3), series(3, grows_mib=20))
    assert summary.values["day_dropped_bytes"] == pytest.approx([150 * MIB, 170 * MIB, 190 * MIB])
    assert summary.values["day_growth_bytes"] == [pytest.approx(40 * MIB), None, None]


def test_a_slower_day_costs_more_byte_seconds_and_not_more_bytes() -> None:
    """Both denominators, and the mean, are of the day's own length."""
    line = footprint_boot()
    for item in line["phases"]:
        if item["start_s"] > 20.5:  # the work takes five seconds longer
            item["start_s"], item["end_s"] = item["start_s"] + 5, item["end_s"] + 5
    flat = frame((float(t), "ram", "resident_bytes", 200.0 * MIB) for t in np.arange(0, 60, 0.05))
    quick, slow = (summarise(which, flat).values for which in (footprint_boot(), line))
    assert slow["day_footprint_byte_s"][0] == pytest.approx(45 * 200 * MIB)
    assert quick["day_footprint_byte_s"][0] == pytest.approx(40 * 200 * MIB)
    assert slow["day_resident_bytes"] == pytest.approx(quick["day_resident_bytes"])
    assert slow["day_guest_share"] == pytest.approx(quick["day_guest_share"])


def test_a_day_that_was_not_sampled_to_its_end_has_no_footprint() -> None:
    found = summarise(footprint_boot(), series().query("t_s < 45")).values
    assert [found[name][0] for name in ("day_footprint_byte_s", "day_guest_share", "day_resident_bytes")] == [None] * 3
    assert found["day_idle_bytes"][0] == pytest.approx(400 * MIB)


def test_bytes_that_no_counter_gave_are_missing_and_not_zero() -> None:
    found = summarise(
        footprint_boot(changes={"read-2": {"disk_bytes": None}, "day-end": {"kworker_ns": None}}), series()
    )
    assert (found.values["day_disk_bytes"], found.values["day_kworker_cpu_s"]) == ([None], [None])


def test_a_worker_that_ended_meanwhile_took_its_cpu_time_along() -> None:
    summary = summarise(footprint_boot(changes={"day-end": {"kworker_ns": 1}}), series())
    assert summary.values["day_kworker_cpu_s"] == [None]
    assert any("ran backwards" in doubt.text for doubt in summary.doubts)


def test_reporting_is_proved_by_every_clean() -> None:
    assert judge(footprint_boot(2), series(2))[0] == "ok"
    line = footprint_boot(2)
    assert boot_doubts(line, series(2), summarise(line, series(2))) == []
    late = series(2, discarded_at=45.0)
    assert judge(footprint_boot(2), late)[1].startswith("mechanism not seen: nothing was discarded")


def test_a_source_that_was_read_wrongly_makes_the_boot_invalid() -> None:
    bad = {"bad_pages": 2, "first_bad": {"address": 4096, "expected": 5, "found": 0}}
    status, reason, _ = judge(footprint_boot(changes={"read-2": bad}), series())
    assert (status, "in phase read-2" in reason) == ("invalid", True)
