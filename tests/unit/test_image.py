"""The guest image of the running interpreter: what is in it, that it is reproducible, and that its Python starts."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cpio_reader import Member, read_archives

from bench.controller import elf
from bench.controller.image import build_image

VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_image(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def members(image: Path) -> dict[str, Member]:
    (only,) = read_archives(image.read_bytes())
    return only


def test_two_builds_give_the_same_bytes(image: Path, tmp_path: Path) -> None:
    again = build_image(tmp_path)
    assert again != image
    assert again.name == image.name
    assert again.read_bytes() == image.read_bytes()


def test_the_bytes_do_not_depend_on_where_the_project_lies(image: Path, tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    for name in ("bench", "workloads"):
        shutil.copytree(root / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    program = (
        "import pathlib; from bench.controller.image import build_image; print(build_image(pathlib.Path('cache')))"
    )
    env = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONHASHSEED": "7"}
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / done.stdout.strip()).read_bytes() == image.read_bytes()


def test_an_image_that_is_there_is_not_built_again(image: Path) -> None:
    before = image.stat()
    start = time.monotonic()
    assert build_image(image.parent) == image
    assert time.monotonic() - start < 10  # a fraction of a second on a machine that does nothing else
    assert image.stat() == before


def test_init_names_the_interpreter_and_starts_the_agent(members: dict[str, Member]) -> None:
    script = members["init"].data.decode()
    assert members["init"].mode == stat.S_IFREG | 0o755
    assert script.startswith(f"#!/usr/bin/python{VERSION} -I")
    assert members[f"usr/bin/python{VERSION}"].mode == stat.S_IFREG | 0o755
    assert "from workloads.agent import main" in script


def test_python_can_start_before_the_kernel_has_entropy(members: dict[str, Member]) -> None:
    """On a CPU without a random instruction getrandom() gives nothing yet, and Python turns to this device."""
    assert (members["dev/urandom"].mode, members["dev/urandom"].device) == (stat.S_IFCHR | 0o600, (1, 9))


def test_the_agent_memtouch_and_all_they_import_are_there_as_bytecode_only(members: dict[str, Member]) -> None:
    names = {name.rpartition(f"python{VERSION}")[2].lstrip("t/") for name in members}
    wanted = {"workloads/agent.pyc", "workloads/ops.pyc", "workloads/memtouch/__init__.pyc", "os.pyc", "raceback.pyc"}
    assert wanted <= names
    assert not [name for name in members if name.endswith(".py")]
    assert [name for name in members if "_memtouch" in name]
    assert [name for name in members if "_cffi_backend" in name]


def test_no_path_of_this_machine_is_in_the_bytecode(members: dict[str, Member]) -> None:
    ours = [str(Path(__file__).resolve().parents[2]).encode()]
    if sys.base_prefix != "/usr":
        ours.append(sys.base_prefix.encode())
    for name, member in members.items():
        if name.endswith(".pyc"):
            assert not [path for path in ours if path in member.data], name


def test_the_image_is_small_enough_for_a_quick_boot(image: Path, members: dict[str, Member]) -> None:
    assert image.stat().st_size < 24 << 20
    assert not [name for name in members if "/test/" in name or "/idlelib/" in name]


def test_the_python_of_the_image_runs_the_agent_with_nothing_but_the_image(
    members: dict[str, Member], tmp_path: Path
) -> None:
    """The image unpacked into a folder and entered with chroot, as the guest's kernel would."""
    if os.geteuid() != 0:
        pytest.skip("chroot needs root")
    for name, member in members.items():
        path = tmp_path / name
        if stat.S_ISDIR(member.mode):
            path.mkdir()
        elif stat.S_ISLNK(member.mode):
            path.symlink_to(member.data.decode())
        elif stat.S_ISREG(member.mode):
            path.write_bytes(member.data)
            path.chmod(stat.S_IMODE(member.mode))
    program = (
        "import sys, workloads.agent, workloads.memtouch, workloads._libc, traceback\n"
        "assert not [path for path in sys.path if not path.startswith('/usr/lib')], sys.path\n"
        "print(workloads.memtouch.page_bytes(), sys.prefix)"
    )
    chroot = shutil.which("chroot", path=f"{os.defpath}:/usr/sbin:/sbin")
    assert chroot is not None
    argv = [chroot, str(tmp_path), f"/usr/bin/python{VERSION}", "-ISB", "-c", program]
    done = subprocess.run(argv, env={}, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == [str(os.sysconf("SC_PAGE_SIZE")), "/usr"]


def test_stripping_keeps_a_program_working_and_its_names_readable(tmp_path: Path) -> None:
    data = Path(sys.executable).resolve().read_bytes()
    stripped = elf.strip(data)
    assert len(stripped) <= len(data)
    assert elf.loader(stripped) == elf.loader(data)
    (tmp_path / "python").write_bytes(stripped)
    (tmp_path / "python").chmod(0o755)
    env = {"PYTHONHOME": sys.base_prefix, "LD_LIBRARY_PATH": f"{sys.base_prefix}/lib"}
    done = subprocess.run([tmp_path / "python", "-c", "print(6 * 7)"], env=env, capture_output=True, text=True)
    assert done.stdout == "42\n", done.stderr


def test_the_name_of_a_library_is_read_from_it() -> None:
    loader = Path(elf.loader(Path(sys.executable).resolve().read_bytes()))
    assert elf.soname(loader.read_bytes()).startswith("ld-")


@pytest.mark.parametrize("data", [b"", b"#!/bin/sh\n", b"\x7fELF\x01\x01" + bytes(100)])
def test_what_is_no_elf_file_of_64_bit_is_refused(data: bytes) -> None:
    assert not elf.is_elf(data)
    with pytest.raises(ValueError, match="no ELF file"):
        elf.strip(data)
