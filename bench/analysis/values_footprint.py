"""How the metrics of `footprint` are read from phases and curves. docs/metrics.md has the definitions."""

from __future__ import annotations

from collections.abc import Callable

from bench.analysis.series import NO_CURVE
from bench.analysis.values import CPU, ONE_DAY, How, Iteration, Missing, number, plateau

BEGIN, WORKED, END = "day-begin", "work-end", "dropped"
WAITS = ("idle", "cleaned", "dropped")
# A job that reads, works and writes; so many of them, numbered from 1.
STEPS, MOST_JOBS = ("read", "work", "objects"), 32
JOBS = tuple(f"{step}-{number}" for number in range(1, MOST_JOBS + 1) for step in STEPS)


def day(it: Iteration) -> tuple[float, float]:
    """From the snapshot before the first job to the end of the last wait."""
    return it.moment(BEGIN, "start_s"), it.moment(END, "end_s")


def _length(it: Iteration) -> float:
    start, end = day(it)
    if end <= start:
        raise Missing("the day has no length")
    return end - start


def _footprint(it: Iteration) -> float:
    area = it.ram().integral(*day(it))
    if area is None:
        raise Missing("the series does not cover the day")
    return area


def _guest_share(it: Iteration) -> float:
    memory = number(it.boot.get("guest_memory_bytes"))
    if not memory:
        raise Missing("the boot has no guest_memory_bytes")
    return _footprint(it) / (memory * _length(it))


def _peak(it: Iteration) -> float:
    during = it.ram().between(*day(it))
    if len(during) == 0:
        raise Missing("no sample in the day")
    return float(during.v.max())


def _growth(it: Iteration) -> float:
    ends = [phase for phase in it.boot.get("phases") or [] if phase.get("name") == END]
    if len(ends) < 2:
        raise Missing(ONE_DAY)
    first, last = (plateau(Iteration(it.boot, {END: phase}, it.curves), END) for phase in (ends[0], ends[-1]))
    return last - first


def work_s(it: Iteration) -> float:
    """From the begin of the first job to the end of the last, s. Raises Missing."""
    return it.moment(WORKED, "start_s") - it.moment(BEGIN, "end_s")


def _disk(it: Iteration) -> float:
    reads = [name for name in it.phases if name.startswith("read-")]
    if not reads:
        raise Missing("no job read anything")
    return sum(it.result(name, "disk_bytes") for name in reads)


def _main_cpu(it: Iteration) -> float:
    curve = it.curves.get(CPU[0], NO_CURVE)
    before, after = (curve.at(moment) for moment in day(it))
    if before is None or after is None:
        raise Missing("no CPU sample of QEMU's main thread")
    return after - before


def _kworker(it: Iteration) -> float:
    used = it.result("day-end", "kworker_ns") - it.result(BEGIN, "kworker_ns")
    if used < 0:
        raise Missing("CPU time ran backwards: a thread ended")
    return used / 1e9


def _wait(phase: str) -> Callable[[Iteration], float]:
    return lambda it: plateau(it, phase)


FOOTPRINT: dict[str, How] = {
    "day_footprint_byte_s": _footprint,
    "day_guest_share": _guest_share,
    "day_resident_bytes": lambda it: _footprint(it) / _length(it),
    "day_peak_bytes": _peak,
    **{f"day_{phase}_bytes": _wait(phase) for phase in WAITS},
    "day_growth_bytes": _growth,
    "day_work_s": work_s,
    "day_disk_bytes": _disk,
    "day_qemu_main_cpu_s": _main_cpu,
    "day_kworker_cpu_s": _kworker,
}
