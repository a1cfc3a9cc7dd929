"""Programs in a plan, what is carried of them, and how the guest runs them; with real programs of this machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cpio_reader import read_archives

from bench.controller import elf
from bench.controller.image import build_image
from bench.controller.libraries import cached, closure
from bench.controller.plan import dump_plan, load_plan, resolve
from bench.controller.programs import NoProgramError, Program, digests, find
from bench.errors import InputError
from workloads.programs import Programs, ask_socket, remove, write_data

SHELL = Program("sh", "/bin/sh")
LDCONFIG = """573 libs found in cache `/etc/ld.so.cache'
\tlibz.so.1 (libc6,x86-64) => /lib/x86_64-linux-gnu/libz.so.1
\tlibz.so.1 (libc6,x86-64) => /opt/other/libz.so.1
\tlibz.so.1 (libc6) => /lib/i386-linux-gnu/libz.so.1
\tlibc.so.6 (libc6,x86-64, OS ABI: Linux 3.2.0) => /lib/x86_64-linux-gnu/libc.so.6
\tlibc.so.6 (libc6,AArch64) => /lib/aarch64-linux-gnu/libc.so.6
"""


def plan(folder: Path, programs: str) -> Path:
    file = folder / "plan.yaml"
    rest = "arms: [none]\nworkloads: [cycle]\nmetrics: {residual_bytes: {margin: 5%}}\n"
    file.write_text(f"name: mine\nprograms: {programs}\n{rest}")
    return file


def test_a_program_is_a_name_or_a_path_and_comes_back_from_a_written_plan(tmp_path: Path) -> None:
    file = plan(tmp_path, "[xz, /opt/bin/gzip, {name: server, path: checker}, {name: plain}]")
    found = resolve(load_plan(str(file)), "auto")
    assert found.programs == (
        Program("xz", "xz"),
        Program("gzip", "/opt/bin/gzip"),
        Program("server", "checker"),
        Program("plain", "plain"),
    )
    file.write_text(dump_plan(found))
    assert resolve(load_plan(str(file)), "auto") == found


@pytest.mark.parametrize(
    ("programs", "message"),
    [
        ("[xz, /usr/bin/xz]", "programs.1: two programs are called 'xz'"),
        ("[{path: /usr/bin/xz}]", "programs.0.name: is missing"),
        ("[{name: xz, where: here}]", "programs.0.where: unknown key"),
        ("[7]", "programs.0"),
    ],
)
def test_what_is_no_program_is_refused_with_its_place(tmp_path: Path, programs: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_plan(str(plan(tmp_path, programs)))


def test_the_loaders_cache_is_read_for_the_programs_own_machine() -> None:
    x86 = cached(LDCONFIG, 62)
    assert x86 == {
        "libz.so.1": Path("/lib/x86_64-linux-gnu/libz.so.1"),
        "libc.so.6": Path("/lib/x86_64-linux-gnu/libc.so.6"),
    }
    assert cached(LDCONFIG, 183) == {"libc.so.6": Path("/lib/aarch64-linux-gnu/libc.so.6")}


def test_the_closure_of_a_program_is_what_the_loader_maps() -> None:
    python = Path(sys.executable).resolve()
    asked = subprocess.run(["ldd", str(python)], capture_output=True, text=True, check=True).stdout
    mapped = {line.split()[0] for line in asked.splitlines() if "=>" in line}
    loader = Path(elf.loader(python.read_bytes())).name
    # glibc opens this one itself, when a thread is cancelled.
    others = {loader, "libgcc_s.so.1"}
    assert set(closure(python)) | others == mapped | others
    assert all(path.is_file() for path in closure(python).values())


def test_a_program_that_is_not_here_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoProgramError, match="no program nowhere-at-all here") as caught:
        find([Program("mine", "nowhere-at-all")])
    assert caught.value.program.name == "mine"
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    with pytest.raises(NoProgramError, match="cannot be carried into a guest: no ELF file"):
        find([Program("script", str(script))])


def test_an_image_holds_its_programs_under_the_names_that_were_asked_for(tmp_path: Path) -> None:
    found = find([Program("other-name", "/bin/sh")])
    plain, image = build_image(tmp_path), build_image(tmp_path, found)
    assert plain.name != image.name
    (members,) = read_archives(image.read_bytes())
    assert "usr/bin/other-name" in members
    assert "usr/bin/sh" not in members
    assert len(digests(found)["other-name"]["sha256"]) == 64


# -- in the guest ----------------------------------------------------------------------------------------------------


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    return Programs(str(tmp_path / "programs"))


def test_a_program_is_run_to_its_end_with_its_output_and_cpu_time(programs: Programs) -> None:
    work = "import sys; sum(range(300000)); print('said'); print('also', file=sys.stderr)"
    done = programs.run("python", [sys.executable, "-c", work], 60)
    assert sorted(done["output"].split()) == ["also", "said"]
    assert done["ns"] >= done["cpu_ns"] * 0.5 > 0
    assert done["max_resident_bytes"] > 1 << 20


def test_a_program_that_fails_says_how_and_what_it_said(programs: Programs) -> None:
    with pytest.raises(RuntimeError, match=r"failed \(status 3\): too bad"):
        programs.run("sh", ["/bin/sh", "-c", "echo too bad; exit 3"], 60)
    with pytest.raises(RuntimeError, match=r"failed \(signal 9\)"):
        programs.run("sh", ["/bin/sh", "-c", "kill -9 $$"], 60)


def test_a_program_that_does_not_end_is_ended(programs: Programs) -> None:
    start = time.monotonic()
    with pytest.raises(RuntimeError, match=r"did not end within 0.2 s"):
        programs.run("sleep", ["sleep", "600"], 0.2)
    assert time.monotonic() - start < 30


def test_a_server_is_ready_when_its_file_is_there_and_stopped_by_name(programs: Programs, tmp_path: Path) -> None:
    ready = str(tmp_path / "ready")
    argv = ["/bin/sh", "-c", f"sleep 0.1; : > '{ready}'; exec sleep 600"]
    assert programs.start("server", argv, ready, 60)["ns"] > 0
    with pytest.raises(ValueError, match="'server' runs already"):
        programs.start("server", argv, ready, 60)
    assert programs.stop("server")["max_resident_bytes"] > 0
    with pytest.raises(ValueError, match="'server' does not run; running: none"):
        programs.stop("server")


def test_a_server_that_ends_or_never_gets_ready_is_told_apart(programs: Programs, tmp_path: Path) -> None:
    ready = str(tmp_path / "never")
    with pytest.raises(RuntimeError, match=r"ended \(status 1\): no port"):
        programs.start("server", ["/bin/sh", "-c", "echo no port; exit 1"], ready, 60)
    with pytest.raises(RuntimeError, match=r"made no .*never within 0.2 s"):
        programs.start("server", ["sleep", "600"], ready, 0.2)
    with pytest.raises(ValueError, match="does not run"):
        programs.stop("server")


def test_data_are_the_same_each_time_of_the_size_asked_for_and_compressible(tmp_path: Path) -> None:
    paths = [str(tmp_path / name) for name in ("a/data", "b/data")]
    for path in paths:
        assert write_data(path, 1_000_003)["bytes"] == 1_000_003
    first, second = (Path(path).read_bytes() for path in paths)
    assert first == second
    assert len(set(first.split())) > 200
    held = sum(os.stat(path).st_blocks * 512 for path in paths)
    assert remove(paths)["bytes"] == held
    assert not any(Path(path).exists() for path in paths)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Answers +OK to the first line of each connection's lines, an error to those that begin with BAD."""
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def serve() -> None:
            link, _ = listener.accept()
            with link, link.makefile("rwb", buffering=0) as stream:
                for line in stream:
                    stream.write(b"-ERR no\r\n" if line.startswith(b"BAD") else b"+OK\r\n")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield path
        thread.join(10)


def test_a_server_is_asked_line_by_line_and_its_errors_are_raised(server: str) -> None:
    with pytest.raises(RuntimeError, match="BAD: -ERR no"):
        ask_socket(server, ["GOOD", "BAD", "GOOD"], 10)


def test_answers_come_in_their_order(server: str) -> None:
    assert ask_socket(server, ["ONE", "TWO"], 10)["answers"] == ["+OK", "+OK"]
