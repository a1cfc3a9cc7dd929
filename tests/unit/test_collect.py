"""The records of a boot, gathered into its line."""

from __future__ import annotations

import json

import pytest
from boot_records import FREED, LEFT, TIMES, failed_boot, good_boot
from jobs import IDLE, NONE, REPORTING, job

from bench.controller.collect import Collected
from bench.wire import record
from bench.wire.job import Arm, Job
from bench.wire.metrics import metrics_of
from bench.wire.record import End, Files, Placed, Quieted, Record, Samples


def collected(request: Job, records: list[Record]) -> Collected:
    """As from a host side: every record has been over the wire."""
    seen = Collected(request)
    for item in records:
        seen.add(record.decode(record.encode(item)))
    return seen


@pytest.mark.parametrize("arm", [NONE, IDLE, REPORTING])
def test_a_good_boot_is_ok(arm: Arm) -> None:
    line = collected(job(arm), good_boot(job(arm))).line(5.0)
    assert (line["status"], line["reason"], line["evidence"]) == ("ok", "", [])


def test_the_line_says_which_boot_it_is_and_what_it_was_made_of() -> None:
    request = job(REPORTING, block=3, order=1, attempt=2)
    line = collected(request, good_boot(request)).line(5.0)
    expected = {
        "boot": "local.cycle.b003.reporting.try2",
        "job": request.id,
        "host": "local",
        "cell": "cycle",
        "arm": "reporting",
        "block": 3,
        "order": 1,
        "attempt": 2,
        "accel": "tcg",
        "guest_memory_bytes": request.guest.memory_bytes,
        "window_s": 5.0,
        "must_discard": True,
        "started": "2026-11-23T08:37:29.305+00:00",
        "host_facts": {"kernel": "6.18"},
        "ready_s": 2.9,
        "series": "series/local.cycle.b003.reporting.try2.csv.gz",
    }
    assert {key: line[key] for key in expected} == expected
    assert line["argv"][0] == "qemu-system-x86_64"
    assert line["qmp"] == {"status": {"status": "running"}}
    assert [phase["name"] for phase in line["phases"]] == [name for name, _, _ in TIMES]


def test_the_line_is_plain_json_with_every_metric() -> None:
    line = collected(job(REPORTING), good_boot(job(REPORTING))).line(5.0)
    assert json.loads(json.dumps(line, allow_nan=False)) == line
    assert set(line["values"]) == {metric.name for metric in metrics_of("cycle")}


def test_values_are_measured_and_what_was_not_measured_is_none() -> None:
    line = collected(job(REPORTING), good_boot(job(REPORTING))).line(5.0)
    assert line["values"]["residual_bytes"] == [LEFT]
    assert line["values"]["discarded_bytes"] == [FREED]
    assert line["values"]["refault_s_per_gib"] == [None]


def test_rows_of_all_samples_are_one_series_of_tuples() -> None:
    request = job(REPORTING)
    seen = collected(request, good_boot(request))
    assert seen.rows == [row for item in good_boot(request) if isinstance(item, Samples) for row in item.rows]


def test_parts_of_a_log_are_put_together_and_named_in_the_line() -> None:
    seen = collected(job(), good_boot(job()))
    assert seen.logs == {"qemu": "one\ntwo\n", "console": ""}
    expected = ["log/local.cycle.b001.none.console.txt", "log/local.cycle.b001.none.qemu.txt"]
    assert seen.line(5.0)["logs"] == expected


def test_a_failed_boot_keeps_its_reason_its_evidence_and_what_it_had_done() -> None:
    line = collected(job(), failed_boot(job())).line(5.0)
    assert (line["status"], line["reason"]) == ("failed", "QEMU ended with status 1")
    assert line["evidence"] == ["qemu: out of memory"]
    assert [phase["name"] for phase in line["phases"]] == ["touch"]


def test_where_it_ran_and_how_quiet_the_host_was_is_kept_as_it_was_told() -> None:
    quieted = Quieted(1.5, {"busy_share": 0.02}, [])
    placed = Placed({"vcpu0": "2", "memory": "bind:0"}, "")
    line = collected(job(), [quieted, placed, *good_boot(job())]).line(5.0)
    assert line["quiet"] == {"waited_s": 1.5, "readings": {"busy_share": 0.02}, "over": []}
    assert line["placed"] == {"seen": {"vcpu0": "2", "memory": "bind:0"}, "problem": "", "guest": 0}
    assert line["status"] == "ok"


def test_the_files_that_ran_are_kept_with_their_digests() -> None:
    files = Files("/usr/bin/qemu-system-x86_64", "ab" * 32, "/boot/vmlinuz", None)
    line = collected(job(), [*good_boot(job()), files]).line(5.0)
    assert line["files"] == {
        "qemu": "/usr/bin/qemu-system-x86_64",
        "qemu_sha256": "ab" * 32,
        "kernel": "/boot/vmlinuz",
        "kernel_sha256": None,
    }
    assert collected(job(), good_boot(job())).line(5.0)["files"] == {}


def test_a_boot_that_told_neither_has_nothing_in_their_place() -> None:
    line = collected(job(), good_boot(job())).line(5.0)
    assert (line["quiet"], line["placed"]) == ({}, {})


def test_a_boot_that_ended_invalid_is_so_with_the_hosts_reason_and_has_no_values() -> None:
    reason = "the host did not get quiet within 60 s: busy_share 0.81 over 0.25"
    over = Quieted(60.2, {"busy_share": 0.81}, ["busy_share 0.81 over 0.25"])
    line = collected(job(REPORTING), [over, End("invalid", reason, ["busy_share: 0.81"])]).line(5.0)
    assert (line["status"], line["reason"], line["evidence"]) == ("invalid", reason, ["busy_share: 0.81"])
    assert not any([*line["values"].values(), *line["warmups"].values()])
    assert line["started"] is None


def test_a_boot_without_an_end_is_failed() -> None:
    line = collected(job(), good_boot(job())[:5]).line(5.0)
    assert (line["status"], line["reason"]) == ("failed", "the host side ended without a result")


def test_a_boot_of_which_nothing_came_up_is_failed_and_its_line_complete() -> None:
    line = collected(job(), []).line(5.0)
    assert line["status"] == "failed"
    assert (line["started"], line["ready_s"], line["guest"], line["logs"]) == (None, None, {}, [])
    assert json.loads(json.dumps(line, allow_nan=False)) == line


def test_an_arm_that_must_discard_and_did_not_is_invalid_and_says_why() -> None:
    records = [item for item in good_boot(job(REPORTING)) if not isinstance(item, Samples)]
    silent = [row for row in good_boot_rows(REPORTING) if row[1] != "discard"]
    line = collected(job(REPORTING), [*records[:-1], Samples(silent), records[-1]]).line(5.0)
    assert line["status"] == "invalid"
    assert "mechanism not seen" in line["reason"]


def test_an_arm_that_must_not_discard_and_did_is_invalid() -> None:
    extra = Samples([(7.0, "discard", "bytes", 4096.0)])
    line = collected(job(IDLE), [*good_boot(job(IDLE))[:-1], extra, good_boot(job(IDLE))[-1]]).line(5.0)
    assert line["status"] == "invalid"


def good_boot_rows(arm: Arm) -> list[record.Row]:
    return [row for item in good_boot(job(arm)) if isinstance(item, Samples) for row in item.rows]


def test_the_last_residency_is_known_while_the_boot_goes_on() -> None:
    seen = Collected(job())
    assert seen.resident_bytes is None
    seen.add(
        Samples([(0.0, "ram", "resident_bytes", 1.0), (0.1, "ram", "resident_bytes", 2.0), (0.1, "psi", "x", 9.0)])
    )
    assert seen.resident_bytes == 2.0
