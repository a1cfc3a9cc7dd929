"""Sizes, shares and durations as people write them and as they read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.wire.metrics import METRICS
from bench.wire.units import GIB, KIB, MIB, TIB, parse_share, parse_size, show, show_bytes, show_seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512M", 512 * MIB),
        ("512MiB", 512 * MIB),
        ("512 mib", 512 * MIB),
        ("1.5G", 1536 * MIB),
        ("2T", 2 * TIB),
        ("4k", 4 * KIB),
        ("0", 0),
        (" 17 ", 17),
        ("17B", 17),
        (4096, 4096),
    ],
)
def test_a_size_is_read_with_binary_factors(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "M", "512X", "512MB", "-1M", "1e9", "1,5G", "0x10", "half"])
def test_what_is_no_size_is_refused_with_what_would_be_right(text: str) -> None:
    with pytest.raises(ValueError, match="is no size; write bytes or a number with K, M, G or T, as in 512M"):
        parse_size(text)


def test_part_of_a_byte_is_refused() -> None:
    with pytest.raises(ValueError, match="is no whole number of bytes"):
        parse_size("0.3K")


@given(st.integers(0, 2**50))
def test_any_number_of_bytes_is_read_as_itself(size: int) -> None:
    assert parse_size(str(size)) == size


@given(st.integers(0, 4096), st.sampled_from([("K", KIB), ("M", MIB), ("GiB", GIB)]))
def test_a_number_with_a_factor_is_their_product(count: int, unit: tuple[str, int]) -> None:
    assert parse_size(f"{count}{unit[0]}") == count * unit[1]


@pytest.mark.parametrize(("text", "share"), [("50%", 0.5), ("100 %", 1.0), ("0%", 0.0), (0.25, 0.25), ("1", 1.0)])
def test_a_share_is_read_as_a_percentage_or_a_number(text: str, share: float) -> None:
    assert parse_share(text) == share


@pytest.mark.parametrize("text", ["101%", "1.1", "-5%", "half", "", 50])
def test_what_is_no_share_is_refused_with_what_would_be_right(text: str) -> None:
    with pytest.raises(ValueError, match="is no share; write a percentage as in 50%"):
        parse_share(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (KIB, "1 KiB"),
        (385 * MIB, "385 MiB"),
        (385.4 * MIB, "385 MiB"),
        (1536 * MIB, "1.50 GiB"),
        (12.34 * GIB, "12.3 GiB"),
        (-5 * MIB, "-5 MiB"),
        (2 * TIB, "2 TiB"),
    ],
)
def test_bytes_are_shown_with_a_binary_unit_and_three_digits(size: float, text: str) -> None:
    assert show_bytes(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (2, "2 s"),
        (2.345, "2.35 s"),
        (0.00235, "2.35 ms"),
        (12.34e-6, "12.3 µs"),
        (5e-9, "5 ns"),
        (-0.5, "-500 ms"),
    ],
)
def test_seconds_are_shown_with_a_decimal_unit_and_three_digits(seconds: float, text: str) -> None:
    assert show_seconds(seconds) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (MIB, "byte", "1 MiB"),
        (0.5, "second", "500 ms"),
        (3 * GIB, "byte-second", "3 GiB·s"),
        (1.25, "second/GiB", "1.25 s/GiB"),
        (1.5 * GIB, "byte/second", "1.50 GiB/s"),
        (0.873, "share", "87.3 %"),
        (204, "count", "204"),
    ],
)
def test_a_value_is_shown_in_its_metrics_unit(value: float, unit: str, text: str) -> None:
    assert show(value, unit) == text


def test_every_metric_has_a_unit_that_can_be_shown_and_known_words() -> None:
    units = {metric.unit for metric in METRICS.values()}
    assert units <= {"byte", "second", "byte-second", "second/GiB", "share", "count"} | {
        "count/second",
        "byte/second",
    }
    assert {metric.direction for metric in METRICS.values()} <= {"lower", "higher", "none"}
    assert {metric.kind for metric in METRICS.values()} <= {"ratio", "difference", "exact"}


def test_every_metric_is_in_the_table_once_under_its_own_name() -> None:
    assert all(name == metric.name and metric.definition for name, metric in METRICS.items())


@given(st.floats(1, 2**50))
def test_a_shown_size_is_right_to_half_a_percent(size: float) -> None:
    number, unit = show_bytes(size).split()
    factor = {"B": 1, "KiB": KIB, "MiB": MIB, "GiB": GIB, "TiB": TIB}[unit]
    assert float(number) * factor == pytest.approx(size, rel=0.005, abs=0.5)
