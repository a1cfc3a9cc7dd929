"""An effect and its interval as text, the same in every table; needs no numbers but those of one line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.wire.units import show


def effect(metric: dict[str, Any]) -> str:
    """The effect as shown in tables: a factor "×0.182", or a difference with its sign."""
    return amount(metric["effect"], metric)


def interval_title(metrics: Sequence[dict[str, Any]]) -> str:
    """What the interval of these metrics of one run is called: after several looks it is one of more than 95 %."""
    return f"{metrics[0].get('percent', 95):.3g} % interval" if metrics else "95 % interval"


def interval(metric: dict[str, Any]) -> str:
    """The 95 % interval as shown, "–" if there is none."""
    if metric["low"] is None or metric["high"] is None:
        return "–"
    low, high = (amount(metric[end], metric) for end in ("low", "high"))
    # A unit that both ends have is said once.
    shared = metric["kind"] != "ratio" and low.rpartition(" ")[2] == high.rpartition(" ")[2] and " " in low
    return f"{low.rpartition(' ')[0] if shared else low} to {high}"


def amount(value: float | None, metric: dict[str, Any]) -> str:
    """One number on the scale of the effect; "–" for None."""
    if value is None:
        return "–"
    if metric["kind"] == "ratio":
        return f"×{value:.3g}" if value < 0.95 or value >= 1.05 else f"×{value:.3f}"
    return f"{'+' if value > 0 else ''}{show(value, metric['unit'])}"
