"""Arms in which the host asks for memory: whether that was seen to work, and what it took."""

from __future__ import annotations

from typing import Any

from bench.analysis.doubts import Doubt
from bench.analysis.series import NO_CURVE, Curve
from bench.analysis.values import DISCARD, NO_GIVE, RAM, Boot, How, Iteration, Missing, number
from bench.wire.units import GIB, MIB, show_bytes

SWAPPED = "ram.swapped_bytes"
# Phases in which the guest has to get somewhere.
_TARGETS = ("give", "grow", "give-untouched", "grow-untouched")
# A fall of the residency by less than this is no sign of anything.
LEAST_FALL_BYTES, LEAST_FALL_SHARE = MIB, 0.05


def gave(boot: Boot, lines: dict[str, Curve]) -> list[str]:
    """What is wrong with the giving of a boot, one reason each.

    Memory has to leave while the guest gives it up: by discards that were traced, or by a fall of the residency (what
    was swapped out counts as held).
    """
    phases = boot.get("phases") or []
    wrong = [
        "the guest is smaller than in other arms: not all of its memory was plugged"
        for phase in phases
        if phase.get("name") == "plug" and not phase["result"].get("reached")
    ]
    gives = [phase for phase in phases if phase.get("name") == "give"]
    if not gives:
        wrong.append(f"mechanism not seen: the host never asked for memory by {boot.get('give')}")
    for phase in gives:
        if not _left(phase, lines):
            what = f"no memory left the host while the guest gave it up in iteration {phase.get('iteration')}"
            wrong.append(f"mechanism not seen: {what}")
    return wrong


def not_given(boot: Boot) -> list[Doubt]:
    """Targets that the guest did not reach."""
    found = []
    for phase in boot.get("phases") or []:
        result = phase.get("result") or {}
        if phase.get("name") in _TARGETS and result.get("reached") is False:
            reached, asked = (show_bytes(result[key]) for key in ("reached_bytes", "asked_bytes"))
            where = f"phase {phase['name']} of iteration {phase.get('iteration')}"
            text = f"{where}: the guest did without {reached}, not {asked}, when nobody waited any longer"
            found.append(Doubt("not-given", text))
    return found


def _left(phase: dict[str, Any], lines: dict[str, Curve]) -> bool:
    start, end = number(phase.get("start_s")), number(phase.get("end_s"))
    if start is None or end is None:
        return False
    if len(lines.get(DISCARD, NO_CURVE).between(start, end)):
        return True
    held = [_held(lines, moment) for moment in (start, end)]
    if held[0] is None or held[1] is None:
        return False
    reached = number(phase["result"].get("reached_bytes")) or 0.0
    return held[0] - held[1] >= max(LEAST_FALL_BYTES, LEAST_FALL_SHARE * reached)


def _held(lines: dict[str, Curve], moment: float) -> float | None:
    resident = lines.get(RAM, NO_CURVE).at(moment)
    return None if resident is None else resident + (lines.get(SWAPPED, NO_CURVE).at(moment) or 0.0)


def _result(it: Iteration, phase: str, key: str) -> float:
    if not it.boot.get("give"):
        raise Missing(NO_GIVE)
    return it.result(phase, key)


def _given_share(it: Iteration) -> float:
    wanted = _result(it, "give", "wanted_bytes")
    if wanted <= 0:
        raise Missing("no memory was asked for")
    return _result(it, "give", "reached_bytes") / wanted


def _per_gib(phase: str) -> How:
    def value(it: Iteration) -> float:
        given = _result(it, "give", "reached_bytes")
        if given <= 0:
            raise Missing("the guest gave nothing up")
        return _result(it, phase, "ns") / 1e9 / (given / GIB)

    return value


# Of every workload.
COMMON: dict[str, How] = {
    "given_share": _given_share,
    "give_s_per_gib": _per_gib("give"),
    "grow_s_per_gib": _per_gib("grow"),
}
