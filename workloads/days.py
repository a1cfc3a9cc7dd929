"""Workload `days`: several guests each have a day of `footprint`; do the host's peaks add up?

What a host has to have is the peak of the sum. With peaks apart, memory that one guest freed can be another one's, if
it comes back; with all peaks together every guest is in use at once, and nothing can be gained at the peak.
"""

from __future__ import annotations

from workloads.crowd import in_order
from workloads.footprint import DAY, check, day, disk, memory_needed
from workloads.phases import boot, guest, hold, meet, settle, setup, track
from workloads.shape import Around, Group, Parameter, Params, PhaseDict, Workload

_PARAMETERS = (
    Parameter("guests", "count", 3, "guests in the group", 2, 64),
    Parameter(
        "start",
        "choice",
        "apart",
        "when each guest's work begins: when that of the one before has ended, or all at once",
        choices=("apart", "together"),
    ),
    *DAY,
)


def script(params: Params, around: Around) -> list[PhaseDict]:
    """All guests are booted first, one after another; then each has its day as `start` says, and lives on."""
    phases: list[PhaseDict] = []
    last = params["guests"] - 1
    for number in range(params["guests"]):
        before = [meet("turn", (number - 1, "up"))] if number else []
        drained = settle("drain", params, params["drain_min_s"], params["drain_max_s"])
        begin = [*before, boot(), *setup(around), drained, guest("disk", "disk_open"), hold("up", 0)]
        start = [meet("start", (number - 1, "work-end"))] if number and params["start"] == "apart" else []
        over = meet("over", *((other, "dropped") for other in range(params["guests"])))
        phases += track(number, [*begin, meet("all-up", (last, "up")), *start, *day(params, around), over])
    return in_order(phases, "up", "work-end", "dropped")


def group(params: Params, _guest_memory_bytes: int) -> Group:
    """The guests. No limit: what they hold is what is measured, and nothing may keep them from it."""
    return Group(params["guests"])


DAYS = Workload(
    name="days",
    summary="several guests have a day of a build each, with their peaks apart or together",
    parameters=_PARAMETERS,
    script=script,
    memory_needed=memory_needed,
    check=check,
    disk=disk,
    group=group,
)
