"""KVM is usable when a canary guest became ready under it, and in no other case."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.errors import Interrupted, LabError, MissingError
from bench.host.kvm import CACHE_FILE, KvmAnswer, probe_kvm, read_cached

Boot = Callable[[str], float]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine on which /dev/kvm opens."""
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/kvm").write_text("")
    boot_of_host(tmp_path, "first-boot")
    return tmp_path


def boot_of_host(root: Path, name: str) -> None:
    (root / "proc/sys/kernel/random").mkdir(parents=True, exist_ok=True)
    (root / "proc/sys/kernel/random/boot_id").write_text(name + "\n")


def ready(calls: list[str], seconds: float = 1.25) -> Boot:
    def boot(accel: str) -> float:
        calls.append(accel)
        return seconds

    return boot


def failing(error: BaseException) -> Boot:
    def boot(accel: str) -> float:
        raise error

    return boot


def never(accel: str) -> float:
    raise AssertionError("no guest was to be booted")


def test_a_canary_that_is_ready_makes_kvm_usable(root: Path) -> None:
    calls: list[str] = []
    answer = probe_kvm(ready(calls), root / "cache", "7.2.22", root=root)
    assert answer == KvmAnswer(True, "a canary guest was ready after 1.25 s", (), 1.25, cached=False)
    assert (calls, answer.accel) == (["kvm"], "kvm")


@pytest.mark.parametrize(
    ("error", "evidence"),
    [
        (LabError("", "no READY within 10 s", ["qemu"], ["[0.0] Linux", "hang"]), ("[0.0] Linux", "hang")),
        (TimeoutError("no READY within 10 s"), ("no READY within 10 s",)),
        (OSError(5, "Input/output error"), ("[Errno 5] Input/output error",)),
    ],
)
def test_a_canary_that_does_not_get_ready_means_tcg_and_keeps_the_evidence(
    root: Path, error: BaseException, evidence: tuple[str, ...]
) -> None:
    answer = probe_kvm(failing(error), root / "cache", "7.2.22", root=root)
    assert (answer.usable, answer.accel, answer.evidence) == (False, "tcg", evidence)
    assert "did not become ready under KVM" in answer.reason


def test_without_the_device_no_guest_is_booted(root: Path) -> None:
    (root / "dev/kvm").unlink()
    answer = probe_kvm(never, root / "cache", "7.2.22", root=root)
    assert (answer.usable, answer.reason) == (False, "/dev/kvm is not there")
    assert not (root / "cache").exists(), "an answer without a boot is not kept: it may change at any time"


def test_a_device_that_cannot_be_opened_needs_no_boot(root: Path) -> None:
    # A folder in its place: nobody opens that for writing, root neither.
    (root / "dev/kvm").unlink()
    (root / "dev/kvm").mkdir()
    assert "cannot be opened" in probe_kvm(never, root / "cache", "7.2.22", root=root).reason


@pytest.mark.parametrize("usable", [True, False])
def test_the_answer_is_kept_for_this_boot_of_the_host_and_this_qemu(root: Path, usable: bool) -> None:
    boot = ready([]) if usable else failing(LabError("", "hangs", (), ["last line"]))
    first = probe_kvm(boot, root / "cache", "7.2.22", root=root)
    again = probe_kvm(never, root / "cache", "7.2.22", root=root)
    assert again == KvmAnswer(first.usable, first.reason, first.evidence, first.seconds, cached=True)
    assert read_cached(root / "cache", "7.2.22", root) == again


@pytest.mark.parametrize("change", ["host", "qemu", "fresh"])
def test_another_boot_of_the_host_another_qemu_or_a_wish_asks_again(root: Path, change: str) -> None:
    probe_kvm(failing(LabError("", "hangs")), root / "cache", "7.2.22", root=root)
    if change == "host":
        boot_of_host(root, "second-boot")
    version = "10.0.2" if change == "qemu" else "7.2.22"
    calls: list[str] = []
    assert probe_kvm(ready(calls), root / "cache", version, root=root, fresh=change == "fresh").usable
    assert calls == ["kvm"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"key": {}}', '{"key": null, "answer": 3}'])
def test_a_damaged_cache_is_as_good_as_none(root: Path, content: str) -> None:
    (root / "cache").mkdir()
    (root / "cache" / CACHE_FILE).write_text(content)
    calls: list[str] = []
    probe_kvm(ready(calls), root / "cache", "7.2.22", root=root)
    assert calls == ["kvm"]
    assert json.loads((root / "cache" / CACHE_FILE).read_text())["answer"]["usable"] is True
    assert [path.name for path in (root / "cache").iterdir()] == [CACHE_FILE]


def test_an_answer_that_cannot_be_kept_is_an_answer(root: Path) -> None:
    (root / "cache").write_text("a file, as little room as a full disk")
    assert probe_kvm(ready([]), root / "cache", "7.2.22", root=root).usable


@pytest.mark.parametrize("error", [MissingError("no QEMU"), Interrupted(), KeyboardInterrupt(), ZeroDivisionError()])
def test_a_missing_qemu_an_interruption_and_a_bug_are_no_answer(root: Path, error: BaseException) -> None:
    with pytest.raises(type(error)):
        probe_kvm(failing(error), root / "cache", "7.2.22", root=root)
    assert not (root / "cache").exists()
