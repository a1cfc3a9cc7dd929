"""Comparisons as Markdown: every row of the verdict table, and no markup but our own."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_pages import HIT, write_hostile
from synthetic_run import write_run

from bench.analysis.markdown import of_run, plain, table
from bench.analysis.tables import verdict_rows


def cells(line: str) -> list[str]:
    return [cell.strip().replace("\\", "") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


@pytest.fixture(scope="module")
def analysis(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    run = write_run(tmp_path_factory.mktemp("run") / "run")
    found: dict[str, object] = json.loads((run / "analysis.json").read_text())
    return found


def test_a_run_has_its_verdict_first_and_a_row_for_every_value(analysis: dict[str, object]) -> None:
    said = of_run(analysis)
    assert said.startswith("**better**: ")
    rows = [cells(line) for line in said.splitlines() if line.startswith("| ")]
    assert rows[0] == ["metric", "verdict", "effect", "95 % interval", "could have seen", "n", "none", "reporting"]
    known = verdict_rows(analysis)
    shown = known[(known["reference"] != "–") | (known["arm"] != "–")]
    assert [row[0].rstrip("†") for row in rows[2:]] == shown["metric"].tolist()
    residual = next(row for row in rows if row[0] == "residual_bytes")
    assert residual[1] == "better"
    assert residual[5] == "3"


def test_hostile_names_and_warnings_are_text(tmp_path: Path) -> None:
    found = json.loads((write_hostile(tmp_path / "hostile") / "analysis.json").read_text())
    said = of_run(found)
    assert HIT in said.replace("\\", "")
    assert not re.search(r"(?<!\\)(?:\\\\)*[<`]", said)


@given(st.text(), st.text())
def test_any_text_stays_in_its_cell(first: str, second: str) -> None:
    lines = table((first, second), [(second, first)]).split("\n")
    assert len(lines) == 3
    assert all(len(re.split(r"(?<!\\)(?:\\\\)*\|", line)) == 4 for line in lines)
    assert not re.search(r"(?<!\\)(?:\\\\)*[<`\[]", plain(first))
