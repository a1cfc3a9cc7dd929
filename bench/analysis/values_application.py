"""How the metrics of real programs are read from phases and curves. docs/metrics.md has the definitions.

A program's own figures are read strictly: what has another form than expected is missing, with the reason.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable

from bench.analysis.values import NOT_ASKED, How, Iteration, Missing, mean_resident, plateau, returned

# Columns of `redis-benchmark --csv`, Redis 6.2 and later; before that there was no head and no latency.
_TEST, _RATE, _P99_MS = "test", "rps", "p99_latency_ms"


def _table(it: Iteration, phase: str) -> list[dict[str, str]]:
    """The client's rows, one a kind of request. Raises Missing where this is no job with a client."""
    result = it.phase(phase).get("result", {})
    rows = list(csv.DictReader(io.StringIO(str(result.get("output") or ""))))
    if not rows:
        raise Missing(NOT_ASKED)
    if any(row.get(column) is None for row in rows for column in (_TEST, _RATE, _P99_MS)):
        raise Missing(f"the benchmark client of phase {phase} printed no table with {_RATE} and {_P99_MS}")
    return rows


def _column(phase: str, name: str, pick: Callable[[list[float]], float]) -> How:
    def value(it: Iteration) -> float:
        texts = [row[name] for row in _table(it, phase)]
        try:
            return pick([float(text) for text in texts])
        except ValueError:
            raise Missing(f"the benchmark client of phase {phase} printed no number as {name}") from None

    return value


def _job(phase: str) -> How:
    return lambda it: it.result(phase, "ns") / 1e9


def _slowdown(it: Iteration) -> float:
    first = _job("busy")(it)
    if first <= 0:
        raise Missing("the first job took no time")
    return _job("again")(it) / first - 1


def _of_time(phase: str) -> dict[str, How]:
    return {
        f"{phase}_ops_per_s": _column(phase, _RATE, min),
        f"{phase}_p99_s": _column(phase, _P99_MS, lambda values: max(values) / 1e3),
        f"{phase}_job_s": _job(phase),
        f"{phase}_resident_bytes": lambda it: mean_resident(it, phase),
    }


APPLICATION: dict[str, How] = {
    **_of_time("busy"),
    **_of_time("again"),
    "idle_resident_bytes": plateau,
    "after_resident_bytes": lambda it: plateau(it, "after"),
    "idle_returned_bytes": returned,
    "slowdown_share": _slowdown,
}
