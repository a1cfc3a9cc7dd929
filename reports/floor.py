"""What the self-test of each host says of the metrics of a run (floors.json), as text for its page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.analysis.floors import spread_of
from bench.wire.metrics import METRICS
from reports.load import Run

NONE = "–"


@dataclass(frozen=True)
class Floor:
    """One metric of one host: how far the same arm is from itself there, and what that allows."""

    title: str
    cell: str
    host: str
    sd: str
    sure: str
    least: str
    blocks: str
    n: str
    when: str


def floor(run: Run) -> list[Floor]:
    """The metrics that the plan names, as far as the hosts were tested for this plan; none without a self-test."""
    found = []
    for host, tested in run.floors.items():
        for cell, metrics in tested.get("cells", {}).items():
            names = [name for name in run.run.get("metrics") or {} if name in METRICS and name in metrics]
            found += [_floor(host, cell, name, metrics[name], str(tested.get("when", ""))[:10]) for name in names]
    return found


def _floor(host: str, cell: str, name: str, figures: dict[str, Any], day: str) -> Floor:
    return Floor(
        METRICS[name].title,
        cell,
        host,
        spread_of(figures["sd"], figures),
        spread_of(figures["sure"], figures),
        spread_of(figures["least_margin"], figures),
        str(figures["blocks_for_margin"] or NONE),
        str(figures["n"]),
        day,
    )
