"""Two runs compared without pairs: Welch's interval against scipy's, broken data, and fingerprints that must agree."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from analysis_boots import CALM, metric
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bench.analysis.fingerprint import Side, differences
from bench.analysis.unpaired import Welch, judge, welch
from bench.analysis.verdict import WORDS, Verdict
from bench.wire.metrics import Metric

RATIO, HIGHER, PLAIN, EXACT = (
    metric(),
    metric(direction="higher"),
    metric(kind="difference"),
    metric(kind="exact"),
)
NUMBERS = st.one_of(st.none(), st.sampled_from([0.0, 1.0, math.nan, math.inf, -math.inf, 1e308, 5e-324]), st.floats())


def judged(found: Welch, of: Metric = RATIO, margin: float = 0.05) -> Verdict:
    return judge(found, of, margin, found.comparison.p, 3)


@pytest.mark.parametrize("of", [RATIO, PLAIN])
def test_the_interval_is_that_of_welchs_t_test(of: Metric) -> None:
    rng = np.random.default_rng(5)
    a, b = rng.lognormal(3, 0.1, 6), rng.lognormal(3.2, 0.3, 9)
    x, y = (np.log(a), np.log(b)) if of.kind == "ratio" else (a, b)
    oracle = stats.ttest_ind(y, x, equal_var=False)
    inner = oracle.confidence_interval(0.95)
    found = welch(a.tolist(), b.tolist(), of)
    ends = [math.exp(end) if of.kind == "ratio" else end for end in inner]
    assert [found.comparison.low, found.comparison.high] == pytest.approx(ends)
    assert found.comparison.p == pytest.approx(oracle.pvalue)
    assert (found.n_base, found.n_head) == (6, 9)


def test_the_smallest_effect_it_could_have_seen_is_found_in_four_of_five_simulated_runs() -> None:
    rng = np.random.default_rng(6)
    idle = [rng.normal(100, 4, (2, 8)).tolist() for _ in range(300)]
    sizes = [welch(a, b, PLAIN).detectable for a, b in idle]
    effect = float(np.median([size for size in sizes if size is not None]))
    runs = [welch(rng.normal(100, 4, 8).tolist(), rng.normal(100 + effect, 4, 8).tolist(), PLAIN) for _ in range(600)]
    seen = np.mean([run.comparison.p is not None and run.comparison.p < 0.05 for run in runs])
    print(f"power at the detectable effect: {seen:.3f}")
    assert 0.74 < seen < 0.86


def test_a_clear_change_is_worse_or_better_by_the_metrics_direction() -> None:
    a, b = [100.0, 101.0, 99.0, 100.5], [120.0, 121.0, 119.0, 120.5]
    assert judged(welch(a, b, RATIO)).word == "worse"
    assert judged(welch(a, b, HIGHER), HIGHER).word == "better"
    assert judged(welch(a, a[::-1], RATIO)).word == "equivalent"


def test_equal_constant_and_few_boots_have_a_defined_verdict() -> None:
    for of in (RATIO, PLAIN, EXACT):
        assert judged(welch([5.0] * 3, [5.0] * 4, of), of).word == "equivalent"
        assert judged(welch([5.0] * 3, [9.0] * 3, of), of).word == "undecided"
        assert judged(welch([5.0], [9.0, 9.0, 8.0], of), of).word == "invalid"
        assert judged(welch([], [None], of), of).word == "invalid"
    assert judged(welch([1.0, 2.0, math.nan], [1.0, 2.0, 3.0], PLAIN), PLAIN).why == "a value is not finite"


@CALM
@given(st.lists(NUMBERS, max_size=6), st.lists(NUMBERS, max_size=6), st.sampled_from([RATIO, HIGHER, PLAIN, EXACT]))
def test_no_data_raise_and_every_pair_of_runs_has_one_verdict(
    a: list[float | None], b: list[float | None], of: Metric
) -> None:
    found = welch(a, b, of)
    verdict = judged(found, of)
    assert verdict.word in WORDS
    assert verdict.why
    if min(found.n_base, found.n_head) < 3:
        assert verdict.word == "invalid"
    if found.comparison.p is not None:
        assert 0 <= found.comparison.p <= 1


@CALM
@given(st.floats(0.1, 1e6), st.floats(0.1, 1e6), st.integers(3, 8))
def test_runs_without_any_spread_are_never_better_or_worse(a: float, b: float, n: int) -> None:
    for of in (RATIO, PLAIN):
        assert judged(welch([a] * n, [b] * n, of), of).word in ("equivalent", "undecided")


def boot(**more: Any) -> dict[str, Any]:
    return {
        "host": "lab", "cell": "cycle", "arm": "none", "block": 1, "status": "ok", "accel": "kvm",
        "guest_memory_bytes": 2**30, "argv": ["qemu", "-cpu", "host", "-kernel", "/a"], "guest": {"kernel": "6.12"},
        "files": {"qemu_sha256": "aa", "kernel_sha256": "bb"},
        "host_facts": {"cpu_model": "A", "cpus": 8, "MemTotal_bytes": 2**34, "kernel": "6.1"},
        **more,
    }  # fmt: skip


def side(plan: dict[str, Any] | None = None, bundle: str = "x", **more: Any) -> Side:
    run = {"plan": "quick", "variant": "", "versions": {"fpr-bench": "1"}, "bundle": bundle, "image": "i"}
    return Side(
        "run", {**run, "accel": more.get("accel", "kvm")}, [boot(**more)], {"seed": 1} if plan is None else plan
    )


def test_fingerprints_agree_when_only_order_and_number_of_boots_differ() -> None:
    assert differences(side(), side({"seed": 2, "blocks": 9, "metrics": {}})) == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"accel": "tcg"}, "lab: accelerator: kvm | tcg"),
        ({"files": {"qemu_sha256": "cc", "kernel_sha256": "bb"}}, "lab: QEMU (sha256): aa | cc"),
        ({"guest": {"kernel": "6.13"}}, "lab: guest kernel: 6.12 | 6.13"),
        ({"guest_memory_bytes": 2**31}, f"lab: guest memory: {2**30} | {2**31}"),
        ({"plan": {"window": 3}}, "plan.yaml: window: null | 3"),
        ({"bundle": "y"}, "host side: x | y"),
        ({"argv": ["qemu", "-cpu", "max", "-kernel", "/b"]}, "lab: options of QEMU: -cpu host | -cpu max"),
        ({"arm": "reporting"}, "arms of cells with good boots: lab/cycle/none | lab/cycle/reporting"),
    ],
)
def test_what_differs_is_named_with_both_values(changed: dict[str, Any], said: str) -> None:
    assert [str(one) for one in differences(side(), side(**changed))] == [said]


def test_what_neither_run_recorded_is_no_agreement() -> None:
    without = side(files={})
    assert "lab: QEMU (sha256): not recorded | not recorded" in [str(one) for one in differences(without, without)]


def test_a_fact_that_changed_inside_a_run_agrees_with_nothing() -> None:
    later = boot(block=2, host_facts={**boot()["host_facts"], "kernel": "6.2"})
    both = Side("run", side().run, [boot(), later], {"seed": 1})
    assert [str(one) for one in differences(both, both)] == ["lab: host kernel: 6.1 and 6.2 | 6.1 and 6.2"]
