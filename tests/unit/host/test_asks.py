"""Questions to a host: what is looked at, what is booted for it, and what is refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.errors import InputError, LabError
from bench.host import asks, lock
from bench.wire.job import Ask, Job
from bench.wire.record import End, PhaseDone, Ready, Record, Samples

RELEASE = "6.1.0-56-test"


class Guests:
    """Boots that are told instead of done."""

    def __init__(self, *records: Record) -> None:
        self.jobs: list[Job] = []
        self._records = records

    def __call__(self, job: Job, emit: Callable[[Record], None]) -> bool:
        self.jobs.append(job)
        for record in self._records:
            emit(record)
        return True


# As a canary sees it: ready, a free at 5 s, and 64 MiB discarded after it.
GOOD = (
    Ready(1.25, {}),
    PhaseDone("free", "guest", 0, warmup=False, start_s=5.0, end_s=5.1),
    Samples([(4.0, "discard", "bytes", 1024.0), (6.0, "discard", "bytes", 64 * 2.0**20)]),
    End("ok"),
)
DEAD = (End("failed", "no READY within 10 s", ["console: Oops"]),)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with QEMU and a kernel in the cache, and KVM's device."""
    kernel = tmp_path / "cache/kernels" / RELEASE
    modules = kernel / "lib/modules" / RELEASE
    for folder in (kernel / "boot", modules, tmp_path / "bin", tmp_path / "dev", tmp_path / "proc/sys/kernel/random"):
        folder.mkdir(parents=True)
    (kernel / f"boot/vmlinuz-{RELEASE}").write_bytes(b"\x7fELF Linux version " + RELEASE.encode())
    (modules / "modules.builtin").write_text("virtio_pci.ko\nvirtio_balloon.ko\nvirtio_console.ko\n")
    (tmp_path / "dev/kvm").write_text("")
    (tmp_path / "proc/sys/kernel/random/boot_id").write_text("a-boot\n")
    (tmp_path / "tmp").mkdir()
    qemu = tmp_path / f"bin/qemu-system-{os.uname().machine}"
    qemu.write_text("#!/bin/sh\necho QEMU emulator version 9.2.0\n")
    qemu.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("BENCH_STATE", str(tmp_path / "state"))
    return tmp_path


def args(**changes: Any) -> dict[str, Any]:
    return {"qemu": "", "kernel": "", "modules": "", "accel": "tcg", "image": "/i.cpio", **changes}


def resolve(root: Path, guests: Guests, **changes: Any) -> dict[str, Any]:
    return asks.resolve(args(**changes), guests, root / "cache", root)


def findings(root: Path, guests: Guests, **changes: Any) -> dict[str, dict[str, Any]]:
    found = asks.examine(args(**changes), guests, root / "cache", root)["findings"]
    return {finding["what"]: finding for finding in found}


def test_an_unknown_question_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(InputError, match="known: resolve, means, prepare, doctor, tune"):
        asks.answer(Ask("fly"), Guests())


def test_resolve_says_what_a_guest_would_run_with_and_boots_nothing_for_emulation(root: Path) -> None:
    guests = Guests()
    answer = resolve(root, guests)
    assert answer["paths"]["qemu"].endswith(f"qemu-system-{os.uname().machine}")
    assert answer["paths"]["kernel"].endswith(f"vmlinuz-{RELEASE}")
    assert (answer["accel"], answer["kvm"], answer["qemu_version"]) == ("tcg", None, "9.2.0")
    assert answer["guest_kernel"] == RELEASE
    assert guests.jobs == []


def test_kvm_is_chosen_when_a_canary_became_ready_under_it_and_asked_once(root: Path) -> None:
    guests = Guests(*GOOD)
    assert resolve(root, guests, accel="auto")["accel"] == "kvm"
    assert resolve(root, guests, accel="kvm")["accel"] == "kvm"
    assert [job.guest.accel for job in guests.jobs] == ["kvm"]


def test_kvm_that_was_asked_for_and_does_not_work_is_the_labs_error_with_the_canarys_words(root: Path) -> None:
    assert resolve(root, Guests(*DEAD), accel="auto")["accel"] == "tcg"
    with pytest.raises(LabError, match="accel: kvm was asked for") as caught:
        resolve(root, Guests(*DEAD), accel="kvm")
    assert (caught.value.host, caught.value.evidence) == ("", ("console: Oops",))


@pytest.mark.parametrize(
    ("key", "value"),
    [("guest_cpus", [4095]), ("sampler_cpus", [4095]), ("numa_node", 99), ("scratch", "here"), ("qemu", "/bin/true")],
)
@pytest.mark.parametrize("ask", [resolve, findings])
def test_what_the_entry_asks_for_and_this_host_has_not_is_refused_at_its_key(
    root: Path, ask: Callable[..., Any], key: str, value: object
) -> None:
    (root / "sys/devices/system/cpu").mkdir(parents=True)
    (root / "sys/devices/system/cpu/online").write_text("0-1\n")
    guests = Guests()
    with pytest.raises(InputError) as caught:
        ask(root, guests, **{key: value})
    assert (caught.value.key, guests.jobs) == (key, [])


def test_the_doctor_boots_one_canary_to_see_kvm_and_one_to_see_a_discard(root: Path) -> None:
    guests = Guests(*GOOD)
    found = findings(root, guests, accel="auto")
    assert [len(job.phases) > 0 for job in guests.jobs] == [False, True]
    assert (found["KVM"]["severity"], found["canary discard"]["severity"]) == ("ok", "ok")
    assert found["canary discard"]["value"] == "64 MiB discarded within 1.0 s of a free"


def test_the_doctor_shows_what_is_missing_and_boots_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    (root / "cache/kernels").rename(root / "away")
    guests = Guests()
    found = findings(root, guests)
    assert (found["QEMU"]["value"], found["guest kernel"]["command"]) == ("none found", "bench prepare")
    assert guests.jobs == []


def test_a_qemu_that_is_there_and_does_not_run_is_an_error(root: Path) -> None:
    (root / f"bin/qemu-system-{os.uname().machine}").write_text("#!/bin/sh\nexit 127\n")
    assert "does not run" in findings(root, Guests())["QEMU"]["value"]


def test_no_canary_disturbs_who_has_the_host_and_an_earlier_answer_about_kvm_is_shown(root: Path) -> None:
    resolve(root, Guests(*GOOD), accel="auto")
    held = lock.acquire("ada@desk", "r1", lock.default_path(root))
    guests = Guests(*GOOD)
    try:
        found = findings(root, guests, accel="auto")
    finally:
        held.release()
    assert guests.jobs == []
    assert "ada@desk" in found["host in use"]["value"]
    assert found["KVM"]["severity"] == "ok"
    assert found["canary discard"]["value"] == "not probed"


def test_a_damaged_journal_is_a_warning_and_no_crash(root: Path) -> None:
    (root / "state").mkdir()
    (root / "state/tuned.json").write_text("{")
    found = findings(root, Guests(*DEAD))["tuned settings"]
    assert (found["severity"], str(root / "state/tuned.json") in found["advice"]) == ("warn", True)


def test_become_sudo_without_sudo_is_an_error(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert findings(root, Guests(*DEAD), become="sudo")["root"]["severity"] == "error"
    assert findings(root, Guests(*DEAD), become="none")["root"]["severity"] == "ok"
