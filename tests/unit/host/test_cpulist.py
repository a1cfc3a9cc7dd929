"""Lists of CPUs as the kernel writes and reads them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.host.cpulist import online_cpus, parse_cpus, show_cpus

LISTS = [("0", (0,)), ("0-3", (0, 1, 2, 3)), ("0-1,4", (0, 1, 4)), ("2,4-5\n", (2, 4, 5)), ("", ()), ("\n", ())]


@pytest.mark.parametrize(("text", "cpus"), LISTS)
def test_a_list_is_read_as_the_kernel_means_it(text: str, cpus: tuple[int, ...]) -> None:
    assert parse_cpus(text) == cpus
    assert show_cpus(cpus) == text.strip()


@given(st.sets(st.integers(0, 4096)))
def test_what_is_written_is_read_again(cpus: set[int]) -> None:
    assert set(parse_cpus(show_cpus(cpus))) == cpus


@pytest.mark.parametrize("text", ["x", "1-", "-2", "0 1"])
def test_what_is_no_list_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        parse_cpus(text)


def test_online_cpus_are_those_of_sys(tmp_path: Path) -> None:
    folder = tmp_path / "sys/devices/system/cpu"
    folder.mkdir(parents=True)
    (folder / "online").write_text("0-1,3\n")
    assert online_cpus(tmp_path) == (0, 1, 3)
