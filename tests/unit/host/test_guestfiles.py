"""The files of a guest: what an entry names is looked at, and a wrong one is named with its key."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from bench.errors import InputError, MissingError
from bench.host import guestfiles


def program(path: Path, body: str) -> str:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def test_the_version_of_qemu_is_asked_from_qemu(tmp_path: Path) -> None:
    qemu = program(tmp_path / "qemu", "echo 'QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)'")
    assert guestfiles.qemu_version(qemu) == "7.2.22"
    assert guestfiles.chosen_qemu({"qemu": qemu}) == (qemu, "7.2.22")
    assert guestfiles.qemu_version(sys.executable) == ""
    assert guestfiles.qemu_version(str(tmp_path / "absent")) == ""


def test_without_qemu_the_cure_names_no_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingError) as caught:
        guestfiles.chosen_qemu({"qemu": ""})
    assert caught.value.command == "bench prepare"


def test_a_qemu_of_the_host_that_does_not_run_is_not_called_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / f"qemu-system-{os.uname().machine}", "exit 127")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingError, match="does not run"):
        guestfiles.chosen_qemu({"qemu": ""})


@pytest.mark.parametrize("key", ["qemu", "kernel", "modules"])
def test_a_named_file_that_is_not_there_is_wrong_input_at_its_key(tmp_path: Path, key: str) -> None:
    args = {"qemu": "", "kernel": "", "modules": "", key: "/nowhere/file"}
    with pytest.raises(InputError, match="/nowhere/file") as caught:
        guestfiles.chosen_qemu(args) if key == "qemu" else guestfiles.chosen_kernel(args, tmp_path)
    assert caught.value.key == key


def test_the_release_of_a_named_kernel_is_read_from_the_file(tmp_path: Path) -> None:
    image = tmp_path / "vmlinuz-of-mine"
    image.write_bytes(b"\x7fELF Linux version 6.12.1-mine (me@here) #1")
    kernel = guestfiles.chosen_kernel({"kernel": str(image), "modules": ""}, tmp_path)
    assert (kernel.release, kernel.source) == ("6.12.1-mine", "named")


def test_a_named_file_that_is_no_kernel_says_what_would_be_one(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("not a kernel")
    with pytest.raises(InputError, match="name a bzImage, an ELF vmlinux or an arm64 Image"):
        guestfiles.chosen_kernel({"kernel": str(tmp_path / "notes"), "modules": ""}, tmp_path)


def test_a_scratch_folder_may_be_there_or_be_made(tmp_path: Path) -> None:
    guestfiles.check_scratch("")
    guestfiles.check_scratch(str(tmp_path))
    guestfiles.check_scratch(str(tmp_path / "new/deeper"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("folder", "message"), [("scratch", "whole path"), ("/proc/version/x", "is no folder")])
def test_a_scratch_folder_that_cannot_be_used_is_wrong_input(folder: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        guestfiles.check_scratch(folder)
    assert caught.value.key == "scratch"
