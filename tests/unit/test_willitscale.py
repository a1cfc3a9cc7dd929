"""The output of will-it-scale's programs is read for its measured seconds, and for nothing else."""

from __future__ import annotations

import pytest

from benchmarks.willitscale import measured

OUTPUT = """testcase:Anonymous memory page fault
warmup
min:10 max:10 total:10
min:900 max:900 total:900
measurement
min:100 max:100 total:100
min:300 max:300 total:300
average:200
"""


def test_the_seconds_behind_the_word_count() -> None:
    assert measured(OUTPUT) == 200


@pytest.mark.parametrize("output", ["", OUTPUT.partition("measurement")[0], "warmup\nmeasurement\nkilled\n"])
def test_a_program_that_was_cut_off_is_no_figure(output: str) -> None:
    with pytest.raises(ValueError, match="no measured second"):
        measured(output)
