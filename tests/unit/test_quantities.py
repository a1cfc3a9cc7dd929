"""Values as people write them: lists of CPUs, and the forms that the JSON Schemas give for them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import WithJsonSchema

from bench.controller import quantities
from bench.controller.quantities import read_cpus, read_seconds, read_share, read_size, show_cpus


@pytest.mark.parametrize(
    ("text", "cpus"),
    [("2-7,10", (2, 3, 4, 5, 6, 7, 10)), ("10,2", (2, 10)), ("1,1-2", (1, 2)), ("0", (0,)), (3, (3,)), ("", ())],
)
def test_cpus_are_read_as_the_kernel_writes_them(text: object, cpus: tuple[int, ...]) -> None:
    assert read_cpus(text) == cpus


@pytest.mark.parametrize("text", ["7-2", "1-", "-1", "a", "1,,2", "0-10:2/4", "1 2", "9" * 9, 1.5, True, None, [1], -1])
def test_what_is_no_list_of_cpus_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match=r"is no list of CPUs; write it as the kernel does|counts down; write 2-7"):
        read_cpus(text)


@given(st.sets(st.integers(0, 300)))
def test_cpus_that_are_shown_read_back_equal(cpus: set[int]) -> None:
    assert set(read_cpus(show_cpus(tuple(cpus)))) == cpus


def test_cpus_are_shown_as_ranges() -> None:
    assert show_cpus((2, 3, 4, 5, 6, 7, 10)) == "2-7,10"
    assert show_cpus((0, 2)) == "0,2"
    assert show_cpus(()) == ""


PATTERNS: list[tuple[WithJsonSchema, Callable[[Any], float]]] = [
    (quantities.SIZE_SCHEMA, read_size),
    (quantities.SHARE_SCHEMA, read_share),
    (quantities.SECONDS_SCHEMA, read_seconds),
]


def form(schema: WithJsonSchema) -> re.Pattern[str]:
    pattern: str = (schema.json_schema or {})["anyOf"][-1]["pattern"]
    return re.compile(pattern.removeprefix("^").removesuffix("$"), re.ASCII)


def why_refused(read: Callable[[Any], float], text: str) -> str:
    try:
        read(text)
    except ValueError as error:
        return str(error)
    return ""


@given(st.data(), st.sampled_from(PATTERNS))
def test_a_text_that_fits_the_schema_is_read(
    data: st.DataObject, kind: tuple[WithJsonSchema, Callable[[Any], float]]
) -> None:
    schema, read = kind
    reason = why_refused(read, data.draw(st.from_regex(form(schema), fullmatch=True)))
    # Arithmetic is not in a pattern.
    assert reason == "" or reason.endswith("is no whole number of bytes")


@pytest.mark.parametrize(
    "text",
    ["512M", "1.5GiB", "1024", "64 K", "8 b", "50%", "100%", "101%", "0.5", "1", "1.5", "2.5s", "5 KB", "-1", ""],
)
def test_a_schema_and_what_reads_the_text_are_of_one_opinion(text: str) -> None:
    for schema, read in PATTERNS:
        assert bool(form(schema).fullmatch(text)) == (why_refused(read, text) == ""), read
