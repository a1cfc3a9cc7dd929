"""Arms in which the host asks for memory: when it is believed, and what is said of it."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from analysis_boots import BURSTS, FREE, HELD, IDLE, LEFT, REPORTING, boot, phase, rows

from bench.analysis.series import frame
from bench.analysis.summary import summarise
from bench.analysis.validity import boot_doubts, judge
from bench.wire.units import GIB, MIB

# The free is at 15 s; memory leaves the synthetic guest 2, 4 and 6 s later.
ASKED, DONE = 10 + FREE + 1, 10 + FREE + BURSTS[-1][0] + 1
GIVEN = 256 * MIB


def giving_boot(kind: str = "balloon", features: str | None = IDLE, **result: Any) -> dict[str, Any]:
    whole = {"wanted_bytes": GIVEN, "asked_bytes": GIVEN, "reached_bytes": GIVEN, "ns": 10**9, "reached": True}
    given = {**whole, **({"traced": False} if kind == "balloon" else {}), **result}
    line = boot(reporting=False, give=kind, must_discard=True, guest={"balloon_features": features})
    again = {**whole, "asked_bytes": 0, "reached_bytes": 0, "ns": 5 * 10**8}
    line["phases"] += [
        *([phase("plug", 5, 6, result={**whole, "reached": True})] if kind == "virtio-mem" else []),
        phase("give", ASKED, DONE, result=given),
        phase("grow", 36, 37, result=again),
    ]
    return line


def falling(discards: bool = False) -> pd.DataFrame:
    """The residency of the arm that reports, with its discards or without."""
    return rows(reporting=True, keep=lambda row: discards or row[1] != "discard")


def reason(line: dict[str, Any], series: pd.DataFrame) -> str:
    status, why, _ = judge(line, series)
    return why if status == "invalid" else status


def test_a_balloon_is_seen_by_the_memory_that_left_the_host_without_a_single_trace_line() -> None:
    assert reason(giving_boot(), falling()) == "ok"
    assert reason(giving_boot(), rows(reporting=False)) == (
        "mechanism not seen: no memory left the host while the guest gave it up in iteration 0"
    )


def test_memory_that_left_before_it_was_asked_for_proves_nothing() -> None:
    line = giving_boot()
    next(item for item in line["phases"] if item["name"] == "give").update(start_s=DONE, end_s=DONE + 1)
    assert reason(line, falling()).startswith("mechanism not seen")


def test_memory_that_was_swapped_out_meanwhile_did_not_leave() -> None:
    swapped = [(ASKED - 1, "ram", "swapped_bytes", 0.0), (DONE - 0.5, "ram", "swapped_bytes", float(HELD - LEFT))]
    series = frame([*falling().itertuples(index=False, name=None), *swapped])
    assert reason(giving_boot(), series).startswith("mechanism not seen")


def test_what_virtio_mem_unplugged_is_seen_by_its_discards_even_if_it_was_never_resident() -> None:
    line = giving_boot("virtio-mem", None)
    flat = rows(reporting=False)
    assert reason(line, flat).startswith("mechanism not seen")
    discard = (ASKED + 0.1, "discard", "bytes", 128.0 * MIB)
    assert reason(line, frame([*flat.itertuples(index=False, name=None), discard])) == "ok"


def test_a_guest_that_was_not_plugged_whole_is_no_match_for_the_others() -> None:
    line = giving_boot("virtio-mem", None)
    next(item for item in line["phases"] if item["name"] == "plug")["result"]["reached"] = False
    assert reason(line, falling()) == "the guest is smaller than in other arms: not all of its memory was plugged"


def test_an_arm_that_never_asked_was_not_seen_working() -> None:
    line = giving_boot()
    line["phases"] = [item for item in line["phases"] if item["name"] != "give"]
    assert reason(line, falling()) == "mechanism not seen: the host never asked for memory by balloon"


def test_reporting_beside_it_would_be_another_mechanism() -> None:
    assert reason(giving_boot(features=REPORTING), falling()) == (
        "reporting was negotiated in an arm that must not have it"
    )


def test_a_target_that_was_not_reached_is_a_doubt_with_both_sizes() -> None:
    line = giving_boot(reached_bytes=64 * MIB, reached=False)
    assert reason(line, falling()) == "ok"
    (doubt,) = boot_doubts(line, falling(), summarise(line, falling()))
    assert doubt.code == "not-given"
    assert "phase give of iteration 0: the guest did without 64 MiB, not 256 MiB" in doubt.text


def test_what_asking_took_is_told_per_gib_that_was_given() -> None:
    found = summarise(giving_boot(reached_bytes=128 * MIB), falling()).values
    assert found["given_share"] == [0.5]
    assert found["give_s_per_gib"] == pytest.approx([1.0 / (128 * MIB / GIB)])
    assert found["grow_s_per_gib"] == pytest.approx([0.5 / (128 * MIB / GIB)])


def test_discards_that_were_not_traced_are_missing_and_not_zero() -> None:
    untraced = summarise(giving_boot(), falling()).values
    assert [untraced[name] for name in ("discards", "discarded_bytes", "discard_gap_bytes")] == [[None]] * 3
    traced = summarise(giving_boot("virtio-mem", None), falling(discards=True)).values
    assert traced["discards"] == [3.0]


def test_an_arm_that_asks_for_nothing_has_no_such_figures_and_no_doubt_about_it() -> None:
    summary = summarise(boot(), rows())
    assert [summary.values[name] for name in ("given_share", "give_s_per_gib", "grow_s_per_gib")] == [[None]] * 3
    assert summary.doubts == ()
