"""Numbers as people read them."""

from __future__ import annotations

import pytest

from bench.wire.metrics import METRICS
from reports import words


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.2134, "×0.21"), (1.0, "×1.00"), (0.0123, "×0.0123"), (12.34, "×12.3"), (None, "–"), (True, "–")],
)
def test_factors_have_no_more_digits_than_can_be_believed(value: object, text: str) -> None:
    assert words.ratio(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.21, "79 % less"),
        (1.05, "5 % more"),
        (1.0, ""),
        (1.0004, ""),
        (0.962, "3.8 % less"),
        (3.99, "4.0 times as much"),
    ],
)
def test_factors_in_words(value: float, text: str) -> None:
    assert words.percent_change(value) == text


def test_a_difference_has_its_sign_and_a_share_is_in_points() -> None:
    assert words.signed(-3 * 2**20, "byte") == "−3 MiB"
    assert words.signed(0.954, "share") == "+95.4 points"
    assert words.signed(0.0, "count") == "±0"


def test_an_interval_names_its_unit_once_where_both_ends_have_the_same() -> None:
    row = {"kind": "difference", "unit": "byte", "low": 2**20 * 2, "high": 2**20 * 3}
    assert words.interval(row) == "+2 to +3 MiB"
    assert words.interval(row | {"low": 2**10}) == "+1 KiB to +3 MiB"
    assert words.interval({"kind": "ratio", "low": 0.19, "high": 0.23}) == "×0.19 to ×0.23"
    assert words.interval({"kind": "ratio", "low": None, "high": 0.23}) == "–"


def test_every_metric_has_a_title_and_a_place() -> None:
    assert all(words.title(name) != name for name in METRICS)
    assert words.OTHER not in {words.group_of(metric) for metric in METRICS}


def test_a_time_is_shown_in_utc_whatever_its_zone() -> None:
    assert words.when("2026-02-03T10:15:00+02:00") == "2026-02-03 08:15 UTC"
    assert words.when("not yet") == "not yet"


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("memory_bytes", 2**30, "1 GiB"),
        ("governor", None, "not there"),
        ("modules", [], "none"),
        ("stages", {"init_s": 1.5}, "init_s: 1.50 s"),
        ("smt", True, "yes"),
    ],
)
def test_facts_are_shown_with_their_units(name: str, value: object, text: str) -> None:
    assert words.fact(name, value) == text
