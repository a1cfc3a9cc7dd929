"""Several guests in one group: what their scripts say, and how long that takes."""

from __future__ import annotations

import dataclasses

import pytest
from jobs import NONE, job

from bench.controller.plan import load_plan, resolve
from bench.controller.schedule import estimate_s
from bench.wire.job import Phase
from bench.wire.units import MIB
from workloads.catalog import WORKLOADS
from workloads.shape import Around, PhaseDict

GUEST_BYTES = 640 * MIB


def phases(name: str, **changes: object) -> list[PhaseDict]:
    workload = WORKLOADS[name]
    return workload.script({**workload.defaults(), **changes}, Around(GUEST_BYTES))


def names(steps: list[PhaseDict], guest: int) -> list[str]:
    return [step["name"] for step in steps if step["guest"] == guest]


STARTS = {"crowd": ["sequence", "staggered", "together"], "days": ["apart", "together"]}


@pytest.mark.parametrize(
    ("name", "changes"),
    [("density", {}), *((name, {"start": start}) for name, starts in STARTS.items() for start in starts)],
)
def test_nobody_waits_for_a_phase_that_is_written_behind(name: str, changes: dict[str, str]) -> None:
    steps = phases(name, guests=4, **changes)
    # "over" is the end: there all wait for all.
    done: set[tuple[int, str]] = set()
    for step in steps:
        if step["kind"] == "meet":
            missing = [tuple(wanted) for wanted in step["args"]["phases"] if tuple(wanted) not in done]
            assert not missing, f"{step['name']} of guest {step['guest']}"
        done.add((step["guest"], step["name"]))


def test_one_after_another_waits_for_the_one_before_to_settle_and_all_at_once_for_nobody() -> None:
    for start, waits in (("sequence", True), ("together", False)):
        steps = [step for step in phases("crowd", start=start) if step["name"] == "start"]
        assert bool(steps) == waits
        assert all(step["args"]["phases"] == [[step["guest"] - 1, "settle"]] for step in steps)


def test_peaks_are_apart_when_each_guest_begins_once_the_work_of_the_one_before_has_ended() -> None:
    for start, waits in (("apart", [[0, "work-end"], [1, "work-end"]]), ("together", [])):
        steps = [step for step in phases("days", start=start) if step["name"] == "start"]
        assert [step["args"]["phases"][0] for step in steps] == waits


def test_all_guests_have_their_day_before_the_first_one_ends() -> None:
    for number in range(3):
        own = phases("days")
        over = [step for step in own if step["guest"] == number and step["name"] == "over"]
        assert [step["args"]["phases"] for step in over] == [[[other, "dropped"] for other in range(3)]]
        assert names(own, number)[-1] == "over"


def test_staggered_guests_begin_each_a_fixed_time_later() -> None:
    steps = phases("crowd", start="staggered", stagger_s=7.0, guests=3)
    assert [step["args"]["s"] for step in steps if step["name"] == "start"] == [7.0, 14.0]


def test_all_guests_are_up_before_the_first_one_touches() -> None:
    steps = phases("crowd", guests=3)
    assert [step["name"] for step in steps].index("touch") > max(
        index for index, step in enumerate(steps) if step["name"] == "up"
    )


def test_a_guest_of_density_is_not_started_once_the_host_is_full() -> None:
    boots = [step for step in phases("density", guests=3) if step["kind"] == "boot"]
    assert [step["args"] for step in boots] == [{}, {"unless": [0, "full", "full"]}, {"unless": [1, "full", "full"]}]


def test_every_guest_lives_until_the_last_one_has_settled() -> None:
    for number in range(3):
        own = names(phases("crowd", guests=3), number)
        assert own.index("over") > own.index("settle")
        assert own[-1] == "sentinel-verify"


def test_guests_that_run_beside_one_another_take_no_longer_than_the_slowest() -> None:
    def holds(*seconds: float) -> tuple[Phase, ...]:
        return tuple(
            Phase("hold", "hold", 0, args={"s": length}, guest=number) for number, length in enumerate(seconds)
        )

    alone = estimate_s(job(NONE, phases=holds(30.0)))
    assert estimate_s(job(NONE, phases=holds(30.0, 20.0, 10.0), guests=3)) == pytest.approx(alone)
    after = dataclasses.replace(
        job(NONE, guests=2), phases=(*holds(30.0), Phase("turn", "meet", 0, args={"phases": [[0, "hold"]]}, guest=1))
    )
    more = (*after.phases, Phase("own", "hold", 0, args={"s": 5.0}, guest=1))
    assert estimate_s(dataclasses.replace(after, phases=more)) == pytest.approx(alone + 5.0)


@pytest.mark.parametrize("plan", ["overcommit", "density"])
@pytest.mark.parametrize("accel", ["tcg", "kvm"])
def test_the_limit_is_below_what_all_guests_use_together_and_above_what_they_use_at_a_time(
    plan: str, accel: str
) -> None:
    found = resolve(load_plan(plan), accel)
    own = 230 * MIB if accel == "tcg" else 512 * MIB
    for cell in found.cells:
        group = WORKLOADS[cell.workload].group(cell.params, found.guest.memory_bytes)
        assert group is not None
        assert group.limit_bytes is not None
        touched = int(cell.params["touch"] * found.guest.memory_bytes)
        assert group.guests * (own + touched) > group.limit_bytes
        # Of density the last ones have no room in any arm.
        guests = group.guests if plan == "overcommit" else 3 if accel == "tcg" else 5
        assert guests * own + touched < group.limit_bytes
