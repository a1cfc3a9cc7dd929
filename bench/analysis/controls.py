"""The controls of a run: arms in which reports must do nothing, and whether each boot of them said why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.analysis.values import Boot


def controls(boots: Sequence[Boot]) -> list[dict[str, Any]]:
    """One item a host, cell and arm with `expect: nothing`: boots (those that were measured), recognised (those whose
    facts say why reports can do nothing and in which nothing was discarded), and why, each reason once.

    A boot that the host skipped says nothing; one that failed is none that was measured.
    """
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for boot in boots:
        if boot.get("expect") != "nothing" or boot.get("status") not in ("ok", "invalid"):
            continue
        key = (str(boot["host"]), str(boot["cell"]), str(boot["arm"]))
        first = dict(zip(("host", "cell", "arm"), key, strict=True))
        item = found.setdefault(key, {**first, "boots": 0, "recognised": 0, "why": []})
        item["boots"] += 1
        if boot["status"] == "ok":
            item["recognised"] += 1
            # What comes behind the colon is measured, and another number in each boot.
            reasons = [str(text).partition(":")[0] for text in boot.get("condition") or []]
            item["why"] += [reason for reason in reasons if reason not in item["why"]]
    return list(found.values())


def sentence(found: Sequence[dict[str, Any]]) -> str:
    """What a table or a page says of them in one sentence; "" where the plan has none."""
    if not found:
        return ""
    good = [item for item in found if item["recognised"] == item["boots"]]
    words = f"{len(good)} of {len(found)} controls recognised"
    bad = [f"{item['arm']} in {item['cell']} on {item['host']}" for item in found if item not in good]
    return f"{words}; not: {', '.join(bad)}" if bad else words
