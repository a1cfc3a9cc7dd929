"""Files carried to a host: the real receiver in a real process, over the local transport."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import pytest

from bench.controller import push as push_module
from bench.controller.push import Stored, push
from bench.controller.stopping import Stopping
from bench.controller.transport import LocalTransport
from bench.errors import Interrupted, LabError
from bench.wire.units import MIB


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """A bundle and an image, 3 MiB together."""
    made = []
    for name, size in (("fpr-host-0123456789abcdef.pyz", 1), ("guest-0123456789abcdef.cpio", 2 * MIB)):
        made.append(tmp_path / "here" / name)
        made[-1].parent.mkdir(exist_ok=True)
        made[-1].write_bytes(os.urandom(size))
    return made


def carry(files: list[Path], there: Path, python: str = "") -> Stored:
    return push(LocalTransport("lab1", python), files, str(there))


def test_what_is_missing_arrives_whole_and_private(files: list[Path], tmp_path: Path) -> None:
    stored = carry(files, tmp_path / "there")
    assert stored.sent == tuple(file.name for file in files)
    assert stored.sent_bytes == sum(file.stat().st_size for file in files)
    for file in files:
        arrived = Path(stored.path(file))
        assert arrived.read_bytes() == file.read_bytes()
        assert arrived.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "there").stat().st_mode & 0o777 == 0o700


def test_a_second_push_sends_nothing(files: list[Path], tmp_path: Path) -> None:
    carry(files, tmp_path / "there")
    again = carry(files, tmp_path / "there")
    assert (again.sent, again.sent_bytes) == ((), 0)


def test_only_what_was_damaged_there_is_sent_again(files: list[Path], tmp_path: Path) -> None:
    stored = carry(files, tmp_path / "there")
    damaged = Path(stored.path(files[1]))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    again = carry(files, tmp_path / "there")
    assert again.sent == (files[1].name,)
    assert damaged.read_bytes() == files[1].read_bytes()


def test_each_file_is_told_before_it_goes(files: list[Path], tmp_path: Path) -> None:
    told: list[tuple[str, int]] = []
    push(LocalTransport("lab1"), files, str(tmp_path / "there"), lambda name, size: told.append((name, size)))
    assert told == [(file.name, file.stat().st_size) for file in files]


def test_the_usual_folder_is_the_hosts_own_cache(files: list[Path]) -> None:
    stored = push(LocalTransport("lab1"), files[:1])
    assert stored.cache == os.environ["BENCH_CACHE"]


def test_a_host_without_that_python_is_told_what_to_do(files: list[Path], tmp_path: Path) -> None:
    with pytest.raises(LabError, match="host lab1: /no/python3 cannot be run: No such file"):
        carry(files, tmp_path / "there", "/no/python3")


def test_a_python_that_ends_at_once_is_shown_with_its_last_words(files: list[Path], tmp_path: Path) -> None:
    wrong = tmp_path / "python"
    wrong.write_text("#!/bin/sh\necho broken >&2\nexit 3\n")
    wrong.chmod(0o755)
    with pytest.raises(LabError, match="before everything was there") as caught:
        carry(files, tmp_path / "there", str(wrong))
    assert caught.value.evidence == ("broken",)


def test_a_shells_command_not_found_is_said_in_words(files: list[Path], tmp_path: Path) -> None:
    wrong = tmp_path / "python"
    wrong.write_text("#!/bin/sh\nexit 127\n")
    wrong.chmod(0o755)
    with pytest.raises(LabError, match=r"does not run; install Python 3\.9 or later there, or name one \(python:"):
        carry(files, tmp_path / "there", str(wrong))


@pytest.mark.parametrize("said", ["Welcome to lab1", "3", "[]"])
def test_a_python_that_says_something_of_its_own_is_shown_with_that(
    files: list[Path], tmp_path: Path, said: str
) -> None:
    chatty = tmp_path / "python"
    chatty.write_text(f"#!/bin/sh\necho '{said}'\nexec {sys.executable} \"$@\"\n")
    chatty.chmod(0o755)
    with pytest.raises(LabError, match="something else than the receiver of files answers") as caught:
        carry(files, tmp_path / "there", str(chatty))
    assert caught.value.evidence[0] == said


@pytest.mark.parametrize("now", [False, True])
def test_a_stop_ends_a_push_that_nobody_takes_in(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, now: bool
) -> None:
    """The far end reads nothing, so that a write blocks."""
    monkeypatch.setattr(push_module, "DEADLINE_S", 0.3)
    deaf = tmp_path / "python"
    deaf.write_text("#!/bin/sh\nexec sleep 60\n")
    deaf.chmod(0o755)
    stopping = Stopping()
    threading.Timer(0.3, stopping.stop, kwargs={"now": now}).start()
    before = time.monotonic()
    with pytest.raises(Interrupted):
        push(LocalTransport("lab1", str(deaf)), files, str(tmp_path / "there"), stopping=stopping)
    assert time.monotonic() - before < 5


def test_nothing_is_pushed_after_a_stop(files: list[Path], tmp_path: Path) -> None:
    stopping = Stopping()
    stopping.stop()
    with pytest.raises(Interrupted):
        push(LocalTransport("lab1"), files, str(tmp_path / "there"), stopping=stopping)
    assert not (tmp_path / "there").exists()


def test_a_folder_that_cannot_be_made_is_the_labs_error_with_advice(files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "there").write_text("a file")
    with pytest.raises(LabError, match=r"there.*scratch: in hosts\.yaml"):
        carry(files, tmp_path / "there")


def test_the_interpreter_here_is_the_default(files: list[Path], tmp_path: Path) -> None:
    assert carry(files, tmp_path / "there").python == ".".join(map(str, sys.version_info[:3]))


@pytest.mark.parametrize(
    "told", ['"cache": "x"', '"cache": "/c\\u001b[2J"', '"missing": ["/etc/shadow"]', '"missing": null']
)
def test_an_answer_that_the_receiver_never_gives_is_not_believed(told: str, files: list[Path], tmp_path: Path) -> None:
    answer = '{"cache": "/c", "missing": [], "python": "3.11", ' + told + "}"
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\ncat <<'END'\n{answer}\nEND\ncat > /dev/null\n")
    python.chmod(0o755)
    with pytest.raises(LabError, match="something else than the receiver of files answers"):
        carry(files, tmp_path / "there", str(python))
