"""The journal of what was changed: whole after kill -9 at any moment, and of use even when it is damaged."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from host_side import ROOT
from tuned_tree import journal, tree, values

from bench.errors import LabError
from bench.host import tune
from bench.host.journal import COMMAND, Entry, Journal, default_path
from bench.host.settingfile import write_directly


def entry(name: str, **changes: str) -> Entry:
    first = Entry(name, f"/sys/{name}", "1", "0", COMMAND, "2030-01-01T00:00:00+00:00", "boot-1")
    return dataclasses.replace(first, **changes)


def book(folder: Path, *names: str) -> Journal:
    made = Journal(folder / "state/tuned.json")
    made.change(put=[entry(name) for name in names])
    return made


def names(path: Path) -> list[str]:
    return [item.name for item in Journal(path).entries]


def test_entries_come_back_in_the_order_in_which_they_were_put(tmp_path: Path) -> None:
    made = book(tmp_path, "a", "b")
    made.change(put=[entry("c"), entry("a", left="0")])
    again = Journal(made.path)
    assert again.entries == made.entries == [entry("a", left="0"), entry("b"), entry("c")]
    assert again.problems == []


def test_the_file_is_json_and_closed_to_others(tmp_path: Path) -> None:
    made = book(tmp_path, "a", "b")
    assert [item["name"] for item in json.loads(made.path.read_text())] == ["a", "b"]
    assert (made.path.stat().st_mode & 0o777, made.path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_an_empty_journal_is_no_file(tmp_path: Path) -> None:
    made = book(tmp_path, "a", "b")
    made.change(drop=["/sys/a", "/sys/b", "/sys/unknown"])
    assert list(made.path.parent.iterdir()) == []
    assert Journal(made.path).entries == []


def test_a_journal_that_was_never_written_makes_no_folder(tmp_path: Path) -> None:
    made = Journal(tmp_path / "state/tuned.json")
    made.mend()
    made.change(drop=["/sys/a"])
    assert list(tmp_path.iterdir()) == []


def test_of_a_journal_that_is_cut_off_anywhere_every_whole_entry_counts(tmp_path: Path) -> None:
    made = book(tmp_path, "a", "b", "c")
    text = made.path.read_text()
    for length in range(1, len(text) - 1):
        made.path.write_text(text[:length])
        whole = text[:length].count("}")
        torn = Journal(made.path)
        assert [item.name for item in torn.entries] == ["a", "b", "c"][:whole], length
        assert len(torn.problems) == 1


@pytest.mark.parametrize(
    "line", ["garbage", "[]", "1", "{}", '{"name": "a"}', json.dumps({**dataclasses.asdict(entry("x")), "before": 1})]
)
def test_a_line_that_is_no_entry_is_said_and_the_others_count(tmp_path: Path, line: str) -> None:
    made = book(tmp_path, "a", "b")
    lines = made.path.read_text().splitlines()
    made.path.write_text("\n".join([lines[0], lines[1], line + ",", *lines[2:]]))
    torn = Journal(made.path)
    assert ([item.name for item in torn.entries], len(torn.problems)) == (["a", "b"], 1)
    assert "1 of 5 lines are no entry; 2 whole entries count" in torn.problems[0]


def test_a_damaged_file_is_kept_aside_before_anything_is_written(tmp_path: Path) -> None:
    made = book(tmp_path, "a", "b")
    bad = made.path.read_text()[:-9]
    made.path.write_text(bad)
    torn = Journal(made.path)
    torn.change(put=[entry("c")])
    (aside,) = made.path.parent.glob("tuned.json.bad-*")
    assert aside.read_text() == bad
    assert str(aside) in torn.problems[-1]
    assert names(made.path) == ["a", "c"]


def test_a_file_of_something_else_is_kept_aside_and_leaves_nothing_to_restore(tmp_path: Path) -> None:
    path = tmp_path / "tuned.json"
    path.write_bytes(b"\x7fELF\xff\xfe")
    foreign = Journal(path)
    foreign.mend()
    (aside,) = tmp_path.iterdir()
    assert aside.name.startswith("tuned.json.bad-")
    assert aside.read_bytes() == b"\x7fELF\xff\xfe"


def test_looking_at_a_damaged_file_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "tuned.json"
    path.write_text("garbage")
    assert Journal(path).problems
    assert [item.name for item in tmp_path.iterdir()] == ["tuned.json"]


def test_a_journal_that_cannot_be_read_is_an_error_and_never_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"the journal .* cannot be read: Is a directory; name another folder"):
        Journal(tmp_path)


def test_what_cannot_be_written_did_not_happen(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("no folder")
    made = Journal(tmp_path / "elsewhere/tuned.json")
    made.path = tmp_path / "state/tuned.json"
    with pytest.raises(FileExistsError):
        made.change(put=[entry("a")])
    assert made.entries == []


def test_the_state_folder_is_no_cache_and_is_named_by_the_host_in_a_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_STATE", str(tmp_path / "named"))
    assert default_path() == tmp_path / "named/tuned.json"
    monkeypatch.delenv("BENCH_STATE")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert default_path() == tmp_path / "state/fpr-bench" / platform.node() / "tuned.json"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_path() == tmp_path / ".local/state/fpr-bench" / platform.node() / "tuned.json"


# Kills itself by kill -9 at the n-th thing that it does to a file: the interpreter tells of each, just before it.
KILLED = """
import os, signal, sys
from pathlib import Path
from bench.host import tune
from bench.host.journal import Journal
from bench.host.settingfile import write_directly
root, deed, fatal = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
book = Journal(root / "state/tuned.json")
seen = 0
def count(event, args):
    global seen
    if event == "open" and isinstance(args[2], int) and args[2] & 3 or event in ("os.rename", "os.remove", "os.mkdir"):
        seen += 1
        if seen == fatal:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(count)
def write(paths, value):
    problems = []
    for path in paths:
        problems += write_directly([path], value)
        count("os.rename", ())  # and just after it
    return problems
if deed == "apply":
    tune.apply(sys.argv[4:], book, "run-1", write, root)
else:
    tune.restore(book, write, root)
"""


SOME = ("smt", "governor", "thp")


def killed_at(root: Path, deed: str, number: int) -> bool:
    """Whether the process came so far that it was killed."""
    argv = [sys.executable, "-c", KILLED, str(root), deed, str(number), *SOME]
    status = subprocess.run(argv, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=60).returncode
    assert status in (0, -9)
    return status == -9


@pytest.mark.parametrize("deed", ["apply", "restore"])
def test_after_kill_9_at_any_moment_every_file_can_be_restored(tmp_path: Path, deed: str) -> None:
    before = values(tree(tmp_path))
    number = 0
    killed = True
    while killed:
        number += 1
        if deed == "restore":
            tune.apply(SOME, journal(tmp_path), "run-1", write_directly, tmp_path)
        killed = killed_at(tmp_path, deed, number)
        left = tune.restore(journal(tmp_path), write_directly, tmp_path)
        assert {item.state for item in left} <= {"restored"}
        assert values(tmp_path) == before, number
    assert number > 6  # it was killed indeed, and finally not
    assert [item.name for item in (tmp_path / "state").iterdir() if not item.name.startswith(".")] == []
