"""`bench report --publish`: what is copied, what the index says, and that every published page can be made again."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from page_reader import Reader, check_sound
from synthetic_pages import HIT, write_hostile, write_whole
from synthetic_run import edit_json, write_run

from bench.cli import cli
from bench.commands.publish import PUBLISHED, publish
from bench.commands.reporting import report
from bench.errors import InputError
from reports import index

pytestmark = pytest.mark.once

HERE = Path(__file__).resolve().parents[2] / PUBLISHED
# Everything that `bench report` writes.
MADE = ("report.html", "analysis.json", "manifest.json")
# Published runs whose figures are drawn again too, small ones. The others have 240 drawings together: minutes.
DRAWN = ("quick-emulated", "resize-emulated")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = write_run(tmp_path / "run")
    (folder / "log").mkdir(exist_ok=True)
    (folder / "log/1.dmesg.txt").write_text("secret\n")
    (tmp_path / "passwords").write_text("secret\n")
    (folder / "gate.json").symlink_to(tmp_path / "passwords")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_published_run_makes_the_same_files_again_and_has_no_logs_and_follows_no_link(
    run: Path, tmp_path: Path
) -> None:
    done = publish(run, "mine", tmp_path / "out")
    first = contents(done.page.parent)
    assert not [name for name, data in first.items() if b"secret" in data or name.startswith("log/")]
    assert {*MADE, "run.json", "boots.jsonl"} <= set(first)
    assert done.size == sum(map(len, first.values()))
    elsewhere = tmp_path / "elsewhere/mine"
    shutil.copytree(done.page.parent, elsewhere)
    for name in MADE:
        (elsewhere / name).unlink()
    report(elsewhere)
    assert contents(elsewhere) == first


def test_where_the_run_was_written_is_not_told(run: Path, tmp_path: Path) -> None:
    typed = ["bench", "run", "quick", "--out", "/home/ann/secret plans", "--seed", "7", "--out=/tmp/other"]
    edit_json(run / "run.json", lambda value: value.update(command=typed))
    page = publish(run, "mine", tmp_path / "out").page
    assert not [
        name for name, data in contents(page.parent).items() if b"secret plans" in data or b"/tmp/other" in data
    ]
    assert "bench run quick --seed 7" in Reader(page.read_text(encoding="utf-8")).text


def test_the_index_names_every_run_the_newest_first_and_is_renewed_with_each(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    publish(run, "older", out)
    edit_json(run / "run.json", lambda value: value.update(started="2031-05-06T07:08:09+00:00", question="Why later?"))
    publish(run, "newer", out)
    page = Reader((out / index.INDEX).read_text())
    links = [str(attrs["href"]) for attrs in page.all("a") if str(attrs["href"]).endswith(".html")]
    assert links == ["newer/report.html", "older/report.html"]
    assert "Why later?" in page.text
    assert "2 runs" in page.text
    shutil.rmtree(out / "older")
    report(out / "newer")
    assert "1 run." in Reader((out / index.INDEX).read_text()).text


def test_what_is_there_under_the_name_is_replaced_and_nothing_is_left_beside(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    publish(run, "mine", out)
    (out / "mine/left.txt").write_text("from before")
    publish(run, "mine", out)
    assert not (out / "mine/left.txt").exists()
    assert sorted(path.name for path in out.iterdir()) == ["index.html", "mine"]


@pytest.mark.parametrize("write", [write_whole, write_hostile])
def test_the_index_of_any_run_is_sound_and_nothing_in_it_executes(
    tmp_path: Path, write: Callable[[Path], Path]
) -> None:
    publish(write(tmp_path / "run"), "any", tmp_path / "out")
    page = Reader((tmp_path / "out" / index.INDEX).read_text(encoding="utf-8"))
    check_sound(page)
    assert not any(HIT in str(attrs) for _, attrs in page.elements)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("../mine", "no name for a report"),
        ("", "no name for a report"),
        (".mine", "no name for a report"),
        ("theirs", "no published run; name another"),
    ],
)
def test_a_name_that_cannot_be_taken_is_refused_and_nothing_changes(
    run: Path, tmp_path: Path, name: str, wrong: str
) -> None:
    (tmp_path / "out/theirs").mkdir(parents=True)
    (tmp_path / "out/theirs/thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match=wrong):
        publish(run, name, tmp_path / "out")
    assert contents(tmp_path / "out") == {"theirs/thesis.txt": b"years of work"}


def test_a_run_without_boots_and_a_published_run_itself_are_not_published(run: Path, tmp_path: Path) -> None:
    done = publish(run, "mine", tmp_path / "out")
    with pytest.raises(InputError, match="makes its page anew"):
        publish(done.page.parent, "mine", tmp_path / "out")
    (run / "boots.jsonl").write_text("")
    with pytest.raises(InputError, match="no boot has ended"):
        publish(run, "other", tmp_path / "out")


def test_the_command_prints_the_page_and_says_what_an_option_alone_is(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    said = CliRunner().invoke(cli, ["report", str(run), "--publish", "mine", "--into", str(out)])
    assert said.stdout == f"{out}/mine/report.html\n"
    assert f"the index is {out}/index.html" in said.stderr
    alone = CliRunner().invoke(cli, ["report", str(run), "--into", str(out)])
    assert isinstance(alone.exception, InputError)


def without_drawings(file: bytes) -> bytes:
    """A page without its figures, or a manifest without the page's own sum."""
    return re.sub(rb'"report\.html": "[0-9a-f]{64}"', b"", re.sub(rb"(?s)<svg.*?</svg>", b"<svg>", file))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.drawn] if name in DRAWN else [])
        for name in sorted(path.parent.name for path in HERE.glob("*/run.json"))
    ],
)
def test_every_report_of_this_repository_is_made_again_byte_for_byte(tmp_path: Path, name: str) -> None:
    shutil.copytree(HERE / name, tmp_path / name)
    for made in MADE:
        (tmp_path / name / made).unlink()
    report(tmp_path / name)
    for made in MADE:
        mine, theirs = ((folder / name / made).read_bytes() for folder in (tmp_path, HERE))
        if name not in DRAWN:
            mine, theirs = without_drawings(mine), without_drawings(theirs)
        assert mine == theirs, f"{made} of {name} is not what `bench report {PUBLISHED / name}` makes: run it, and look"
    page, sums = (HERE / name / MADE[0]).read_bytes(), json.loads((HERE / name / MADE[2]).read_text())["files"]
    assert sums[MADE[0]] == hashlib.sha256(page).hexdigest()


def test_the_index_of_this_repository_is_that_of_its_reports() -> None:
    assert (HERE / index.INDEX).read_text(encoding="utf-8") == index.page(HERE)


def test_a_page_is_the_same_in_another_time_zone_and_locale(tmp_path: Path) -> None:
    where = {"TZ": "America/St_Johns", "LC_ALL": "C", "LANGUAGE": "de", "PYTHONHASHSEED": "2"}
    shutil.copytree(HERE / "quick-emulated", tmp_path / "quick-emulated")
    for made in MADE:
        (tmp_path / "quick-emulated" / made).unlink()
    argv = [sys.executable, "-m", "bench", "report", str(tmp_path / "quick-emulated")]
    subprocess.run(argv, cwd=HERE.parents[1], env={**os.environ, **where}, check=True, stdout=subprocess.DEVNULL)
    assert contents(tmp_path / "quick-emulated") == contents(HERE / "quick-emulated")
