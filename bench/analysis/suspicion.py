"""What makes the result of a run doubtful, looked for over all its boots and comparisons."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from bench.analysis import doubts
from bench.analysis.blocks import Cell, Run, attempt, cells, chosen, key
from bench.analysis.doubts import Doubt
from bench.analysis.side_effects import of_metric, values_of, watched
from bench.analysis.validity import unsettled_iterations
from bench.analysis.values import Boot
from bench.wire.metrics import METRICS
from bench.wire.units import show

FEW_BLOCKS = 6


def of_run(
    run: Run, boots: Sequence[Boot], compared: Sequence[dict[str, Any]], combined: Sequence[dict[str, Any]] = ()
) -> list[Doubt]:
    """Every warning of a run. compared, combined: the `cells` and `combined` of analysis.json."""
    found: list[Doubt] = _of_hosts(run, compared)
    for status in ("invalid", "failed"):
        names = [str(boot["boot"]) for boot in boots if boot.get("status") == status]
        if names:
            found.append(doubts.not_usable(status, names))
    for boot in boots:
        if boot.get("status") == "skipped":
            where = f"{boot['host']}.{boot['cell']}"
            found.append(doubts.skipped(str(boot["arm"]), where, str(boot.get("reason"))))
    repeated = [str(boot["boot"]) for boot in boots if attempt(boot) > 1]
    if repeated:
        found.append(doubts.retries(repeated))
    good = chosen(boots, run.get("accel"))
    for cell in cells(boots):
        found += _of_cell(run, good, cell)
        found += _of_pages(run, good, cell)
    for pair in compared:
        found += _of_pair(pair)
    for pair in combined:
        found += _of_combined(pair)
    found += _other_accelerators(run, boots)
    found += changed_files(boots)
    found += _of_boots(boots, good)
    if run.get("accel") != "kvm":
        found.append(doubts.emulated())
    return list(dict.fromkeys(found))


def changed_files(boots: Sequence[Boot]) -> list[Doubt]:
    """Arms whose QEMU or kernel was not the same file in all boots on one host."""
    found = []
    for key_, what in (("qemu_sha256", "QEMUs"), ("kernel_sha256", "guest kernels")):
        seen: dict[tuple[str, str], set[str]] = {}
        for boot in boots:
            digest = (boot.get("files") or {}).get(key_)
            if digest:
                seen.setdefault((str(boot["host"]), str(boot["arm"])), set()).add(digest)
        found += [doubts.changed_files(*party, what, len(all_)) for party, all_ in seen.items() if len(all_) > 1]
    return found


def _name(cell: Cell) -> str:
    return f"{cell[0]}.{cell[1]}"


def _of_hosts(run: Run, compared: Sequence[dict[str, Any]]) -> list[Doubt]:
    """Hosts that were asked and have no complete block, where there were several."""
    asked = [str(host) for host in run.get("hosts") or []]
    workloads = dict.fromkeys(pair["cell"] for pair in compared) or [""]
    whole = {(pair["host"], pair["cell"]) for pair in compared if pair["complete_blocks"]}
    missing = [(host, cell) for cell in workloads for host in asked if (host, cell) not in whole]
    return [doubts.no_block(host, cell) for host, cell in missing] if len(asked) > 1 else []


def _of_combined(pair: dict[str, Any]) -> list[Doubt]:
    where = f"{pair['cell']}, {pair['arm']} against {pair['reference']}"
    found = []
    for metric in pair["metrics"]:
        if metric["capped"]:
            found.append(doubts.robust_and_mean(metric["metric"], f"{where}, all hosts"))
        if metric["differ"] and metric["blocking"]:
            found.append(doubts.hosts_differ(metric["metric"], where, metric["why"]))
    return found


def _of_pair(pair: dict[str, Any]) -> list[Doubt]:
    where = f"{pair['host']}.{pair['cell']}, {pair['arm']} against {pair['reference']}"
    found = []
    if len(pair["complete_blocks"]) < FEW_BLOCKS:
        found.append(doubts.few_blocks(len(pair["complete_blocks"]), f"{pair['host']}.{pair['cell']}"))
    for metric in pair["metrics"]:
        if metric["capped"]:
            found.append(doubts.robust_and_mean(metric["metric"], where))
        sides = ((pair["reference"], metric["reference_blocks"]), (pair["arm"], metric["arm_blocks"]))
        for arm, values in sides:
            if metric["blocking"] and values and all(value is None for value in values):
                found.append(doubts.one_sided(metric["metric"], where, arm))
    return found


def _of_cell(run: Run, good: dict[tuple[str, str, str, int], Boot], cell: Cell) -> list[Doubt]:
    found: list[Doubt] = []
    for name in watched(run):
        for arm in run["arms"]:
            values = [value for value, _ in values_of(good, cell, arm, name)]
            found += _modes(name, f"{_name(cell)}, arm {arm}", values)
        seen = of_metric(run, good, cell, name)
        if seen.p_order is not None and doubts.is_clear(seen.p_order):
            found.append(doubts.order_effect(name, _name(cell), seen.p_order))
        if seen.p_drift is not None and doubts.is_clear(seen.p_drift):
            found.append(doubts.drift(name, _name(cell), seen.p_drift))
    return found


def _of_pages(run: Run, good: dict[tuple[str, str, str, int], Boot], cell: Cell) -> list[Doubt]:
    """Guests of one cell whose kernels chose another size of page, as one that boots with little memory does."""
    seen: dict[str, list[str]] = {}
    for (host, name, arm, _), boot in good.items():
        thp = (boot.get("guest") or {}).get("thp_enabled")
        if (host, name) == cell and arm in run["arms"] and thp and arm not in seen.setdefault(str(thp), []):
            seen[str(thp)].append(arm)
    if len(seen) < 2:
        return []
    text = "; ".join(f"{thp} in {', '.join(arms)}" for thp, arms in sorted(seen.items()))
    return [Doubt("thp-differs", f"{_name(cell)}: transparent huge pages of the guests differ: {text}")]


def _modes(name: str, where: str, values: Sequence[float]) -> list[Doubt]:
    groups = doubts.two_clusters(values)
    metric = METRICS[name]
    if groups is None or groups[1][0] - groups[0][-1] <= 2 * metric.resolution:
        return []
    low, high = groups
    shown = f"about {show(statistics.median(low), metric.unit)} and {show(statistics.median(high), metric.unit)}"
    return [doubts.bimodal(name, where, low, high, shown)]


def _other_accelerators(run: Run, boots: Sequence[Boot]) -> list[Doubt]:
    other = [str(boot["boot"]) for boot in boots if boot.get("accel", run.get("accel")) != run.get("accel")]
    if not other:
        return []
    text = f"{len(other)} boots ran under another accelerator than {run.get('accel')} and were left out ({other[0]} …)"
    return [Doubt("other-accelerator", text)]


def _of_boots(boots: Sequence[Boot], good: dict[tuple[str, str, str, int], Boot]) -> list[Doubt]:
    """Unsettled boots by arm, and the warnings that the boot lines carry (key "warnings"), counted by code."""
    unsettled: dict[str, list[str]] = {}
    carried: dict[str, list[tuple[str, str]]] = {}
    for boot in boots:
        if good.get(key(boot)) is not boot:
            continue
        if unsettled_iterations(boot):
            unsettled.setdefault(f"{boot['host']}.{boot['cell']}, arm {boot['arm']}", []).append(str(boot["boot"]))
        for warning in boot.get("warnings") or []:
            if warning.get("code") != "unsettled":
                carried.setdefault(str(warning["code"]), []).append((str(boot["boot"]), str(warning["text"])))
    found = [doubts.unsettled(where, names) for where, names in unsettled.items()]
    for code, items in carried.items():
        name, text = items[0]
        others = f" (and {len({boot for boot, _ in items}) - 1} other boots)" if len(items) > 1 else ""
        found.append(Doubt(code, f"{name}: {text}{others}"))
    return found
