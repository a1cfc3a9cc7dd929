"""The verdict of a run in one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.analysis.blocks import Run
from bench.analysis.shown import interval, interval_title
from bench.analysis.values import Boot
from bench.wire.metrics import METRICS
from bench.wire.units import show

DEFAULT_METRIC = "residual_bytes"


def of_run(
    compared: Sequence[dict[str, Any]], combined: Sequence[dict[str, Any]], run: Run, boots: Sequence[Boot]
) -> dict[str, Any] | None:
    """The plan's first metric in the first cell, for the arm under question; None if nothing was compared.

    The arm under question is the first one that must discard, or the last one of the plan. Over all hosts that have
    enough blocks where there are two of them, else on the first host that has a complete block.
    """
    pairs = combined or compared
    if not pairs:
        return None
    reporting = {str(boot["arm"]) for boot in boots if boot.get("must_discard")}
    pair = next((pair for pair in pairs if pair["arm"] in reporting), pairs[-1])
    if not combined:
        alike = [other for other in pairs if (other["cell"], other["arm"]) == (pair["cell"], pair["arm"])]
        pair = next((other for other in alike if other["complete_blocks"]), pair)
    wanted = next(iter(run.get("metrics") or {}), DEFAULT_METRIC)
    metric = next((item for item in pair["metrics"] if item["metric"] == wanted), pair["metrics"][0])
    where = {"host": pair["host"]} if not combined else {"host": ", ".join(pair["hosts"]), "hosts": pair["hosts"]}
    only = f", host {pair['host']} only" if not combined and len(run.get("hosts") or []) > 1 else ""
    return {
        **where,
        "cell": pair["cell"],
        "arm": pair["arm"],
        "metric": metric["metric"],
        "verdict": metric["verdict"],
        "text": sentence(pair, metric, str(run.get("accel")), only),
    }


def sentence(pair: dict[str, Any], metric: dict[str, Any], accel: str, only: str = "") -> str:
    """One sentence in words, with the interval: what the arm did to the metric, and what that is called.

    pair: of one host, or of all of them combined; then it gives no values, which differ from host to host.
    """
    name, arm, reference = metric["metric"], pair["arm"], pair["reference"]
    title = METRICS[name].title
    if metric["verdict"] == "invalid" or metric["effect"] is None:
        return f"{title}: no verdict on arm {arm} against {reference}{only}: {metric['why']}."
    emulated = ", times of an emulated CPU" if metric["time_like"] and accel != "kvm" else ""
    values = f", {_values(metric)}" if "value" in metric else f" on {metric['hosts']} hosts"
    tail = f"{_blocks(metric['n'])}{only}{emulated}"
    if metric["low"] is None or metric["high"] is None:
        tail = f"no interval, {tail}"
    else:
        tail = f"{interval_title([metric])} {interval(metric)}, {tail}"
    because = f"; undecided: {metric['why']}" if metric["verdict"] == "undecided" else ""
    return f"{title}: {_change(metric)} with arm {arm} {_than(metric)} {reference}{values} ({tail}){because}."


def _values(metric: dict[str, Any]) -> str:
    return f"{show(metric['value'], metric['unit'])} against {show(metric['reference_value'], metric['unit'])}"


def _change(metric: dict[str, Any]) -> str:
    value = metric["effect"]
    if metric["kind"] != "ratio":
        return f"{show(abs(value), metric['unit'])} {'less' if value < 0 else 'more'}" if value else "the same"
    share = abs(value - 1) * 100
    if share < 0.05:
        return "about the same"
    return f"{value:.2f} times as much" if value >= 2 else f"{share:.1f} % {'less' if value < 1 else 'more'}"


def _than(metric: dict[str, Any]) -> str:
    change = _change(metric)
    return "than with" if change.endswith(("less", "more")) else "as with"


def _blocks(n: int) -> str:
    return f"{n} block" if n == 1 else f"{n} blocks"
