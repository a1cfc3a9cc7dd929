"""`bench list`: tables of what there is, as plain rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench.controller.arms import ARMS
from bench.controller.inventory import load_inventory
from bench.controller.plan import shipped_plans
from bench.controller.quantities import show_cpus
from bench.controller.store import RunFolder
from bench.wire.metrics import METRICS
from workloads.catalog import WORKLOADS

Rows = list[dict[str, str]]


def listing(what: str) -> Rows:
    """The rows of one table; every row has the same keys."""
    tables: Mapping[str, Callable[[], Rows]] = {
        "plans": _plans,
        "arms": _arms,
        "workloads": _workloads,
        "metrics": _metrics,
        "hosts": _hosts,
        "runs": _runs,
    }
    return tables[what]()


def render(rows: Sequence[Mapping[str, str]]) -> str:
    """Plain text in aligned columns, with a heading."""
    if not rows:
        return "(none)\n"
    keys = list(rows[0])
    widths = {key: max(len(key), *(len(row[key]) for row in rows)) for key in keys}
    table = [{key: key for key in keys}, *rows]
    return "".join("  ".join(row[key].ljust(widths[key]) for key in keys).rstrip() + "\n" for row in table)


def _plans() -> Rows:
    return [{"plan": name, "question": question} for name, question in shipped_plans().items()]


def _arms() -> Rows:
    words = {True: "yes", False: "no"}
    return [
        {
            "arm": arm.name,
            "balloon": words[arm.balloon],
            "reporting": words[arm.reporting],
            "the host asks by": arm.give or "-",
            "backing": arm.backing,
        }
        for arm in ARMS.values()
    ]


def _workloads() -> Rows:
    return [
        {
            "workload": workload.name,
            "parameter": parameter.name,
            "default": str(parameter.default),
            "help": parameter.help,
        }
        for workload in WORKLOADS.values()
        for parameter in workload.parameters
    ]


def _metrics() -> Rows:
    return [
        {"metric": metric.name, "unit": metric.unit, "better": metric.direction, "definition": metric.definition}
        for metric in METRICS.values()
    ]


def _hosts() -> Rows:
    return [
        {
            "host": host.name,
            "address": host.address,
            "accel": host.accel,
            "tags": " ".join(host.tags) or "-",
            "guest cpus": show_cpus(host.guest_cpus) or "any",
            "sampler cpus": show_cpus(host.sampler_cpus) or "any",
            "qemu": host.qemu or "(the host's own)",
        }
        for host in load_inventory().hosts
    ]


def _runs() -> Rows:
    rows = []
    for file in sorted(Path("results").glob("*/run.json")):
        folder = RunFolder(file.parent)
        run = folder.run
        ended = {(boot["cell"], boot["arm"], boot["block"]) for boot in folder.boots() if boot["status"] != "failed"}
        rows.append(
            {
                "run": str(file.parent),
                "plan": run["plan"],
                "accel": run["accel"],
                "started": run["started"],
                "boots": f"{len(ended)} of {len(run['schedule'])}",
            }
        )
    return rows
