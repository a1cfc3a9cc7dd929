"""A guest out of memory is told from what its kernel printed, and from nothing else."""

from __future__ import annotations

from bench.host import oom

KILLED = """[    9.1] virtio_balloon: all is well
[   10.0] python3.11 invoked oom-killer: gfp_mask=0x140dca, order=0, oom_score_adj=0
[   10.0] Mem-Info:
[   10.0] Out of memory: Killed process 77 (python3.11) total-vm:400000kB
[   11.0] something else"""
PANIC = """Kernel panic - not syncing: System is deadlocked on memory
CPU: 0 PID: 1 Comm: init"""


def test_the_report_is_kept_from_its_first_to_its_last_line() -> None:
    lines = oom.report(KILLED)
    assert (lines[0].split()[2], len(lines)) == ("python3.11", 3)
    said = "the guest ran out of memory: Out of memory: Killed process 77 (python3.11) total-vm:400000kB"
    assert oom.reason(lines) == said


def test_a_guest_with_nobody_to_kill_panics() -> None:
    wanted = "the guest ran out of memory: Kernel panic - not syncing: System is deadlocked on memory"
    assert oom.reason(oom.report(PANIC)) == wanted


def test_another_panic_is_no_lack_of_memory() -> None:
    assert oom.report("Kernel panic - not syncing: Attempted to kill init!") == []
    assert oom.reason([]) is None
