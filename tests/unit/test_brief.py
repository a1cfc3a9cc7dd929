"""The page in short: the same in one order as text and as Markdown, and nothing in it is a stranger's markup."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from synthetic_pages import HIT, write_hostile, write_whole

from bench.cli import cli
from reports.brief import markdown, parts, text
from reports.load import read_run


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_whole(tmp_path_factory.mktemp("run") / "whole")


def test_both_say_the_same_headings_in_the_order_of_the_page(whole: Path) -> None:
    run = read_run(whole)
    headings = [part.heading for part in parts(run)]
    assert headings[-3:] == ["Can it be trusted?", "Measured on", "How to do it again"]
    assert any(heading.startswith("Result: ") for heading in headings[1:-3])
    lines = text(run).splitlines()
    assert [line for line, below in itertools.pairwise(lines) if below and not below.strip("-")] == headings
    marked = [line.lstrip("# ").replace("\\", "") for line in markdown(run).splitlines() if line.startswith("##")]
    assert marked == headings


def test_the_verdict_comes_first_and_every_metric_of_the_plan_has_its_interval(whole: Path) -> None:
    run = read_run(whole)
    said = text(run)
    assert said.splitlines()[2].startswith("? undecided: Still resident after the free: no verdict on arm reporting")
    assert "residual_bytes" in said
    assert re.search(r"residual_bytes +none +reporting +\S", said)
    assert max(map(len, said.splitlines())) < 200


def test_a_hostile_run_has_no_markup_of_its_own_and_no_control_characters(tmp_path: Path) -> None:
    run = read_run(write_hostile(tmp_path / "hostile"))
    said = markdown(run)
    assert HIT in said.replace("\\", "")
    assert not re.search(r"(?<!\\)[<`\[]", said)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2066\u202e]", said + text(run))
    # A cell that broke out of its table would change the number of its columns.
    for table in re.findall(r"(?:^\|.*\n)+", said, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


def test_the_command_prints_it_and_takes_one_form_at_a_time(whole: Path) -> None:
    page = whole / "report.html"
    page.unlink(missing_ok=True)
    printed = CliRunner().invoke(cli, ["report", str(whole), "--text"])
    assert printed.exit_code == 0
    assert printed.stdout.splitlines()[1].startswith("---")
    assert not page.exists()
    both = CliRunner().invoke(cli, ["report", str(whole), "--text", "--publish", "x"])
    assert "one at a time" in str(both.exception)
