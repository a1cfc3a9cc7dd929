"""The scripts of all workloads: what they map is unmapped, what they use is mapped, and arms differ only where told."""

from __future__ import annotations

from typing import Any

import pytest

from workloads.catalog import WORKLOADS
from workloads.shape import Around

MIB = 1 << 20
GUEST = 640 * MIB
POLICY = {"kind": "compact", "period_s": 1.0}
# The others run once a boot, and have several guests.
REPEATED = [name for name, workload in WORKLOADS.items() if "iterations" in workload.defaults()]


def phases(workload: str, around: Around | None = None, **changes: Any) -> list[dict[str, Any]]:
    """Those of the first guest, once it is up."""
    found = WORKLOADS[workload]
    script = found.script(found.defaults() | changes, around or Around(GUEST))
    return [phase for phase in script if not phase.get("guest") and phase["kind"] not in ("boot", "meet")]


@pytest.mark.parametrize("workload", WORKLOADS)
@pytest.mark.parametrize("iterations", [1, 3])
def test_regions_are_used_only_while_they_are_mapped(workload: str, iterations: int) -> None:
    mapped: set[str] = set()
    for phase in phases(workload, iterations=iterations):
        op, region = phase["op"], phase["args"].get("region")
        if op in ("map", "take_free"):
            assert region not in mapped
            mapped.add(region)
        elif region is not None:
            assert region in mapped, phase
            if op == "release" and phase["args"]["how"] == "munmap":
                mapped.remove(region)


@pytest.mark.parametrize("workload", WORKLOADS)
def test_every_boot_begins_with_setup_and_sets_the_order_of_the_arm(workload: str) -> None:
    first, *others = phases(workload, Around(GUEST, reporting_order=3))
    assert (first["name"], first["args"]) == ("setup", {"page_reporting_order": 3})
    assert "setup" not in [phase["name"] for phase in others]


@pytest.mark.parametrize("workload", REPEATED)
def test_warm_ups_come_first_and_are_marked(workload: str) -> None:
    found = phases(workload, iterations=2, warmups=1)
    assert [(phase["iteration"], phase["warmup"]) for phase in found] == sorted(
        (phase["iteration"], phase["iteration"] < 1) for phase in found
    )
    assert {phase["iteration"] for phase in found} == {0, 1, 2}


@pytest.mark.parametrize("workload", WORKLOADS)
def test_a_workload_with_its_defaults_fits_a_small_guest_and_says_what_it_needs(workload: str) -> None:
    found = WORKLOADS[workload]
    parts = found.memory_needed(found.defaults(), GUEST)
    assert sum(size for _, size in parts) <= GUEST
    assert all(label and size > 0 for label, size in parts)


MEASURED = {
    "application": "busy",
    "cache": "window",
    "arrival": "arrive",
    "crowd": "free",
    "cycle": "free",
    "days": "idle",
    "density": "free",
    "faults": "faults",
    "footprint": "idle",
    "integrity": "churn-under",
    "jitter": "free",
    "migration": "free",
    "refault": "free",
    "resize": "ask",
    "storm": "storm",
}


@pytest.mark.parametrize("workload", WORKLOADS)
def test_a_loop_in_the_guest_runs_around_what_is_measured_in_every_workload(workload: str) -> None:
    found = phases(workload, Around(GUEST, policy=POLICY))
    names = [phase["name"] for phase in found]
    assert names.index("policy") < names.index(MEASURED[workload]) < names.index("policy-end")
    start = next(phase for phase in found if phase["name"] == "policy")
    assert (start["op"], start["args"]) == ("policy_start", POLICY)
    assert not [phase for phase in phases(workload) if phase["name"].startswith("policy")]


def test_zero_tasks_are_one_on_each_cpu_of_the_guest() -> None:
    tasks = [
        phase["args"]["tasks"]
        for phase in phases("faults", Around(GUEST, vcpus=6), tasks=0, iterations=2)
        if phase["op"] == "throughput"
    ]
    assert tasks == [6, 6]


def test_pages_are_swapped_out_only_where_the_plan_asks_for_it() -> None:
    ops = [phase["op"] for phase in phases("refault", swap="on")]
    assert ops.count("pageout") == 1
    assert "pageout" not in [phase["op"] for phase in phases("refault")]


def test_what_is_touched_from_swap_was_swapped_out_first_and_freed_then() -> None:
    names = [phase["name"] for phase in phases("refault", swap="on")]
    order = ["reported", "pageout", "warm-touch", "swapped", "verify-swapped"]
    assert [name for name in names if name in order] == order


def test_no_more_is_free_while_it_is_touched_from_swap_than_a_report_would_miss() -> None:
    swapped = next(phase for phase in phases("refault", swap="on") if phase["name"] == "swapped")
    assert swapped["op"] == "renew"
    assert swapped["args"]["block_bytes"] == 4 * MIB


def test_a_proof_is_freed_before_anything_else_is_measured() -> None:
    names = [phase["name"] for phase in phases("cycle", proof=16 * MIB)]
    assert names[:5] == ["setup", "proof-map", "proof-touch", "proof-free", "proof-settle"]
    assert "proof-free" not in [phase["name"] for phase in phases("cycle")]


def test_damage_is_done_only_when_asked_for_and_before_the_last_look() -> None:
    assert not {"corrupt", "discard"} & {phase["op"] for phase in phases("integrity")}
    for fault in ("corrupt", "discard"):
        names = [phase["name"] for phase in phases("integrity", fault=fault)]
        assert names.index(fault) == names.index("verify") - 1


def test_a_guest_that_is_held_full_keeps_that_memory_and_says_so() -> None:
    found = WORKLOADS["cycle"]
    params = found.defaults() | {"held": 0.5, "touch": 0.1}
    assert ("held 50%", GUEST // 2) in found.memory_needed(params, GUEST)
    names = [phase["name"] for phase in found.script(params, Around(GUEST))]
    assert names.index("held-touch") < names.index("touch")
    assert "held-verify" in names
    assert "held" not in [phase["name"] for phase in phases("cycle")]


def test_parameters_of_the_reporting_module_are_set_with_its_order() -> None:
    first = phases("cycle", Around(GUEST, reporting_order=3, reporting_params={"page_reporting_delay": 500}))[0]
    assert first["args"] == {"page_reporting_order": 3, "params": {"page_reporting_delay": 500}}


FREED = {
    "application": "free",
    "cache": "reader",
    "cycle": "free",
    "faults": "fill-free",
    "footprint": "clean-3",
    "integrity": "churn-over",
    "jitter": "free",
    "migration": "free",
    "refault": "free",
    "resize": "ask",
}


@pytest.mark.parametrize("workload", REPEATED)
@pytest.mark.parametrize("kind", ["balloon", "virtio-mem"])
def test_the_host_asks_for_what_was_freed_and_gives_it_again_before_it_is_wanted(workload: str, kind: str) -> None:
    found = phases(workload, Around(GUEST, give=kind), iterations=2)
    names = [phase["name"] for phase in found]
    freed = FREED[workload]
    assert names.index("give") == names.index(freed) + 1
    asked = [phase for phase in found if phase["kind"] == "host" and phase["op"] == kind]
    untouched = {"give-untouched", "grow-untouched"} if workload == "resize" else set()
    plugged = {"plug"} if kind == "virtio-mem" else set()
    assert {phase["name"] for phase in asked} == {"give", "grow"} | untouched | plugged
    assert all((phase["args"]["bytes"] == 0) is not phase["name"].startswith("give") for phase in asked)
    wanted = next(phase for phase in asked if phase["name"] == "give")["args"]["bytes"]
    assert wanted == {"from": [freed, "bytes"]} or 0 < wanted < GUEST
    # Between the two nothing is touched.
    for start, end in zip(
        *([i for i, name in enumerate(names) if name == which] for which in ("give", "grow")), strict=True
    ):
        assert start < end
        assert not {"map", "touch", "churn", "throughput"} & {phase["op"] for phase in found[start:end]}


@pytest.mark.parametrize("workload", WORKLOADS)
def test_virtio_mem_is_plugged_before_anything_else_and_needs_its_driver(workload: str) -> None:
    first, second, *_ = phases(workload, Around(GUEST, give="virtio-mem"))
    assert first["args"] == {"page_reporting_order": None, "driver": "virtio-mem"}
    assert (second["name"], second["op"], second["args"]["bytes"]) == ("plug", "virtio-mem", 0)
    assert not [phase for phase in phases(workload) if phase["name"] in ("plug", "give", "grow")]


@pytest.mark.parametrize("workload", ["cycle", "jitter", "resize"])
def test_a_probe_counts_before_the_free_and_through_the_wait_after_it(workload: str) -> None:
    changes = {"probe": "work", "probe_quantum_s": 0.001, "probe_before_s": 2.0, "window_s": 5.0, "settle_min_s": 5.0}
    found = phases(workload, Around(GUEST, policy=POLICY, give="balloon"), **changes)
    names = [phase["name"] for phase in found]
    order = [
        "touch",
        "probe",
        "probe-before",
        "probe-hold",
        "policy",
        "probe-after",
        "free",
        "give",
        "settle",
        "probe-end",
    ]
    assert [name for name in names if name in order] == order
    by_name = {phase["name"]: phase["args"] for phase in found}
    assert (by_name["probe"]["kind"], by_name["probe"]["quantum_s"]) == ("work", 0.001)
    assert by_name["probe-hold"]["s"] == 2.0
    assert by_name["probe-after"] == {"window": "after"}
    assert by_name["probe-end"] == {"window_s": 5.0}


def test_the_probe_of_jitter_goes_on_while_memory_is_wanted_again() -> None:
    names = [phase["name"] for phase in phases("jitter", Around(GUEST, give="virtio-mem"))]
    order = ["settle", "probe-again", "grow", "map-again", "again", "probe-end", "verify"]
    assert [name for name in names if name in order] == order


def test_a_workload_has_a_probe_only_where_the_plan_wants_one() -> None:
    assert not [phase for phase in phases("cycle") if phase["op"].startswith("probe")]
    plain, copying = ({**WORKLOADS["cycle"].defaults(), "probe": kind} for kind in ("work", "bandwidth"))
    needed = [sum(size for _, size in WORKLOADS["cycle"].memory_needed(params, GUEST)) for params in (plain, copying)]
    assert needed[1] - needed[0] == 64 * MIB


def test_quanta_have_to_fit_into_what_is_counted() -> None:
    for workload in ("cycle", "jitter", "resize"):
        params = {**WORKLOADS[workload].defaults(), "probe": "work", "probe_quantum_s": 0.2}
        assert [key for key, _ in WORKLOADS[workload].check(params)] == ["probe_quantum_s"]
        assert WORKLOADS[workload].check({**params, "probe_quantum_s": 0.1}) == []


def test_a_guest_is_shrunk_before_it_touched_anything_and_after_it_freed_all_of_that() -> None:
    names = [phase["name"] for phase in phases("resize", Around(GUEST, give="balloon"), iterations=2)]
    assert names[:4] == ["setup", "give-untouched", "grow-untouched", "drain"]
    assert names.count("give-untouched") == 1
    order = ["touch", "free", "ask", "give", "settle", "grow", "map-again", "again", "verify"]
    assert [name for name in names if name in order] == 2 * order


def test_a_page_cache_is_read_and_not_freed_and_reporting_is_proved_by_other_memory() -> None:
    found = phases("resize", Around(GUEST, give="virtio-mem"), load="cache", iterations=2)
    names = [phase["name"] for phase in found]
    assert not {"free", "touch", "give-untouched"} & set(names)
    order = ["proof-free", "read", "ask", "give", "grow", "again", "forget", "drain", "read", "ask"]
    assert [name for name in names if name in order][: len(order)] == order
    resize = WORKLOADS["resize"]
    params = resize.defaults() | {"load": "cache"}
    asked = {phase["args"]["bytes"] for phase in found if phase["name"] == "give"}
    assert asked == {resize.disk(params, GUEST)}
    assert resize.disk(resize.defaults(), GUEST) == 0
    assert ("disk 70%", resize.disk(params, GUEST)) in resize.memory_needed(params, GUEST)
    assert resize.check(params | {"proof": MIB + 1}) == [("proof", "no multiple of 4K; make it one")]
