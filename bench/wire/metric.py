"""What a metric is."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 2.0**20


@dataclass(frozen=True)
class Metric:
    """title: the metric in words, as a table shows it.

    resolution: the smallest difference that means anything, in the metric's unit (0: none declared).

    time_like: the figure depends on the speed of the (emulated) CPU and carries a mark under TCG.

    workloads: those whose boots give it; () for all. once: a fact of the boot, not of each iteration.
    """

    name: str
    title: str
    unit: str
    direction: str
    kind: str
    definition: str
    time_like: bool = False
    resolution: float = 0.0
    workloads: tuple[str, ...] = ("cycle",)
    once: bool = False
