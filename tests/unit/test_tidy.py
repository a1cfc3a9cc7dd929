"""Whatever command is given, what a killed bench left on this machine is put away first, and told."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands_lab import Here, quicken
from fake_lab import FakeLab
from waiting import has_begun

from bench.cli import main
from bench.commands import tidy
from bench.commands.tidy import tidy as put_away
from bench.wire.living import VARIABLE


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, below it the tree that is looked through."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "root/sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "root/proc").symlink_to("/proc")
    (tmp_path / "root/tmp").mkdir()
    (tmp_path / "cache").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", "/tmp")
    monkeypatch.setattr(tidy, "WAIT_S", 0.2)
    return tmp_path


@pytest.fixture
def orphan() -> Iterator[subprocess.Popen[bytes]]:
    """A host side that goes on although its controller is gone."""
    argv = [sys.executable, "-c", "import time; time.sleep(60)"]
    with subprocess.Popen(argv, env={**os.environ, VARIABLE: "1:1"}) as process:
        yield has_begun(process)
        process.kill()


@pytest.mark.parametrize(
    ("argv", "code"),
    [(["list", "plans"], 0), (["compare", "nowhere"], 2), (["report", "nowhere"], 2), (["run", "x"], 2)],
)
def test_any_command_puts_away_what_is_left_here_and_says_so(
    argv: list[str], code: int, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    group = here / "root/sys/fs/cgroup/fpr-bench.1.1"
    group.mkdir()
    assert main(argv) == code
    assert not group.exists()
    out, err = capsys.readouterr()
    assert f"bench: removed the memory cgroup {group}: its bench was killed\n" in err
    assert "removed" not in out


def test_with_nothing_left_nothing_is_said(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "plans"]) == 0
    assert capsys.readouterr().err == ""


def test_a_swap_file_is_found_in_the_scratch_folder_of_this_machine(here: Path) -> None:
    (here / "scratch").mkdir()
    file = here / "scratch/fpr-bench-1.swap"
    file.write_bytes(b"x")
    put_away()
    assert file.exists()
    (here / "hosts.yaml").write_text(f"hosts: [{{name: local, scratch: {here}/scratch}}]\n")
    put_away()
    assert not file.exists()


def test_a_wrong_hosts_yaml_is_for_the_command_to_tell(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "hosts.yaml").write_text("hosts: 7\n")
    put_away()
    assert capsys.readouterr().err == ""


def test_who_is_ending_is_waited_for(
    here: Path,
    orphan: subprocess.Popen[bytes],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(tidy, "WAIT_S", 20.0)
    folder = here / f"root/tmp/fpr-boot-{orphan.pid}-a"
    folder.mkdir()

    def ends(_seconds: float) -> None:
        orphan.kill()
        orphan.wait()

    monkeypatch.setattr("time.sleep", ends)
    put_away()
    assert not folder.exists()
    first, second = capsys.readouterr().err.splitlines()
    assert (
        first == f"bench: a bench was killed, and what it had started here is ending; waiting for process {orphan.pid}"
    )
    assert second == f"bench: removed the folder {folder}: its bench was killed"


def test_one_that_does_not_end_is_named_with_the_command_and_left_alone(
    here: Path, orphan: subprocess.Popen[bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = here / f"root/tmp/fpr-boot-{orphan.pid}-a"
    folder.mkdir()
    put_away()
    assert folder.exists()
    assert capsys.readouterr().err.splitlines()[-1].endswith(f"does not end; run: kill -9 {orphan.pid}")


def test_a_machine_that_cannot_be_looked_at_is_no_reason_against_a_command(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(tidy, "clear", broken)
    assert main(["list", "plans"]) == 0
    assert "cannot be looked for: [Errno 5] Input/output error" in capsys.readouterr().err


def test_what_another_host_put_away_is_told_and_noted_when_it_is_held(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    quicken(monkeypatch, built)
    monkeypatch.chdir(tmp_path)
    here = Here(FakeLab("lab1"), tmp_path)
    here.lab["lab1"].removed = ("removed the swap file /var/tmp/fpr-bench-7.swap: its bench was killed",)
    here.run()
    assert (
        "bench: lab1: removed the swap file /var/tmp/fpr-bench-7.swap: its bench was killed\n"
        in capsys.readouterr().err
    )
    assert here.events("held")[0]["removed"] == list(here.lab["lab1"].removed)
