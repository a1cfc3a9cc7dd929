"""`combined` of analysis.json: every workload cell and arm over all hosts that have enough blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.analysis.blocks import Run
from bench.analysis.combine import Combined, combine
from bench.analysis.entries import Entry, adjusted, least_blocks, reference_of
from bench.analysis.shown import amount
from bench.analysis.verdict import Verdict, decide


@dataclass(frozen=True)
class _Pair:
    """One pair of arms of one workload cell. entries: metric -> host -> its comparison; the hosts in their order."""

    cell: str
    arm: str
    hosts: tuple[str, ...]
    left_out: dict[str, str]
    entries: Mapping[str, Mapping[str, Entry]]


def asked(run: Run, entries: Sequence[Entry] = ()) -> list[str]:
    """The hosts that the run wanted; in older runs those that have boots."""
    return [str(host) for host in run.get("hosts") or dict.fromkeys(entry.cell[0] for entry in entries)]


def over_hosts(run: Run, entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """One item a cell and arm; none where fewer than two hosts have enough complete blocks."""
    least = least_blocks(run)
    pairs = [pair for pair in _pairs(run, entries, least) if len(pair.hosts) > 1]
    found = [
        (pair, by_host, combine({host: entry.comparison for host, entry in by_host.items()}, one.metric, least))
        for pair in pairs
        for by_host in pair.entries.values()
        for one in [next(iter(by_host.values()))]
    ]
    blocking = [next(iter(by_host.values())).blocking for _, by_host, _ in found]
    p_values = adjusted([item.comparison.p for _, _, item in found], blocking)
    shown: dict[int, list[dict[str, Any]]] = {}
    for (pair, by_host, item), p_holm in zip(found, p_values, strict=True):
        shown.setdefault(id(pair), []).append(_shown(by_host, item, p_holm, least))
    return [
        {
            "cell": pair.cell,
            "reference": reference_of(run, pair.arm),
            "arm": pair.arm,
            "hosts": list(pair.hosts),
            "hosts_asked": asked(run, entries),
            "left_out": pair.left_out,
            "metrics": shown[id(pair)],
        }
        for pair in pairs
    ]


def _pairs(run: Run, entries: Sequence[Entry], least: int) -> list[_Pair]:
    found = []
    for cell, arm in dict.fromkeys((entry.cell[1], entry.arm) for entry in entries):
        mine = [entry for entry in entries if (entry.cell[1], entry.arm) == (cell, arm)]
        blocks = dict.fromkeys(asked(run, entries), 0) | {entry.cell[0]: len(entry.blocks) for entry in mine}
        left_out = {host: _too_few(n, least) for host, n in blocks.items() if n < least}
        kept = [entry for entry in mine if entry.cell[0] not in left_out]
        by_metric: dict[str, dict[str, Entry]] = {}
        for entry in kept:
            by_metric.setdefault(entry.metric.name, {})[entry.cell[0]] = entry
        hosts = tuple(dict.fromkeys(entry.cell[0] for entry in kept))
        found.append(_Pair(cell, arm, hosts, left_out, by_metric))
    return found


def _too_few(n: int, least: int) -> str:
    return f"{n} of at least {least} complete blocks" if n else "no complete block"


def _shown(by_host: Mapping[str, Entry], item: Combined, p_holm: float | None, least: int) -> dict[str, Any]:
    entry, comparison = next(iter(by_host.values())), item.comparison
    verdict = _verdict(by_host, item, p_holm, least)
    # What the hosts disagree on has no common value, however well one could be computed.
    one = not (item.differ or item.why_not)
    return {
        "metric": entry.metric.name,
        "unit": entry.metric.unit,
        "kind": entry.metric.kind,
        "direction": entry.metric.direction,
        "margin": entry.margin,
        "effect": comparison.effect if one else None,
        "low": comparison.low if one else None,
        "high": comparison.high if one else None,
        **({} if comparison.percent == 95 else {"percent": comparison.percent}),
        "p": comparison.p if one else None,
        "p_holm": p_holm if one else None,
        "n": comparison.n,
        "hosts": len(item.hosts),
        "left_out": item.left_out,
        "heterogeneity_p": item.heterogeneity_p,
        "differ": list(item.differ),
        "per_host": {host: found.comparison.effect for host, found in by_host.items()},
        "verdict": verdict.word,
        "why": verdict.why,
        "capped": verdict.capped,
        "time_like": entry.metric.time_like,
        "blocking": entry.blocking,
    }


def _verdict(by_host: Mapping[str, Entry], item: Combined, p_holm: float | None, least: int) -> Verdict:
    entry = next(iter(by_host.values()))
    if item.differ:
        return Verdict("undecided", _disagreement(by_host, item))
    if item.why_not:
        return Verdict("undecided", item.why_not)
    return decide(item.comparison, entry.metric, entry.margin, p_holm, least)


def _disagreement(by_host: Mapping[str, Entry], item: Combined) -> str:
    metric = next(iter(by_host.values())).metric
    kind = {"kind": metric.kind, "unit": metric.unit}
    seen = " and ".join(f"{amount(by_host[host].comparison.effect, kind)} on {host}" for host in item.differ)
    return f"the hosts differ: {seen} (heterogeneity p {item.heterogeneity_p:.2g})"
