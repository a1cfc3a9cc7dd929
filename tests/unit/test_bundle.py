"""The bundle: one reproducible file that runs on any Python from 3.9 on, with nothing else installed."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from functools import cache
from pathlib import Path

import pytest

from bench.controller.bundle import build_bundle, bundle_bytes
from bench.wire import codec, record
from bench.wire.job import Ask


@cache
def python39() -> str | None:
    """A Python 3.9 that runs. Not the first on PATH: a pyenv shim may stand there without a version behind it."""
    for folder in os.environ["PATH"].split(os.pathsep):
        found = shutil.which("python3.9", path=folder)
        if found and subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode == 0:
            return found
    return None


def members() -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(bundle_bytes())) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def ask(python: str, bundle: Path, request: bytes) -> subprocess.CompletedProcess[bytes]:
    # -I -S: no site-packages, no working folder, no PYTHON* - the bundle has to be enough.
    return subprocess.run([python, "-I", "-S", str(bundle)], input=request, capture_output=True, check=False)


def test_the_same_sources_give_the_same_bytes() -> None:
    assert bundle_bytes() == bundle_bytes()


def test_nothing_of_the_machine_or_the_day_is_in_it() -> None:
    with zipfile.ZipFile(io.BytesIO(bundle_bytes())) as archive:
        infos = archive.infolist()
    assert {info.date_time for info in infos} == {(1980, 1, 1, 0, 0, 0)}
    assert {info.external_attr >> 16 for info in infos} == {0o100644, 0o40755}
    assert [info.filename for info in infos] == sorted(info.filename for info in infos)
    assert all(str(Path.home()).encode() not in data for data in members().values())


def test_its_name_is_the_hash_of_its_content(tmp_path: Path) -> None:
    path = build_bundle(tmp_path)
    assert path.name == f"fpr-host-{hashlib.sha256(path.read_bytes()).hexdigest()[:16]}.pyz"


def test_it_is_built_once_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    path = build_bundle(tmp_path)
    before = path.stat().st_mtime_ns
    assert build_bundle(tmp_path) == path
    assert path.stat().st_mtime_ns == before
    assert list(tmp_path.iterdir()) == [path]


def test_it_holds_the_host_side_and_the_wire_and_nothing_of_the_controller() -> None:
    names = set(members())
    assert {"__main__.py", "bench/host/runner.py", "bench/wire/record.py", "bench/errors.py"} <= names
    folders = {name.rsplit("/", 1)[0] for name in names if "/" in name}
    assert folders == {"bench", "bench/host", "bench/host/policy", "bench/wire", "qemu", "qemu/qmp"}
    assert {name for name in names if name.startswith("bench/") and name.count("/") == 1} == {
        "bench/__init__.py",
        "bench/errors.py",
    }


def test_the_gpl_part_of_qemu_qmp_and_its_terminal_tools_stay_out() -> None:
    names = {name for name in members() if name.startswith("qemu/")}
    assert "qemu/qmp/qmp_client.py" in names
    assert not names & {"qemu/qmp/legacy.py", "qemu/qmp/qmp_shell.py", "qemu/qmp/qmp_tui.py"}


def test_what_it_holds_of_qemu_qmp_is_unmodified() -> None:
    import qemu.qmp

    folder = Path(qemu.qmp.__file__).parent
    for name, data in members().items():
        if name.startswith("qemu/qmp/"):
            assert data == (folder / name.rsplit("/", 1)[1]).read_bytes()


@pytest.mark.parametrize("python", [sys.executable, "python3.9"], ids=["this-python", "python3.9"])
def test_it_answers_with_nothing_else_installed(tmp_path: Path, python: str) -> None:
    found = python39() if python == "python3.9" else python
    if found is None:
        pytest.skip("no Python 3.9 that runs on PATH")
    done = ask(found, build_bundle(tmp_path), codec.encode("Ask", Ask("how-are-you")))
    assert done.stderr == b""
    (line,) = done.stdout.splitlines()
    reply = record.decode(line)
    assert isinstance(reply, record.Reply)
    assert reply.error["kind"] == "InputError"
    assert "unknown question 'how-are-you'" in reply.error["message"]


@pytest.mark.parametrize(
    ("request_line", "words"),
    [
        (b"", b"not a line of the wire"),
        (b"hello\n", b"not a line of the wire: b'hello"),
        (codec.encode("Shutdown", {}), b"'Shutdown'"),
        (codec.encode("Ask", {"what": "doctor", "why": "?"}), b"unknown keys why"),
        (json.dumps({"v": 0, "type": "Ask", "body": {}}).encode() + b"\n", b"wire version 0"),
    ],
)
def test_what_is_no_request_is_refused_on_stderr_with_status_1(
    tmp_path: Path, request_line: bytes, words: bytes
) -> None:
    done = ask(sys.executable, build_bundle(tmp_path), request_line)
    assert done.returncode == 1
    assert done.stdout == b""
    assert b"host side: not a request: " in done.stderr
    assert words in done.stderr
