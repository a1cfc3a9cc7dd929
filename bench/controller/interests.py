"""What a plan wants to know: its metrics with their margins, and the pairs of them that span a Pareto front."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import Field

from bench.controller.quantities import read_share, read_size
from bench.controller.yamlfile import Document, KeyPath, Problem, Strict, check, valid_names
from bench.wire.metrics import METRICS, Metric, metrics_of
from workloads.catalog import WORKLOADS


class MetricModel(Strict):
    """One entry of `metrics:`."""

    margin: Any = Field(description="the smallest change that matters, as in 5%")


@dataclass(frozen=True)
class Interest:
    """What a plan asks of a metric. margin: a share for kind "ratio", otherwise an amount in the metric's own unit."""

    margin: float


def read_metrics(document: Document) -> tuple[dict[str, Interest], list[Problem]]:
    """The metrics of a plan with their margins, in its order, and everything that is wrong with them."""
    entries = document.value.get("metrics")
    given = given_metrics(document)
    found: dict[str, Interest] = {}
    problems: list[Problem] = []
    for name in entries if isinstance(entries, dict) else ():
        path: KeyPath = ("metrics", name)
        if name not in given:
            what = "no workload of this plan gives it" if name in METRICS else "unknown metric"
            problems.append(document.problem(path, f"{what}; {valid_names(name, given)}"))
            continue
        model, wrong = check(document, MetricModel, path)
        problems += wrong
        if model:
            try:
                found[name] = Interest(read_margin(METRICS[name], model.margin))
            except ValueError as error:
                problems.append(document.problem((*path, "margin"), str(error)))
    return found, problems


def read_pareto(document: Document) -> tuple[tuple[tuple[str, str], ...], list[Problem]]:
    """Pairs of metrics that have a better side, and that the plan's workloads give."""
    entries = document.value.get("pareto")
    given = [name for name in given_metrics(document) if METRICS[name].direction != "none"]
    found: list[tuple[str, str]] = []
    problems: list[Problem] = []
    for index, pair in enumerate(entries if isinstance(entries, list) else ()):
        path: KeyPath = ("pareto", index)
        if not isinstance(pair, list) or len(pair) != 2 or pair[0] == pair[1]:
            message = "no pair; write two metrics, as in [residual_bytes, qemu_cpu_s]"
            problems.append(document.problem(path, message))
            continue
        wrong = [(place, name) for place, name in enumerate(pair) if name not in given]
        for place, name in wrong:
            message = (
                f"{name!r} is no metric of this plan's workloads with a better side; {valid_names(str(name), given)}"
            )
            problems.append(document.problem((*path, place), message))
        if not wrong:
            found.append((pair[0], pair[1]))
    return tuple(found), problems


def given_metrics(document: Document) -> list[str]:
    """Names of the metrics that the plan's workloads give; all of them while none of these is known."""
    entries = document.value.get("workloads")
    kinds = [entry.get("workload") for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    known = [kind for kind in kinds if isinstance(kind, str) and kind in WORKLOADS]
    by_plan = {metric.name for kind in known for metric in metrics_of(kind)}
    return [name for name in METRICS if name in by_plan or not known]


def read_margin(metric: Metric, given: Any) -> float:
    """A share for a ratio, else an amount in the metric's unit. Raises ValueError with what would be right."""
    amount = "a size, as in 16M" if metric.unit == "byte" else f"a number ({metric.unit}), as in 0.5"
    if metric.kind == "ratio" or metric.unit == "share":
        value = read_share(given)
    elif metric.unit == "byte" and "%" not in str(given):
        value = float(read_size(given))
    elif isinstance(given, (int, float)) and not isinstance(given, bool):
        value = float(given)
    else:
        raise ValueError(f"{given!r} is no amount; {metric.name} can be zero, so write {amount}")
    if value <= 0:
        raise ValueError(f"{given!r} leaves no room for equal; write more than 0")
    return value
