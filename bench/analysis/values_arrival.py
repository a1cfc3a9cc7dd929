"""How the metrics of `arrival` are read from phases and curves. docs/metrics.md has the definitions."""

from __future__ import annotations

from collections.abc import Callable

from bench.analysis.members import HOST_PAGE_BYTES, each_guest, risen
from bench.analysis.values import LITTLE, RAM, How, Iteration, Missing, latency, number
from bench.wire.units import MIB

# A fall of the residency by less is no sign of anything.
LEAST_LEFT_BYTES = 4 * MIB
# Of a reader that did fewer of its reads, those that it did say too little.
LEAST_READS_SHARE = 0.5
_PARTS = 10
NOT_ALL = "the newcomer did not get so much of its memory"


def _window(it: Iteration) -> tuple[float, float]:
    """From the newcomer's first page until it leaves, in seconds since the start of the first QEMU."""
    return it.result("arrive", "start_s"), it.moment("window", "end_s")


def _until(tenths: int) -> How:
    def value(it: Iteration) -> float:
        told = it.phase("arrive").get("result", {})
        if told.get("skipped"):
            raise Missing(str(told["skipped"]))
        times = told.get("tenths_s") or []
        found = number(times[tenths - 1]) if len(times) >= tenths else None
        if found is None:
            raise Missing(NOT_ALL)
        return found

    return value


def _swapped(name: str) -> How:
    """Bytes of one of the host's counters of swapped pages over the window."""
    return lambda it: risen(it, f"vmstat.{name}", *_window(it)) * HOST_PAGE_BYTES


def _resident(all_givers: list[Iteration], moment: float) -> float:
    found = [giver.ram().at(moment) for giver in all_givers]
    if any(value is None for value in found):
        raise Missing(f"no sample before the event of every giver's {RAM}")
    return sum(value for value in found if value is not None)


def _given(it: Iteration) -> float:
    start, end = _window(it)
    mine = each_guest(it)
    return _resident(mine, start) - _resident(mine, end)


def _reaction(it: Iteration) -> float:
    start, end = _window(it)
    mine = each_guest(it)
    before = _resident(mine, start)
    moments = sorted({float(t) for giver in mine for t in giver.ram().between(start, end).t})
    for moment in moments:
        if before - _resident(mine, moment) >= LEAST_LEFT_BYTES:
            return moment - start
    raise Missing(LITTLE)


def _total(phase: str, key: str) -> How:
    return lambda it: sum(giver.result(phase, key) for giver in each_guest(it))


def _slowest_reader(it: Iteration) -> float:
    mine = each_guest(it)
    for giver in mine:
        reads, due = giver.result("reader-end", "reads"), giver.result("reader-end", "due")
        if reads < LEAST_READS_SHARE * due:
            raise Missing(f"a reader did {reads:.0f} of {due:.0f} reads: it could not keep its pace")
    wait: Callable[[Iteration], float] = latency("reader-end", "wait_p99_ns")
    return max(wait(giver) for giver in mine)


ARRIVAL: dict[str, How] = {
    "arrival_s": _until(_PARTS),
    "arrival_half_s": _until(_PARTS // 2),
    "arrival_had_share": lambda it: min(1.0, it.result("arrive", "bytes") / it.result("arrive", "asked_bytes")),
    "arrival_reaction_s": _reaction,
    "arrival_swapped_bytes": _swapped("pswpout"),
    "arrival_swapped_in_bytes": _swapped("pswpin"),
    "given_bytes": _given,
    "giver_p99_s": _slowest_reader,
    "giver_reread_bytes": _total("reader-end", "disk_bytes"),
    "giver_refaults": _total("reader-end", "refault_pages"),
    "giver_hot_disk_share": lambda it: _total("reread-hot", "disk_bytes")(it) / _total("reread-hot", "bytes")(it),
}
