"""The error rates of the method, simulated through the code that judges real runs. `pytest -rP` prints the counts."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from analysis_boots import measured, metric, run

from bench.analysis.blocks import Run
from bench.analysis.compare import Comparison, compare
from bench.analysis.entries import adjusted, entries, least_blocks
from bench.analysis.gate import Measured, red_places
from bench.analysis.looks import ONE_LOOK, Levels, levels
from bench.analysis.series import FloatArray
from bench.analysis.stopping import going_on
from bench.analysis.values import Boot
from bench.analysis.verdict import LEVEL, decide, holm
from bench.wire.metrics import metrics_of

pytestmark = pytest.mark.once

RATIO = metric()
MARGIN = 0.05
METHOD = Path(__file__).resolve().parents[2] / "docs" / "method.md"
NOISES = ("normal", "drift", "skewed", "bimodal")
BOOT_SD = 0.04
FAMILY = 24
# Half as many in each of two cells. Those that have no resolution: a floor would hide alarms.
NAMES = [m.name for m in metrics_of("cycle") if (m.kind, m.direction, m.resolution) == ("ratio", "lower", 0.0)]
NAMES = NAMES[: FAMILY // 2]


def noise_of_boots(rng: np.random.Generator, noise: str, shape: tuple[int, ...]) -> FloatArray:
    """Deviations of boots from their mean, in units of about one standard deviation."""
    if noise == "skewed":
        return (rng.gamma(4, 1, shape) - 4) / 2
    if noise == "bursts":
        return rng.exponential(1, shape)
    if noise == "bimodal":
        return 2.0 * (rng.random(shape) < 0.3) + rng.normal(0, 0.3, shape)
    return rng.normal(0, 1, shape)


def arms(rng: np.random.Generator, noise: str, shape: tuple[int, ...], ratio: float, sd: float) -> FloatArray:
    """(2, *shape), blocks last: two arms on a host whose speed differs by block, and with "drift" falls steadily."""
    n = shape[-1]
    host = np.exp(rng.normal(0, 0.1, shape) + (np.linspace(0, 0.3, n) if noise == "drift" else 0))
    values = 100 * host * np.exp(sd * noise_of_boots(rng, noise, (2, *shape)))
    return np.asarray(values * np.array([1, ratio]).reshape(2, *(1,) * len(shape)), dtype=np.float64)


def compared(seed: tuple[int, ...], noise: str, n: int, runs: int, ratio: float, sd: float) -> Iterator[Comparison]:
    a, b = arms(np.random.default_rng([*seed, n, *noise.encode()]), noise, (runs, n), ratio, sd)
    for one, other in zip(a.tolist(), b.tolist(), strict=True):
        yield compare(one, other, RATIO)


def coverage(n: int, noise: str, runs: int = 2000) -> float:
    """Share of simulated runs of n blocks whose 95 % interval holds the true ratio."""
    truth, covered = 0.9, 0
    for found in compared((1,), noise, n, runs, truth, BOOT_SD):
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= truth <= found.high
    print(f"{noise}, {n} blocks: {covered} of {runs} intervals hold the truth")
    return covered / runs


@pytest.mark.parametrize("n", [5, 6, 10])
@pytest.mark.parametrize("noise", NOISES)
def test_the_95_percent_interval_covers_the_truth_in_93_to_97_percent(n: int, noise: str) -> None:
    assert 0.93 <= coverage(n, noise) <= 0.97


@pytest.mark.parametrize("n", [3, 5, 10])
def test_exponential_noise_makes_the_interval_too_wide_but_not_too_narrow(n: int) -> None:
    assert 0.94 <= coverage(n, "bursts") <= 0.985


def a_a_run(rng: np.random.Generator, noise: str, n: int) -> tuple[Run, list[Boot]]:
    """Two cells of 12 metrics, the same arm twice, as a controller writes it; one boot failed and was repeated."""
    values = arms(rng, noise, (2, len(NAMES), n), 1.0, BOOT_SD)
    boots = [
        measured(arm, block, {name: [values[side, at, i, block]] for i, name in enumerate(NAMES)}, cell=f"cycle-{at}")
        for block in range(n)
        for side, arm in enumerate(("none", "reporting"))
        for at in range(2)
    ]
    lost = boots[0] | {"status": "failed", "values": {name: [1e9] for name in NAMES}}
    boots[0] = boots[0] | {"attempt": 2}
    return run(n, metrics={name: {"margin": MARGIN} for name in NAMES}), [lost, *boots]


def alarms_of(plan: Run, boots: list[Boot]) -> Mapping[str, bool]:
    """Whether anything is called worse: by p alone, by p and margin, by the rule; and whether better or worse by it."""
    every = [entry for entry in entries(plan, boots) if entry.blocking]
    assert len(every) == FAMILY
    p_holm = adjusted([entry.comparison.p for entry in every], [True] * FAMILY)
    least = least_blocks(plan)
    words = {
        decide(entry.comparison, entry.metric, entry.margin, p, least).word
        for entry, p in zip(every, p_holm, strict=True)
    }
    margin = {decide(entry.comparison, entry.metric, entry.margin, 0.0, least).word for entry in every}
    return {
        "p alone": any(entry.comparison.p < LEVEL and entry.comparison.d > 0 for entry in every if entry.comparison.p),
        "and margin": "worse" in margin,
        "rule": "worse" in words,
        "rule, either way": bool(words & {"better", "worse"}),
    }


@pytest.mark.parametrize("noise", NOISES)
def test_an_a_a_run_of_24_metrics_is_called_worse_in_at_most_5_percent(noise: str) -> None:
    runs = 300
    rng = np.random.default_rng([24, *noise.encode()])
    counts: Counter[str] = Counter()
    for _ in range(runs):
        counts.update(name for name, red in alarms_of(*a_a_run(rng, noise, 6)).items() if red)
    print(f"{noise}: false alarms of {runs} A/A runs of {FAMILY} metrics: {dict(counts)}")
    assert counts["rule"] / runs <= 0.05
    assert counts["p alone"] / runs > 0.3, "the rule has something to prevent"


def documented() -> list[tuple[float, int, int, int]]:
    """The table of blocks in docs/method.md: boot sd, blocks for equivalent, worse alone, worse among 24."""
    rows = re.findall(r"^ *\| (\d+) % \| (\d+) \| (\d+) \| (\d+) \|$", METHOD.read_text(), re.MULTILINE)
    return [(int(sd) / 100, int(same), int(alone), int(among)) for sd, same, alone, among in rows]


def power(word: str, family: int, n: int, sd: float, runs: int = 1000) -> float:
    """Share of runs with the word: no effect (equivalent) or one of twice the margin, the rest of the family A/A."""
    others = np.random.default_rng(family).random((runs, family - 1))
    inner = 0.0 if word == "equivalent" else 2 * math.log1p(MARGIN)
    right = 0
    for found, rest in zip(compared((2, family), "normal", n, runs, math.exp(inner), sd), others, strict=True):
        p_holm = holm([found.p, *rest])[0]
        right += decide(found, RATIO, MARGIN, p_holm, 3).word == word
    print(f"{word}, {family} metrics, {n} blocks, boot sd {sd:.0%}: {right} of {runs}")
    return right / runs


def test_the_blocks_that_the_method_states_have_a_power_of_80_percent() -> None:
    table = documented()
    assert [row[0] for row in table] == [0.02, 0.04, 0.06]
    for sd, same, alone, among in table:
        assert power("equivalent", 1, same, sd) >= 0.8
        assert power("worse", 1, alone, sd) >= 0.8
        assert power("worse", FAMILY, among, sd) >= 0.8


def test_blocks_for_a_smaller_noise_are_too_few_for_a_larger_one() -> None:
    _, same, alone, among = documented()[0]
    assert (
        max(power("equivalent", 1, same, 0.04), power("worse", 1, alone, 0.04), power("worse", 24, among, 0.04)) < 0.7
    )


LOOKS = (6, 10, 15, 20, 30)


def first_verdict(a: list[float], b: list[float], at: Levels) -> str:
    """The word at the look that ends it: the first that decides, or the last."""
    word = "undecided"
    for n in LOOKS:
        found = compare(a[:n], b[:n], RATIO, at)
        word = decide(found, RATIO, MARGIN, found.p, 3).word
        if word != "undecided":
            break
    return word


def words_over_looks(at: Levels, sd: float, inner: float, runs: int = 1000) -> Counter[str]:
    """How often each word is the end of one metric's looks, with a true effect of `inner` on the scale of d."""
    rng = np.random.default_rng([3, round(100 * sd)])
    a, b = arms(rng, "normal", (runs, LOOKS[-1]), math.exp(inner), sd)
    counts = Counter(first_verdict(one, other, at) for one, other in zip(a.tolist(), b.tolist(), strict=True))
    print(f"looks {LOOKS}, level {at.different:.4f}, boot sd {sd:.0%}, effect {inner:.3f}: {dict(counts)} of {runs}")
    return counts


@pytest.mark.parametrize("sd", [0.04, 0.06, 0.08])
def test_over_all_looks_no_effect_is_called_different_in_at_most_5_percent(sd: float) -> None:
    counts = words_over_looks(levels(LOOKS), sd, 0.0)
    assert (counts["worse"] + counts["better"]) / counts.total() <= 0.05


def test_the_level_of_one_look_is_too_lax_for_five() -> None:
    counts = words_over_looks(ONE_LOOK, 0.12, 0.0)
    assert (counts["worse"] + counts["better"]) / counts.total() > 0.08


@pytest.mark.parametrize("sd", [0.02, 0.04, 0.06])
def test_over_all_looks_an_effect_as_large_as_the_margin_is_called_equivalent_in_at_most_5_percent(sd: float) -> None:
    counts = words_over_looks(levels(LOOKS), sd, math.log1p(MARGIN))
    # The level is met, and not undercut: two standard errors of 1000 runs are 0.014.
    assert counts["equivalent"] / counts.total() <= 0.05 + 0.014


def gate_over_looks(rng: np.random.Generator, noise: str) -> tuple[bool, int]:
    """An A/A run as a gate with looks sees it: whether anything is red at its end, and the blocks of its cells."""
    plan, lines = a_a_run(rng, noise, LOOKS[-1])
    boots = [{**line, "block": line["block"] + 1} for line in lines]
    plan = {**plan, "looks": list(LOOKS), "gate": {"rules": [{"metric": name} for name in NAMES]}}
    cells = {str(boot["cell"]) for boot in boots}
    taken = dict.fromkeys(cells, LOOKS[-1])
    for look in LOOKS[:-1]:
        here = [boot for boot in boots if boot["block"] <= min(look, taken[boot["cell"]])]
        going = going_on(plan, here, "local", look)
        for cell in cells:
            if taken[cell] > look and cell not in going:
                taken[cell] = look
    kept = [boot for boot in boots if boot["block"] <= taken[boot["cell"]]]
    return bool(red_places(Measured("a", plan, kept))), sum(taken.values())


@pytest.mark.parametrize("noise", ["normal", "bimodal"])
def test_a_gate_of_24_metrics_with_looks_is_red_in_at_most_5_percent_of_a_a_runs(noise: str) -> None:
    """Red once; before it says 1 it measures again."""
    runs = 40
    rng = np.random.default_rng([9, *noise.encode()])
    found = [gate_over_looks(rng, noise) for _ in range(runs)]
    red = sum(is_red for is_red, _ in found)
    print(f"{noise}: {red} of {runs} A/A gates red over looks {LOOKS}; blocks a cell: "
          f"{np.mean([blocks for _, blocks in found]) / 2:.1f}")  # fmt: skip
    assert red / runs <= 0.05
