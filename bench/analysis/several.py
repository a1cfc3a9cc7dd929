"""Several runs of one plan: as one run where each was made on hosts of its own, else one after another in time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.analysis.fingerprint import UNKNOWN, Side, plain
from bench.analysis.values import Boot

# What run.json must say alike: what was asked, of which arms, and how it is judged.
ALIKE = ("plan", "variant", "accel", "reference", "arms", "against", "cells", "cell_arms", "metrics", "change")


def unlike(sides: Sequence[Side]) -> list[str]:
    """What keeps these runs from one page, as "fact: value (run), value (run)"; [] where nothing does."""
    found = []
    for fact in ALIKE:
        said = [plain(side.run[fact]) if fact in side.run else UNKNOWN for side in sides]
        if len(set(said)) > 1:
            values = dict(zip(reversed(said), (side.name for side in reversed(sides)), strict=True))
            found.append(f"{fact}: " + ", ".join(f"{value} ({name})" for value, name in reversed(values.items())))
    return found


def hosts_of(side: Side) -> list[str]:
    """Hosts with boots in a run."""
    return list(dict.fromkeys(str(boot.get("host")) for boot in side.boots))


def apart(sides: Sequence[Side]) -> bool:
    """Whether no host is in two of the runs."""
    every = [host for side in sides for host in hosts_of(side)]
    return len(every) == len(set(every))


def as_one(sides: Sequence[Side]) -> tuple[dict[str, Any], list[Boot]]:
    """(run.json, boots) of runs with hosts of their own, as if they had been one. When it began: the first of them."""
    first = min(sides, key=lambda side: str(side.run.get("started", "")))
    run = {
        **first.run,
        "hosts": [host for side in sides for host in (side.run.get("hosts") or hosts_of(side))],
        "schedule": [boot for side in sides for boot in side.run.get("schedule") or []],
        "blocks": max(int(side.run.get("blocks") or 0) for side in sides),
    }
    return run, [boot for side in sides for boot in side.boots]
