"""The mechanism itself, in real guests: what is freed comes back with reporting, and only with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bench.controller.collect import Collected
from bench.wire.units import MIB

pytestmark = pytest.mark.guest

Boot = Callable[[str], Collected]


def value(line: dict[str, Any], metric: str) -> float:
    found = line["values"][metric][0]
    assert found is not None, f"{metric} was not measured: {line['reason']} {line['warnings']}"
    return float(found)


def test_reporting_gives_back_more_than_60_percent_of_what_was_freed(cycle_boot: Boot) -> None:
    line = cycle_boot("reporting").line(window_s=6.0)
    assert line["status"] == "ok", (line["reason"], line["evidence"])
    assert value(line, "returned_share") > 0.6
    assert value(line, "discarded_bytes") > 0
    assert value(line, "t50_s") <= value(line, "t90_s") <= value(line, "t99_s")


def test_without_a_balloon_device_nothing_comes_back_and_nothing_is_discarded(cycle_boot: Boot) -> None:
    line = cycle_boot("none").line(window_s=6.0)
    assert line["status"] == "ok", (line["reason"], line["evidence"])
    assert value(line, "returned_share") < 0.05
    assert value(line, "discarded_bytes") == 0
    assert line["values"]["t50_s"] == [None], "a time to return of something that did not return"


def test_traced_discards_agree_with_the_drop_in_residency(cycle_boot: Boot) -> None:
    line = cycle_boot("reporting").line(window_s=6.0)
    discarded, returned = value(line, "discarded_bytes"), value(line, "returned_bytes")
    assert abs(discarded - returned) <= max(0.02 * discarded, 8 * MIB), (discarded, returned)


def test_the_guest_says_what_it_is(cycle_boot: Boot) -> None:
    boot = cycle_boot("reporting")
    assert boot.ready is not None
    facts = boot.ready.facts
    assert facts["balloon_features"][5] == "1", "VIRTIO_BALLOON_F_REPORTING is bit 5"
    assert facts["page_reporting_order"] >= 0
    assert 0 < facts["memory_bytes"] <= 512 * MIB
    assert boot.ready.ready_s > 0
    assert cycle_boot("none").line(6.0)["guest"]["balloon_features"] is None


def test_the_patterns_are_verified_and_the_clocks_tied(cycle_boot: Boot) -> None:
    line = cycle_boot("reporting").line(window_s=6.0)
    verified = [phase["result"]["bad_pages"] for phase in line["phases"] if "verify" in phase["name"]]
    assert len(verified) == 3
    assert verified == [0, 0, 0]
    assert 0 < line["clock"]["error_s"] < 0.1
    assert abs(line["clock"]["drift_s"]) < 0.1


def test_the_sampler_kept_its_pace_and_says_what_it_cost(cycle_boot: Boot) -> None:
    sampler = cycle_boot("none").line(window_s=6.0)["sampler"]
    assert sampler["error"] == ""
    assert sampler["ticks"] > 15 * sampler["wall_s"]
    assert 0 < sampler["cpu_s"] < 0.2 * sampler["wall_s"]


def test_a_first_touch_and_a_refault_were_timed_page_by_page(cycle_boot: Boot) -> None:
    line = cycle_boot("reporting").line(window_s=6.0)
    for kind in ("first_touch", "refault"):
        assert 0 < value(line, f"{kind}_p50_s") <= value(line, f"{kind}_p99_s") <= value(line, f"{kind}_p999_s")
        assert value(line, f"{kind}_s_per_gib") > 0
