"""Real swap: a file that is made for a run and gone at every end of it, and pages that are really read back from it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from host_side import GUEST_BYTES, ROOT, fake_job, run_to_end
from jobs import guest_op

from bench.host.swapfile import prune, swap_file
from bench.host.swaps import active
from bench.wire import codec, record
from bench.wire.job import Cgroup, Hold, Phase
from bench.wire.record import Held, PhaseDone, Released
from bench.wire.units import MIB

SIZE, TOUCHED = 128 * MIB, 32 * MIB


@pytest.fixture(autouse=True)
def _right() -> None:
    if os.geteuid() != 0:
        pytest.fail("swap is made as root: run these tests as root")


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "BENCH_STATE": str(folder / "state"), "BENCH_CACHE": str(folder / "cache")}


@contextlib.contextmanager
def keeper(folder: Path, size: int) -> Iterator[tuple[subprocess.Popen[bytes], Held]]:
    """A host side that holds a host whose lock is in `folder`, and makes a swap file in the cache there."""
    argv = [sys.executable, "-m", "bench.host", "--root", str(folder)]
    (folder / "tmp").mkdir(exist_ok=True)
    process = subprocess.Popen(argv, cwd=ROOT, env=environment(folder), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(codec.encode("Hold", Hold("run", "me", swap_file_bytes=size)))
        process.stdin.flush()
        held = record.decode(process.stdout.readline())
        assert isinstance(held, Held), held
        yield process, held
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def mine(folder: Path) -> list[str]:
    """Swap in use that lies in `folder`."""
    return [item.name for item in active() if item.name.startswith(str(folder))]


def test_a_held_host_has_its_swap_file_before_all_other_swap_and_gives_it_back(tmp_path: Path) -> None:
    (tmp_path / "before").mkdir()
    with swap_file(tmp_path / "before", SIZE) as others, keeper(tmp_path, SIZE) as (process, held):
        assert held.swap["bytes"] == SIZE
        assert sorted(mine(tmp_path)) == sorted([others["path"], held.swap["path"]])
        (made,) = [item for item in active() if item.name == held.swap["path"]]
        assert SIZE - 64 * 1024 <= made.size_bytes <= SIZE
        assert made.priority == 32767
        assert Path(made.name).stat().st_mode & 0o777 == 0o600
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        assert record.decode(process.stdout.readline()) == Released()
        assert process.wait(10) == 0
        assert mine(tmp_path) == [others["path"]]
    assert list((tmp_path / "cache").glob("*.swap")) == []


@pytest.mark.alone  # any bench or host side beside it would remove the file, and say so
def test_the_swap_file_of_a_keeper_that_was_killed_is_removed_by_the_next_request_and_not_before(
    tmp_path: Path,
) -> None:
    request = [sys.executable, "-m", "bench.host"]
    line = b'{"v":1,"type":"Ask","body":{"what":"nothing"}}\n'
    with keeper(tmp_path, SIZE) as (process, held):
        subprocess.run(request, input=line, check=True, cwd=ROOT, env=environment(tmp_path), stdout=subprocess.DEVNULL)
        assert mine(tmp_path) == [held.swap["path"]]
        process.kill()
        process.wait()
        assert mine(tmp_path) == [held.swap["path"]]
        # Whatever cache that one has: the file is known by its name in /proc/swaps.
        other = {**environment(tmp_path), "BENCH_CACHE": str(tmp_path / "other")}
        subprocess.run(request, input=line, check=True, cwd=ROOT, env=other, stdout=subprocess.DEVNULL)
    assert mine(tmp_path) == []
    assert list((tmp_path / "cache").glob("*.swap")) == []


def test_a_disk_that_cannot_hold_swap_is_a_reason_and_the_host_is_held_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2G", "tmpfs", tmp_path / "cache"], check=True)
    try:
        with keeper(tmp_path, SIZE) as (_, held):
            assert "swapon" in held.swap["problem"]
            assert "ext4 or xfs" in held.swap["problem"]
            assert list((tmp_path / "cache").glob("*.swap")) == []
    finally:
        subprocess.run(["umount", tmp_path / "cache"], check=True)


def pages_read(host_rows: list[tuple[float, float]], phase: PhaseDone) -> float:
    """Bytes that the host read from swap from the last tick before the phase to the first one behind it."""
    before = [value for t, value in host_rows if t <= phase.start_s][-1]
    after = next((value for t, value in host_rows if t >= phase.end_s), host_rows[-1][1])
    return (after - before) * 4096


@pytest.mark.alone  # what is swapped in and out is counted for the whole machine
@pytest.mark.parametrize("grouped", [True, False])
def test_pages_that_were_pushed_out_are_read_back_and_without_a_group_the_phase_says_why_not(
    tmp_path: Path, grouped: bool
) -> None:
    touch = {"region": "work", "mode": "write", "histogram": False}
    phases = (
        guest_op("map", "map", region="work", bytes=TOUCHED),
        guest_op("touch", "touch", **touch),
        Phase("pageout", "host", 0, op="pageout"),
        Phase("hold", "hold", 0, args={"s": 0.2}),
        guest_op("swapped", "touch", **touch),
        Phase("after", "hold", 0, args={"s": 0.2}),
    )
    job = fake_job(tmp_path, phases, cgroup=Cgroup() if grouped else None)
    with swap_file(tmp_path, SIZE) as told:
        assert "path" in told, told
        host, end = run_to_end(tmp_path, job)
    assert (end.status, end.reason) == ("ok", "")
    assert mine(tmp_path) == []
    done = {phase.name: phase for phase in host.all_of(PhaseDone)}
    answer, read = done["pageout"].result, pages_read(host.rows("vmstat", "pswpin"), done["swapped"])
    if not grouped:
        assert "no phase of this boot needs a memory cgroup" in answer["skipped"]
        assert read == 0
        return
    assert TOUCHED <= answer["bytes"] <= GUEST_BYTES
    assert answer["cached_bytes"] < 4 * MIB
    assert read >= 0.95 * TOUCHED
    resident = [value for t, value in host.rows("ram", "resident_bytes") if done["hold"].start_s < t]
    assert resident[0] < 4 * MIB
    assert resident[-1] >= TOUCHED


@pytest.mark.alone  # swap is the machine's: a file of another test would be filled first
def test_a_guest_for_which_swap_was_too_small_is_a_failure_that_says_so(tmp_path: Path) -> None:
    assert active() == [], "this host has swap of its own, which cannot be filled for a test"
    pieces = []
    # Killed with up to 1 MiB free that CPUs keep to themselves: the sample before has that and a piece, at most.
    for number in range(24):
        region = f"r{number}"
        pieces += [
            guest_op(f"map{number}", "map", region=region, bytes=2 * MIB),
            guest_op(f"touch{number}", "touch", region=region),
            # So the sampler sees how little is left.
            Phase(f"hold{number}", "hold", 0, args={"s": 0.15}),
        ]
    limits = Cgroup(limit_bytes=32 * MIB, swap_limit_bytes=256 * MIB)
    with swap_file(tmp_path, 12 * MIB) as told:
        assert "path" in told, told
        host, end = run_to_end(tmp_path, fake_job(tmp_path, pieces, cgroup=limits))
    assert end.status == "failed"
    full = "its memory cgroup was full (32 MiB of memory, 256 MiB of swap), the host had no swap left, and the kernel"
    assert full in end.reason
    assert min(value for _, value in host.rows("meminfo", "SwapFree_bytes")) < 4 * MIB
    assert mine(tmp_path) == []


def test_only_what_nobody_owns_is_pruned_while_it_is_in_use(tmp_path: Path) -> None:
    with swap_file(tmp_path, SIZE) as told:
        assert prune([tmp_path]) == []
        assert mine(tmp_path) == [told["path"]]
    assert mine(tmp_path) == []
