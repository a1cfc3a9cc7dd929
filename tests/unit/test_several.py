"""Several runs of one plan on one page: hosts side by side as one run, or the same hosts from run to run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from page_reader import Reader, check_sound
from synthetic_pages import HIT, write_hostile, write_whole
from synthetic_run import Shape, edit_json, write_run

from bench.cli import cli
from bench.commands.reporting import several
from bench.errors import InputError, InvalidError

pytestmark = pytest.mark.once


def on(folder: Path, host: str, started: str = "2026-02-03T10:00:00+00:00", seed: int = 7) -> Path:
    run = write_run(folder, Shape(host=host, blocks=4, seed=seed))
    edit_json(run / "run.json", lambda value: value.update(hosts=[host], host=host, started=started))
    return run


def page_of(runs: list[Path], out: Path) -> Reader:
    return Reader(several(runs, out).read_text(encoding="utf-8"))


def test_runs_on_hosts_of_their_own_are_one_run_of_all_hosts(tmp_path: Path) -> None:
    runs = [on(tmp_path / "one", "lab-1"), on(tmp_path / "two", "lab-2", seed=8)]
    page = page_of(runs, tmp_path / "both.html")
    check_sound(page)
    assert "All hosts combined" in page.source
    for host in ("lab-1", "lab-2"):
        assert host in page.text
    # The series of each are read where they are, and its files linked from where the page is.
    assert page.source.count("<h3") > 4
    links = {str(attrs.get("href")) for attrs in page.all("a")}
    assert {"one/boots.jsonl", "two/boots.jsonl"} <= links
    combined = json.loads((tmp_path / "one/analysis.json").read_text())["combined"]
    assert combined == [], "a run's own analysis stays its own"


def test_runs_on_the_same_host_stand_one_after_another(tmp_path: Path) -> None:
    later = on(tmp_path / "later", "lab-1", "2026-03-01T08:00:00+00:00", seed=9)
    earlier = on(tmp_path / "earlier", "lab-1")
    page = page_of([later, earlier], tmp_path / "out.html")
    check_sound(page)
    assert "2 runs over time" in page.text
    links = [str(attrs["href"]) for attrs in page.all("a") if str(attrs["href"]).endswith("report.html")]
    assert links == ["later/report.html", "earlier/report.html"]
    rows = [text for text in ("1: 2026-02-03 10:00 UTC", "2: 2026-03-01 08:00 UTC") if text in page.text]
    assert len(rows) == 2
    assert "Still resident after the free" in page.text


def test_the_same_runs_give_the_same_bytes_in_whatever_order_they_are_named(tmp_path: Path) -> None:
    runs = [on(tmp_path / "a", "lab-1"), on(tmp_path / "b", "lab-1", "2026-03-01T08:00:00+00:00")]
    one = several(runs, tmp_path / "x.html").read_bytes()
    assert several(runs[::-1], tmp_path / "x.html").read_bytes() == one


def test_runs_that_did_not_ask_the_same_are_refused_with_what_differs(tmp_path: Path) -> None:
    runs = [on(tmp_path / "a", "lab-1"), on(tmp_path / "b", "lab-2")]
    edit_json(runs[1] / "run.json", lambda value: value.update(plan="return"))
    with pytest.raises(InvalidError, match=r'plan: "quick" \(.*a\), "return" \(.*b\)'):
        several(runs, tmp_path / "out.html")
    assert not (tmp_path / "out.html").exists()


def test_wrong_use_says_what_would_be_right(tmp_path: Path) -> None:
    run = on(tmp_path / "a", "lab-1")
    with pytest.raises(InputError, match="named twice"):
        several([run, run], tmp_path / "out.html")
    other = on(tmp_path / "b", "lab-2")
    with pytest.raises(InputError, match="is no folder; make it"):
        several([run, other], tmp_path / "absent/out.html")
    for argv in ([run, other, "--text"], [run, other, "--publish", "x"], [run, "--out", "x.html"]):
        said = CliRunner().invoke(cli, ["report", *map(str, argv)])
        assert isinstance(said.exception, InputError), argv


@pytest.mark.drawn
def test_nothing_of_hostile_runs_executes(tmp_path: Path) -> None:
    runs = [write_hostile(tmp_path / "a"), write_hostile(tmp_path / "b")]
    page = page_of(runs, tmp_path / "out.html")
    check_sound(page)
    assert not any(HIT in str(attrs.get("src")) or HIT in str(attrs.get("onerror")) for _, attrs in page.elements)


def test_a_lab_of_three_hosts_twice_is_a_course_over_all_of_them(tmp_path: Path) -> None:
    runs = [write_whole(tmp_path / name) for name in ("a", "b")]
    page = page_of(runs, tmp_path / "out.html")
    assert "all hosts" in page.text
