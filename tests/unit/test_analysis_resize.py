"""The metrics of `resize`, on boots whose speeds can be worked out by hand."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from analysis_boots import BURSTS, FREE, FREED, HELD, IDLE, LEFT, boot, phase, rows

from bench.analysis.summary import Summary, summarise
from bench.analysis.validity import boot_doubts, judge
from bench.wire.metrics import METRICS, metrics_of
from bench.wire.units import GIB, MIB

# The free is at 15 s, and in the arm that shrinks memory leaves 2, 4 and 6 s later: 90 % with the last burst.
ASKED, LAST_S = 10 + FREE, BURSTS[-1][0]
AGAIN = [phase("map-again", 36.5, 36.6), phase("again", 36.6, 38.5, result={"ns": 10**9, "bytes": 512 * MIB})]


def told(reached_mib: int, ns: int, reached: bool = True) -> dict[str, Any]:
    wanted = {"wanted_bytes": 512 * MIB, "asked_bytes": 512 * MIB, "reached_bytes": reached_mib * MIB}
    return {**wanted, "ns": ns, "reached": reached}


def resize_boot(give: str = "", **more: Any) -> dict[str, Any]:
    line = boot(workload="resize", give=give, **more)
    line["phases"] += [phase("ask", ASKED, ASKED + 0.1), *AGAIN]
    if give:
        line |= {"reporting": False, "guest": {"balloon_features": IDLE}}
        line["phases"] += [
            phase("give-untouched", 9, 9.5, result=told(256, 10**9 // 4)),
            phase("grow-untouched", 9.5, 9.6, result=told(0, 10**8)),
            phase("give", ASKED + 0.1, ASKED + LAST_S + 0.2, result=told(512, 6 * 10**9)),
            phase("grow", 36, 36.5, result=told(0, 5 * 10**8)),
        ]
    return line


def silent(reporting: bool = True) -> pd.DataFrame:
    """A falling residency without discards, or a flat one."""
    return rows(reporting=reporting, keep=lambda row: row[1] != "discard")


def reasons(summary: Summary) -> str:
    return "\n".join(doubt.text for doubt in summary.doubts)


def test_speeds_are_bytes_over_the_time_that_they_took() -> None:
    line = resize_boot("balloon")
    found = {name: values[0] for name, values in summarise(line, silent()).values.items()}
    assert set(found) == {metric.name for metric in metrics_of("resize")}
    assert found["shrunk_bytes"] == HELD - LEFT
    assert found["shrunk_share"] == pytest.approx((HELD - LEFT) / FREED)
    assert found["shrink_touched_bytes_per_s"] == pytest.approx(0.9 * (HELD - LEFT) / LAST_S, rel=0.02)
    assert found["shrink_untouched_bytes_per_s"] == pytest.approx(GIB)
    assert found["grow_bytes_per_s"] == pytest.approx(GIB)
    # From the start of `grow` at 36 s to the end of the touch at 38.5 s.
    assert found["grow_touch_bytes_per_s"] == pytest.approx(512 * MIB / 2.5)
    assert judge(line, silent())[0] == "ok"


def test_an_arm_that_asks_for_nothing_shrinks_too_and_has_nothing_to_grow() -> None:
    summary = summarise(resize_boot(), rows())
    found = {name: values[0] for name, values in summary.values.items()}
    assert found["shrink_touched_bytes_per_s"] == pytest.approx(0.9 * (HELD - LEFT) / LAST_S, rel=0.02)
    assert (found["shrink_untouched_bytes_per_s"], found["grow_bytes_per_s"]) == (None, None)
    assert found["grow_touch_bytes_per_s"] == pytest.approx(512 * MIB / 2.0)
    assert summary.doubts == ()
    assert judge(resize_boot(), rows())[0] == "ok"


def test_where_nothing_left_there_is_no_speed_but_a_share_of_nothing() -> None:
    line = resize_boot(reporting=False)
    summary = summarise(line, rows(reporting=False))
    assert summary.values["shrink_touched_bytes_per_s"] == [None]
    assert summary.values["shrunk_share"] == [0.0]
    assert summary.doubts == ()
    assert judge(line, rows(reporting=False))[0] == "ok"


def test_a_page_cache_is_measured_against_what_was_read_and_was_never_untouched() -> None:
    line = resize_boot("balloon")
    line["phases"] = [item for item in line["phases"] if item["name"] not in ("free", "give-untouched")]
    line["phases"].append(phase("read", 12, 14, result={"bytes": 1000 * MIB, "ns": 10**9}))
    summary = summarise(line, silent())
    assert summary.values["shrunk_share"] == [0.5]
    assert summary.values["shrink_untouched_bytes_per_s"] == [None]
    assert summary.doubts == ()


def test_memory_that_left_within_a_few_samples_has_no_speed() -> None:
    line = resize_boot()
    line["sampler"]["hz"] = 0.4  # three samples take longer than the last burst does
    summary = summarise(line, rows())
    assert summary.values["shrink_touched_bytes_per_s"] == [None]
    assert summary.values["shrunk_bytes"] == [HELD - LEFT]
    assert "too few samples" in reasons(summary)


def test_without_a_sample_before_it_was_wanted_nothing_is_known() -> None:
    summary = summarise(resize_boot(), rows(keep=lambda row: row[1] != "ram" or row[0] > ASKED + 1))
    assert summary.values["shrunk_bytes"] == [None]
    assert "no sample before the host wanted the memory" in reasons(summary)


def test_untouched_memory_that_was_not_given_up_is_a_doubt() -> None:
    line = resize_boot("balloon")
    next(item for item in line["phases"] if item["name"] == "give-untouched")["result"] = told(64, 10**9, False)
    (doubt,) = boot_doubts(line, silent(), summarise(line, silent()))
    assert "phase give-untouched of iteration 0: the guest did without 64 MiB, not 512 MiB" in doubt.text


def test_a_speed_is_a_time_and_more_of_it_is_better() -> None:
    speeds = [metric for metric in metrics_of("resize") if metric.unit == "byte/second"]
    assert len(speeds) == 4
    assert all(metric.time_like and metric.direction == "higher" for metric in speeds)
    assert METRICS["shrink_untouched_bytes_per_s"].once
