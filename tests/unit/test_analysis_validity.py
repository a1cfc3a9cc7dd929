"""Which boots are believed, and what the evidence says."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from analysis_boots import IDLE, REPORTING, boot, rows

from bench.analysis.series import frame
from bench.analysis.summary import summarise
from bench.analysis.validity import boot_doubts, judge
from bench.wire.units import MIB


def judged(line: dict[str, Any], series: pd.DataFrame) -> tuple[str, str, str]:
    status, reason, evidence = judge(line, series)
    return status, reason, "\n".join(evidence)


def codes(line: dict[str, Any], series: pd.DataFrame) -> list[str]:
    return [doubt.code for doubt in boot_doubts(line, series, summarise(line, series))]


def plus(*more: tuple[float, str, str, float], reporting: bool = True) -> pd.DataFrame:
    return frame([*rows(reporting=reporting).itertuples(index=False, name=None), *more])


def answer(line: dict[str, Any], name: str, **result: Any) -> dict[str, Any]:
    next(p for p in line["phases"] if p["name"] == name)["result"].update(result)
    return line


def test_a_boot_with_nothing_wrong_is_ok_with_and_without_reporting() -> None:
    for reporting in (True, False):
        assert judged(boot(reporting=reporting), rows(reporting=reporting)) == ("ok", "", "")
        assert codes(boot(reporting=reporting), rows(reporting=reporting)) == []


def test_an_idle_balloon_is_ok_without_discards() -> None:
    line = boot(reporting=False, guest={"balloon_features": IDLE, "page_reporting_order": 11})
    assert judged(line, rows(reporting=False))[0] == "ok"


def test_no_discards_where_they_must_be_is_mechanism_not_seen_with_the_evidence() -> None:
    series = frame(
        [
            *rows(reporting=False).itertuples(index=False, name=None),
            *((20.0 + i, "discard", "failed_bytes", 4.0 * MIB) for i in range(3)),
        ]
    )
    status, reason, evidence = judged(boot(), series)
    assert status == "invalid"
    assert reason.startswith("mechanism not seen: all 3 discards failed")
    assert f"feature bit 5 (reporting): 1 (features {REPORTING})" in evidence
    assert "page_reporting_order: 9" in evidence
    assert "discards: 0 (0 B), failed discards: 3" in evidence
    assert "first failed discard: 4 MiB at 20.000 s" in evidence


def test_discards_of_the_boot_alone_do_not_show_the_mechanism() -> None:
    status, reason, _ = judged(boot(), plus((3.0, "discard", "bytes", 4096.0), reporting=False))
    assert status == "invalid"
    assert reason.startswith("mechanism not seen: nothing was discarded")


def test_one_iteration_without_discards_is_enough_to_be_invalid() -> None:
    series = rows(2, keep=lambda row: not (row[1] == "discard" and row[0] > 40))
    assert judged(boot(iterations=2), series)[1].startswith("mechanism not seen")


@pytest.mark.parametrize("features", [IDLE, None, ""])
def test_reporting_that_was_not_negotiated_is_mechanism_not_seen(features: str | None) -> None:
    line = boot(guest={"balloon_features": features, "page_reporting_order": 11})
    status, reason, evidence = judged(line, rows(reporting=False))
    assert status == "invalid"
    assert reason == "mechanism not seen: reporting was not negotiated"
    assert "feature bit 5 (reporting): " + ("0" if features else "absent") in evidence


def test_reporting_or_a_discard_in_an_arm_that_must_have_none_is_invalid() -> None:
    line = boot(reporting=False, guest={"balloon_features": REPORTING, "page_reporting_order": 9})
    assert "negotiated in an arm that must not" in judged(line, rows(reporting=False))[1]
    line = boot(reporting=False)
    assert "discarded in an arm that must not" in judged(line, plus((3.0, "discard", "bytes", 4.0), reporting=False))[1]


def test_a_control_may_have_reporting_and_must_then_not_discard() -> None:
    guest = {"balloon_features": REPORTING, "page_reporting_order": 9}
    line = boot(reporting=False, guest=guest) | {"reporting": True}
    assert judged(line, rows(reporting=False))[0] == "ok"
    assert judged(line, plus((3.0, "discard", "bytes", 4.0), reporting=False))[0] == "invalid"


def test_a_page_that_lost_its_content_is_invalid_and_named() -> None:
    bad = {"address": 0x7F0000001000, "offset": 4096, "expected": 0xABC, "found": 0}
    status, reason, evidence = judged(answer(boot(), "verify", bad_pages=2, first_bad=bad), rows())
    assert (status, reason) == (
        "invalid",
        "pattern not verified: 2 pages in use lost their content in phase verify of iteration 0",
    )
    assert "0x7f0000001000: expected 0xabc, found 0x0" in evidence


def test_lost_content_comes_before_every_other_reason_and_hides_none() -> None:
    line = answer(boot(clock={}), "reverify", bad_pages=1, first_bad=None)
    _, reason, evidence = judged(line, rows(reporting=False))
    assert reason.startswith("pattern not verified")
    assert "also: clocks were not tied" in evidence
    assert "also: mechanism not seen" in evidence


def test_a_sampler_that_failed_or_saw_nothing_voids_the_boot() -> None:
    line = boot(sampler={"hz": 20, "ticks": 5, "missed": 0, "error": "OSError: gone"})
    assert judged(line, rows())[:2] == ("invalid", "sampler failed")
    assert "OSError: gone" in judged(line, rows())[2]
    assert judged(boot(), rows(keep=lambda row: row[1] != "ram"))[1] == "sampler failed"


@pytest.mark.parametrize(("missed", "status"), [(100, "ok"), (101, "invalid")])
def test_a_tenth_of_the_ticks_may_be_missed(missed: int, status: str) -> None:
    line = boot(sampler={"hz": 20, "ticks": 900, "missed": missed, "error": ""})
    assert judged(line, rows())[0] == status


def test_a_gap_of_more_than_a_second_voids_the_boot_only_in_a_measured_phase() -> None:
    def gap(start: float, end: float) -> pd.DataFrame:
        return rows(keep=lambda row: row[1] != "ram" or not start < row[0] < end)

    assert judged(boot(), gap(18.0, 19.2))[:2] == ("invalid", "sampler had a gap")
    assert "phase settle of iteration 0" in judged(boot(), gap(18.0, 19.2))[2]
    assert judged(boot(), gap(18.0, 18.9))[0] == "ok"
    assert judged(boot(), gap(5.0, 9.0))[0] == "ok"


def test_clocks_that_are_not_tied_void_the_boot() -> None:
    assert judged(boot(clock={}), rows())[:2] == ("invalid", "clocks were not tied")
    assert judged(boot(clock={"offset_s": 1.0, "error_s": 0.3}), rows())[0] == "invalid"
    assert judged(boot(clock={"offset_s": 1.0, "error_s": 0.2}), rows())[0] == "ok"


def test_a_settle_phase_without_a_plateau_is_a_doubt_and_not_invalid() -> None:
    line = answer(boot(), "settle", settled=False)
    assert judged(line, rows())[0] == "ok"
    assert codes(line, rows()) == ["unsettled"]


def test_a_disk_that_was_read_through_the_hosts_page_cache_is_a_doubt() -> None:
    words = "driver=file,node-name=disk,filename=/d.img,read-only=on,cache.direct="
    assert codes(boot(argv=["-blockdev", f"{words}on"]), rows()) == []
    assert codes(boot(argv=["-blockdev", f"{words}off"]), rows()) == ["cached-disk"]


def test_some_failed_discards_are_a_doubt_and_not_invalid() -> None:
    series = plus((20.0, "discard", "failed_bytes", 4096.0))
    assert judged(boot(), series)[0] == "ok"
    assert codes(boot(), series) == ["failed-discards"]


def test_a_boot_that_the_host_side_calls_invalid_keeps_its_reason_whatever_was_measured() -> None:
    line = boot(status="invalid", reason="vcpu0 may run on 0-1 instead of 0", evidence=["qemu: x"])
    assert judged(line, rows()) == ("invalid", "vcpu0 may run on 0-1 instead of 0", "qemu: x")
    assert judged(line, frame([])) == ("invalid", "vcpu0 may run on 0-1 instead of 0", "qemu: x")


def test_a_failed_boot_keeps_its_reason() -> None:
    line = boot(status="failed", reason="guest panicked", evidence=["Kernel panic"], phases=[])
    assert judged(line, frame([])) == ("failed", "guest panicked", "Kernel panic")
