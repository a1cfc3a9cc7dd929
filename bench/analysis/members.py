"""The guests of a boot line with several, each as if it were a boot of its own."""

from __future__ import annotations

from bench.analysis.series import NO_CURVE, Curve
from bench.analysis.values import NO_COUNTER, Boot, Iteration, Missing

# What the host counts swap in.
HOST_PAGE_BYTES = 4096
# What the line has of guest 0, and of each guest in `guests`.
OF_A_GUEST = ("phases", "started", "argv", "guest", "ready_s", "placed", "clock", "qmp")
# Sources of rows that belong to one guest; all others are the host's, or of all guests together.
_OWN_SOURCES = ("ram", "qemu", "discard", "qmp")


def members(boot: Boot, lines: dict[str, Curve]) -> list[tuple[Boot, dict[str, Curve]]]:
    """Each guest that was started, as a boot line with its own phases and facts, beside its own curves and the host's.

    A boot of one guest is itself.
    """
    guests = boot.get("guests") or []
    if not guests:
        return [(boot, lines)]
    return [
        ({**boot, **{key: about.get(key) for key in OF_A_GUEST}, "number": number}, _curves(lines, number))
        for number, about in enumerate(guests)
        if about.get("argv")
    ]


def each_guest(it: Iteration) -> list[Iteration]:
    """Every guest that was started, with its own phases and curves; of phases that repeat the last. Raises Missing."""
    found = []
    for boot, lines in members(it.boot, it.curves):
        phases = {str(phase.get("name")): phase for phase in boot.get("phases") or []}
        found.append(Iteration(boot, phases, lines))
    if not found:
        raise Missing("no guest was started")
    return found


def risen(it: Iteration, name: str, start_s: float, end_s: float) -> float:
    """How much a counter of the host, or of all guests, grew from one moment to another. Raises Missing."""
    curve = it.curves.get(name, NO_CURVE)
    if len(curve) == 0:
        raise Missing(NO_COUNTER)
    # A counter that did not change has no row of its own in between.
    before, after = curve.at(start_s), curve.at(end_s)
    if before is None or after is None:
        raise Missing(f"the series has no {name} before what is measured")
    return after - before


def _curves(lines: dict[str, Curve], number: int) -> dict[str, Curve]:
    found = {}
    for full, curve in lines.items():
        source, _, rest = full.partition(".")
        if source not in _OWN_SOURCES:
            found[full] = curve
            continue
        first, _, name = rest.partition(".")
        owner = int(first) if first.isdigit() else 0
        if owner == number:
            found[f"{source}.{name if first.isdigit() else rest}"] = curve
    return found
