"""How often a combined interval of several hosts holds the truth, and how often hosts that agree are said to differ.

    python -m benchmarks.combine [RUNS]

Simulated, with fixed seeds: every host has the same true effect, and normal noise of its own between its blocks; then
hosts whose effects do differ. Prints the tables of docs/method.md. Half a minute.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from bench.analysis.combine import Z95, heterogeneity, interval, score, shares
from bench.analysis.series import FloatArray

HOSTS, BLOCKS = (2, 3, 5, 10), (3, 6, 10)
RUNS = 20_000
# Solving for the ends of an interval takes longer than asking whether it holds the truth.
_WIDTHS = 400
_NOISY = 3.0


@dataclass(frozen=True)
class Hosts:
    """Simulated estimates, one row a run, one column a host. sd: the true standard error of each host."""

    d: FloatArray
    error: FloatArray
    df: FloatArray
    sd: FloatArray


def simulate(hosts: int, blocks: int, *, unequal: bool = False, apart: float = 0.0, runs: int = RUNS) -> Hosts:
    """The true mean effect is 0. unequal: every second host is three times as noisy. apart: sd of the hosts' own
    effects, in standard errors of a host.
    """
    random = np.random.default_rng([hosts, blocks, int(unequal), int(10 * apart)])
    sd = np.where((np.arange(hosts) % 2 == 1) & unequal, _NOISY, 1.0) / np.sqrt(blocks)
    d = random.normal(0, 1, (runs, hosts)) * sd * np.sqrt(1 + apart**2)
    error = sd * np.sqrt(random.chisquare(blocks - 1, (runs, hosts)) / (blocks - 1))
    return Hosts(d, error, np.full(hosts, blocks - 1.0), sd)


Half = Callable[[Hosts], FloatArray]


def _standard_error(seen: Hosts) -> FloatArray:
    """Of the weighted mean, as if the variances were known."""
    return np.asarray(1 / np.sqrt(np.sum(seen.error**-2.0, axis=-1)))


def naive(seen: Hosts) -> FloatArray:
    """Half an interval: 1.96 standard errors."""
    return Z95 * _standard_error(seen)


def summed(seen: Hosts) -> FloatArray:
    """Student's t with the hosts' degrees of freedom added up."""
    return np.asarray(special.stdtrit(np.sum(seen.df), 0.975) * _standard_error(seen))


def meier(seen: Hosts) -> FloatArray:
    """Meier's variance of the weighted mean (Biometrics 9, 1953), and Satterthwaite's degrees of freedom."""
    share = shares(seen.error)
    larger = 1 + 4 * np.sum(share * (1 - share) / seen.df, axis=-1)
    df = 1 / np.sum(share**2 / seen.df, axis=-1)
    return np.asarray(special.stdtrit(df, 0.975) * _standard_error(seen) * np.sqrt(larger))


CANDIDATES: dict[str, Half] = {"z": naive, "t, summed df": summed, "Meier": meier}


def coverage(seen: Hosts) -> dict[str, float]:
    """Share of runs whose interval holds 0, by candidate; "scores" is the one that is used."""
    mean = np.sum(shares(seen.error) * seen.d, axis=-1)
    held = {name: float(np.mean(np.abs(mean) <= half(seen))) for name, half in CANDIDATES.items()}
    return {**held, "scores": float(np.mean(np.abs(score(seen.d, seen.error, seen.df)) <= Z95))}


def width(seen: Hosts) -> dict[str, float]:
    """Median width of two of them, over that of the interval for known noise."""
    ideal = 2 * Z95 / np.sqrt(np.sum(seen.sd**-2.0))
    ends = [interval(d, error, seen.df, Z95) for d, error in zip(seen.d[:_WIDTHS], seen.error[:_WIDTHS], strict=True)]
    wide = {"Meier": 2 * np.median(meier(seen)), "scores": np.median([high - low for low, high in ends])}
    return {name: float(value / ideal) for name, value in wide.items()}


def false_alarms(seen: Hosts) -> dict[str, float]:
    """Share of runs in which hosts that agree are called different, by chi square and by Welch's F."""
    mean = np.sum(shares(seen.error) * seen.d, axis=-1, keepdims=True)
    q = np.sum(((seen.d - mean) / seen.error) ** 2, axis=-1)
    return {
        "chi square": float(np.mean(stats.chi2.sf(q, seen.d.shape[-1] - 1) < 0.05)),
        "Welch": float(np.mean(heterogeneity(seen.d, seen.error, seen.df) < 0.05)),
    }


def agreeing(runs: int = RUNS) -> Iterator[str]:
    """The first table, in Markdown: hosts with one effect. Each cell: equal noise / unequal noise."""
    heads = [*CANDIDATES, "scores", "width: Meier", "width: scores", "alarms: χ²", "alarms: Welch"]
    yield f"| hosts | blocks | {' | '.join(heads)} |"
    yield "|---" * (2 + len(heads)) + "|"
    for hosts in HOSTS:
        for blocks in BLOCKS:
            cases = [simulate(hosts, blocks, unequal=unequal, runs=runs) for unequal in (False, True)]
            columns = [[f"{100 * share:.0f}" for share in coverage(seen).values()] for seen in cases]
            columns = [c + [f"{w:.2f}" for w in width(seen).values()] for c, seen in zip(columns, cases, strict=True)]
            columns = [
                c + [f"{100 * share:.0f}" for share in false_alarms(seen).values()]
                for c, seen in zip(columns, cases, strict=True)
            ]
            cells = [f"{equal} / {other}" for equal, other in zip(*columns, strict=True)]
            yield f"| {hosts} | {blocks} | {' | '.join(cells)} |"


def differing(runs: int = RUNS) -> Iterator[str]:
    """The second table: hosts with effects of their own, equally noisy. covers: of the runs not found to differ."""
    yield "| hosts | blocks | found, covers at 1 | at 2 | at 4 |"
    yield "|---" * 5 + "|"
    for hosts in (2, 3, 10):
        for blocks in (3, 10):
            cells = []
            for apart in (1.0, 2.0, 4.0):
                seen = simulate(hosts, blocks, apart=apart, runs=runs)
                found = heterogeneity(seen.d, seen.error, seen.df) < 0.05
                covers = np.abs(score(seen.d, seen.error, seen.df))[~found] <= Z95
                cells.append(f"{100 * np.mean(found):.0f}, {100 * np.mean(covers):.0f}")
            yield f"| {hosts} | {blocks} | {' | '.join(cells)} |"


def main(runs: int = RUNS) -> None:
    """Prints both tables."""
    for table in (agreeing, differing):
        print("\n".join(table(runs)), end="\n\n", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
