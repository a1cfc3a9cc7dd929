"""What is read from a run folder is safe to show, and as much of it as is whole."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from synthetic_run import Shape, write_run

from bench.analysis.series import Curve
from reports.data import RESIDENT
from reports.load import LONGEST_NAME, Json, Run, clean, read_run, series


def residency(run: Run, boot: Json) -> tuple[Curve, str]:
    lines, problem = series(run, boot, (RESIDENT,))
    return lines[RESIDENT], problem


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("naïve – 東京", "naïve – 東京"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("\x00\x1b[31m", "\\u0000\\u001b[31m"),
        ("\u202eevil\u2066", "\\u202eevil\\u2066"),
        ("\ud800", "\\ud800"),
        ("one\u2028line", "one\\u2028line"),
    ],
)
def test_what_could_hide_or_break_text_becomes_visible(text: str, shown: str) -> None:
    assert clean({text: [text]}) == {shown: [shown]}


def test_long_names_are_cut_but_stay_apart_and_alike_ones_stay_alike() -> None:
    first, second = clean({"arms": ["a" * 5000 + "1", "a" * 5000 + "2"]})["arms"]
    assert first != second
    assert len(first) < LONGEST_NAME + 50
    assert clean({"arm": "a" * 5000 + "1"})["arm"] == first


def test_a_number_that_is_not_finite_is_no_number() -> None:
    assert clean([1.5, float("nan"), float("inf"), 3, True]) == [1.5, None, None, 3, True]


def test_a_series_in_several_gzip_members_is_read_whole(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "run", Shape(blocks=1)))
    boot = run.boots[0]
    whole, problem = residency(run, boot)
    assert (problem, len(whole) > 500) == ("", True)
    path = run.folder / boot["series"]
    lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
    path.write_bytes(gzip.compress(b"".join(lines[:100])) + gzip.compress(b"".join(lines[100:])))
    again, problem = residency(run, boot)
    assert problem == ""
    assert np.array_equal(again.v, whole.v)


def test_of_a_series_that_ends_early_the_whole_rows_are_kept(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "run", Shape(blocks=1)))
    boot = run.boots[0]
    whole, _ = residency(run, boot)
    path = run.folder / boot["series"]
    path.write_bytes(path.read_bytes()[:-300])
    part, problem = residency(run, boot)
    assert "ends early" in problem
    assert 0 < len(part) < len(whole)
    assert np.array_equal(part.v, whole.v[: len(part)])


def test_the_last_usable_attempt_of_a_block_counts(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", Shape(blocks=2))
    lines = (folder / "boots.jsonl").read_text().splitlines()
    (folder / "boots.jsonl").write_text("\n".join([*lines, lines[0].replace('"attempt": 1', '"attempt": 2')]) + "\n")
    run = read_run(folder)
    boots = run.good("local", "cycle", run.boots[0]["arm"])
    assert sorted(boot["attempt"] for boot in boots) == [1, 2]


def written(path: Path, rows: str) -> Run:
    """A run with one boot whose series has these rows."""
    run = read_run(write_run(path, Shape(blocks=1)))
    (run.folder / run.boots[0]["series"]).write_bytes(gzip.compress(f"t_s,source,name,value\n{rows}".encode()))
    return run


def test_several_guests_are_added_up_and_their_events_put_in_order(tmp_path: Path) -> None:
    rows = "1,ram,resident_bytes,100\n2,ram,1.resident_bytes,10\n3,ram,resident_bytes,90\n3,ram,1.resident_bytes,20\n"
    run = written(tmp_path / "run", rows + "5,discard,1.bytes,7\n4,discard,bytes,8\n4,ram,other_resident_bytes,5\n")
    lines, _ = series(run, run.boots[0], ("ram.resident_bytes", "discard.bytes", "psi.memory_some_us"))
    assert lines["ram.resident_bytes"].v.tolist() == [100, 110, 110]
    assert (lines["discard.bytes"].t.tolist(), lines["discard.bytes"].v.tolist()) == ([4, 5], [8, 7])
    assert "psi.memory_some_us" not in lines


def test_a_row_that_is_no_number_is_left_out(tmp_path: Path) -> None:
    run = written(tmp_path / "run", "1,ram,resident_bytes,1\n2,ram,resident_bytes,1e\n3,ram,resident_bytes,3\n")
    assert residency(run, run.boots[0])[0].v.tolist() == [1, 3]
