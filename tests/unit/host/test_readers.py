"""Readers of the host's counters on synthetic trees, and on this very process where the kernel has to answer."""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.host.groupreaders import CgroupReader, PressureReader
from bench.host.readers import (
    MeminfoReader,
    ProcessReader,
    RamReader,
    VmstatReader,
    available_bytes,
    parse_colon_table,
    read_smaps_rollup,
)
from bench.wire.units import KIB, MIB

PID = 4242
MEMORY_BYTES = 3 * MIB + 4 * KIB  # an odd size, so that no other memfd of this process has it


def write(root: Path, name: str, text: str) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def write_thread(root: Path, tid: int, ran_s: float) -> Path:
    return write(root, f"proc/{PID}/task/{tid}/schedstat", f"{int(ran_s * 1e9)} 12345 67\n")


@pytest.fixture
def process(tmp_path: Path) -> Path:
    """A tree with a QEMU of three threads: main, a vCPU, a worker."""
    status = (
        "Name:\tqemu-system-x86\nUmask:\t0022\nVmRSS:\t  943104 kB\nRssAnon:\t   82944 kB\nRssFile:\t   30720 kB\n"
        "RssShmem:\t  829440 kB\nVmSwap:\t    4096 kB\nHugetlbPages:\t       0 kB\nThreads:\t3\n"
    )
    write(tmp_path, f"proc/{PID}/status", status)
    write(tmp_path, f"proc/{PID}/stat", f"{PID} (a (name) 1 2) S 1 2 3 0 -1 4194304 500 0 37 0 9 8 0 0 20 0 3 0 1\n")
    for tid, ran_s in ((PID, 1.0), (PID + 1, 20.0), (PID + 2, 0.25)):
        write_thread(tmp_path, tid, ran_s)
    return tmp_path


@pytest.fixture
def memfd() -> Iterator[tuple[int, mmap.mmap]]:
    """A memfd of this process, MEMORY_BYTES large, as QEMU's memory backend makes one."""
    fd = os.memfd_create("memory-backend-memfd")
    os.ftruncate(fd, MEMORY_BYTES)
    with mmap.mmap(fd, MEMORY_BYTES) as memory:
        yield fd, memory
    os.close(fd)


def test_a_table_with_colons_is_in_bytes_where_it_says_kb() -> None:
    text = "MemTotal:       24097184 kB\nHugePages_Free:        7\nVmFlags: rd wr\nName:\tqemu\nEmpty:\n\n"
    assert parse_colon_table(text) == {"MemTotal": 24097184 * 1024, "HugePages_Free": 7}


def test_vmstat_gives_the_counters_of_swap_and_huge_pages_only(tmp_path: Path) -> None:
    write(tmp_path, "proc/vmstat", "nr_free_pages 5\npswpin 7\npswpout 135842\nthp_fault_alloc 3\npgfault 99\n")
    rows = list(VmstatReader(tmp_path).read())
    assert rows == [("vmstat", "pswpin", 7.0), ("vmstat", "pswpout", 135842.0), ("vmstat", "thp_fault_alloc", 3.0)]


def test_meminfo_is_in_bytes_and_counts_huge_pages_as_pages(tmp_path: Path) -> None:
    write(
        tmp_path, "proc/meminfo", "MemTotal: 8 kB\nMemFree: 4 kB\nSwapFree: 0 kB\nHugePages_Free: 104\nBounce: 0 kB\n"
    )
    rows = list(MeminfoReader(tmp_path).read())
    expected = [("meminfo", "MemFree_bytes", 4096.0), ("meminfo", "SwapFree_bytes", 0.0)]
    assert rows == [*expected, ("meminfo", "HugePages_Free", 104.0)]


def test_available_memory_is_absent_on_a_kernel_that_does_not_say(tmp_path: Path) -> None:
    write(tmp_path, "proc/meminfo", "MemTotal: 8 kB\n")
    assert available_bytes(tmp_path) is None
    write(tmp_path, "proc/meminfo", "MemAvailable: 8 kB\n")
    assert available_bytes(tmp_path) == 8192


def test_pressure_gives_the_totals_of_every_line(tmp_path: Path) -> None:
    full = "full avg10=0.00 avg60=0.00 avg300=0.00 total=17\n"
    write(tmp_path, "proc/pressure/memory", f"some avg10=1.53 avg60=0.40 avg300=0.09 total=4711\n{full}")
    write(tmp_path, "proc/pressure/cpu", "some avg10=0.00 avg60=0.00 avg300=0.00 total=5\n")
    rows = list(PressureReader(tmp_path).read())
    assert rows == [("psi", "memory_some_us", 4711.0), ("psi", "memory_full_us", 17.0), ("psi", "cpu_some_us", 5.0)]


def test_a_kernel_without_pressure_has_no_rows_of_it(tmp_path: Path) -> None:
    assert list(PressureReader(tmp_path).read()) == []


def test_pressure_that_is_there_but_switched_off_has_no_rows(tmp_path: Path) -> None:
    # As on RHEL 8 and 9: the files exist, and every read fails with "Operation not supported" (psi=0).
    for name in ("memory", "cpu", "io"):
        (tmp_path / "proc/pressure" / name).mkdir(parents=True)  # reading a folder fails, too
    assert list(PressureReader(tmp_path).read()) == []


def test_a_cgroup_of_version_two_is_found_by_its_path(tmp_path: Path) -> None:
    write(tmp_path, f"proc/{PID}/cgroup", "0::/user.slice/bench.scope\n")
    write(tmp_path, "sys/fs/cgroup/user.slice/bench.scope/memory.current", "1048576\n")
    write(tmp_path, "sys/fs/cgroup/user.slice/bench.scope/memory.swap.current", "4096\n")
    rows = list(CgroupReader(PID, tmp_path).read())
    assert rows == [("cgroup", "current_bytes", 1048576.0), ("cgroup", "swap_bytes", 4096.0)]


def test_the_root_group_of_version_two_has_no_counters(tmp_path: Path) -> None:
    write(tmp_path, f"proc/{PID}/cgroup", "0::/\n")
    write(tmp_path, "sys/fs/cgroup/cgroup.controllers", "memory\n")
    assert list(CgroupReader(PID, tmp_path).read()) == []


def test_a_cgroup_of_version_one_is_that_of_the_memory_controller(tmp_path: Path) -> None:
    lines = "12:cpu,cpuacct:/other\n8:memory:/user/bench\n1:name=systemd:/user\n0::/user/unified\n"
    write(tmp_path, f"proc/{PID}/cgroup", lines)
    write(tmp_path, "sys/fs/cgroup/memory/user/bench/memory.usage_in_bytes", "8192\n")
    write(tmp_path, "sys/fs/cgroup/memory/user/bench/memory.memsw.usage_in_bytes", "12288\n")
    rows = list(CgroupReader(PID, tmp_path).read())
    assert rows == [("cgroup", "current_bytes", 8192.0), ("cgroup", "current_and_swap_bytes", 12288.0)]


def test_a_process_has_its_resident_set_by_kind(process: Path) -> None:
    rows = dict(row[1:] for row in ProcessReader(PID, [PID + 1], process).read())
    assert rows["rss_bytes"] == 943104 * KIB
    assert rows["rss_anon_bytes"] == 82944 * KIB
    assert rows["rss_shmem_bytes"] == 829440 * KIB
    assert rows["swap_bytes"] == 4 * MIB
    assert rows["hugetlb_bytes"] == 0


def test_what_a_process_status_does_not_say_is_absent(process: Path) -> None:
    write(process, f"proc/{PID}/status", "VmRSS:\t8 kB\n")
    names = [row[1] for row in ProcessReader(PID, [], process).read()]
    assert names == ["rss_bytes", "major_faults", "cpu_main_s", "cpu_vcpu_s", "cpu_other_s"]


def test_processor_time_is_told_apart_by_kind_of_thread(process: Path) -> None:
    rows = dict(row[1:] for row in ProcessReader(PID, [PID + 1], process).read())
    assert (rows["cpu_main_s"], rows["cpu_vcpu_s"], rows["cpu_other_s"]) == (1.0, 20.0, 0.25)


def test_the_time_of_a_thread_that_ended_stays_counted(process: Path) -> None:
    reader = ProcessReader(PID, [PID + 1], process)
    list(reader.read())
    (process / f"proc/{PID}/task/{PID + 2}/schedstat").unlink()
    (process / f"proc/{PID}/task/{PID + 2}").rmdir()
    write_thread(process, PID + 3, 0.5)
    rows = dict(row[1:] for row in reader.read())
    assert rows["cpu_other_s"] == 0.75


def test_a_thread_that_ends_between_two_reads_is_no_error(process: Path) -> None:
    (process / f"proc/{PID}/task/{PID + 9}").mkdir()  # its schedstat is gone already
    rows = dict(row[1:] for row in ProcessReader(PID, [PID + 1], process).read())
    assert rows["cpu_other_s"] == 0.25


def test_a_kernel_without_schedstat_has_no_processor_time_rather_than_zero(process: Path) -> None:
    for path in list(process.glob(f"proc/{PID}/task/*/schedstat")):
        path.unlink()
    names = [row[1] for row in ProcessReader(PID, [PID + 1], process).read()]
    assert [name for name in names if name.startswith("cpu_")] == []


def test_this_process_uses_processor_time_that_only_grows() -> None:
    reader = ProcessReader(os.getpid(), [])
    first = dict(row[1:] for row in reader.read())
    worker = threading.Thread(target=lambda: sum(range(300_000)))
    worker.start()
    worker.join()
    second = dict(row[1:] for row in reader.read())
    assert first["rss_bytes"] > MIB
    assert second["cpu_main_s"] >= first["cpu_main_s"] > 0
    assert second["cpu_other_s"] >= first["cpu_other_s"]


def test_anonymous_memory_is_the_anonymous_part_of_the_process(process: Path) -> None:
    (process / "proc/meminfo").write_text("MemTotal: 1 kB\n")
    rows = list(RamReader(PID, "anonymous", [MEMORY_BYTES], process).read())
    assert rows == [("ram", "resident_bytes", 82944.0 * KIB), ("ram", "swapped_bytes", 4.0 * MIB)]


def test_the_memfd_is_found_by_its_size_and_its_blocks_are_the_residency(memfd: tuple[int, mmap.mmap]) -> None:
    _, memory = memfd
    reader = RamReader(os.getpid(), "memfd", [MEMORY_BYTES])
    assert sum(reader.now()) == 0
    memory[: 2 * MIB] = b"x" * (2 * MIB)
    assert sum(reader.now()) == 2 * MIB


def test_a_memfd_of_another_size_is_not_taken_for_the_ram(memfd: tuple[int, mmap.mmap]) -> None:
    with pytest.raises(FileNotFoundError, match=f"no memfd or file of {MEMORY_BYTES + 4096} bytes"):
        RamReader(os.getpid(), "memfd", [MEMORY_BYTES + 4096])


def test_ram_in_two_files_of_one_size_is_counted_once_each(memfd: tuple[int, mmap.mmap]) -> None:
    first, memory = memfd
    again = os.dup(first)
    second = os.memfd_create("memory-backend-memfd")
    try:
        os.ftruncate(second, MEMORY_BYTES)
        reader = RamReader(os.getpid(), "memfd", [MEMORY_BYTES, MEMORY_BYTES])
        memory[: 2 * MIB] = b"x" * (2 * MIB)
        os.pwrite(second, b"x" * MIB, 0)
        assert sum(reader.now()) == 3 * MIB
        with pytest.raises(FileNotFoundError):
            RamReader(os.getpid(), "memfd", [MEMORY_BYTES] * 3)
    finally:
        os.close(second)
        os.close(again)


def test_a_plain_file_of_the_right_size_is_not_taken_for_the_ram(tmp_path: Path) -> None:
    with (tmp_path / "memfd").open("wb") as file:
        file.truncate(MEMORY_BYTES + 8192)
        with pytest.raises(FileNotFoundError):
            RamReader(os.getpid(), "memfd", [MEMORY_BYTES + 8192])


@pytest.fixture
def ram_tree(tmp_path: Path, memfd: tuple[int, mmap.mmap]) -> Path:
    """A tree whose QEMU has this process' descriptors: all blocks of its RAM are allocated, 300 KiB are mapped."""
    memfd[1][:] = b"x" * MEMORY_BYTES
    write(tmp_path, f"proc/{PID}/status", "RssAnon:\t8 kB\nRssShmem:\t300 kB\nVmSwap:\t0 kB\n")
    (tmp_path / f"proc/{PID}/fd").symlink_to(f"/proc/{os.getpid()}/fd")
    return tmp_path


@pytest.mark.parametrize(
    ("backing", "swap_free_kib", "resident"),
    [
        ("memfd", 4096, MEMORY_BYTES),  # no swap in use: all blocks are resident
        ("memfd", 1024, 300 * KIB),  # swap in use: what is not mapped may be there
        ("memfd", 3996, MEMORY_BYTES - 100 * KIB),  # but no more than there is in swap
        ("hugetlb", 1024, MEMORY_BYTES),  # huge pages are never swapped
    ],
)
def test_blocks_are_resident_unless_the_host_may_have_swapped_them(
    ram_tree: Path, backing: str, swap_free_kib: int, resident: int
) -> None:
    write(ram_tree, "proc/meminfo", f"SwapTotal: 4096 kB\nSwapFree: {swap_free_kib} kB\n")
    assert RamReader(PID, backing, [MEMORY_BYTES], ram_tree).now() == (resident, MEMORY_BYTES - resident)


def test_smaps_rollup_is_in_bytes_without_its_first_line(tmp_path: Path) -> None:
    text = (
        "55d0c8a00000-7ffd1b9f2000 ---p 00000000 00:00 0                          [rollup]\n"
        "Rss:              943104 kB\nPss:              912345 kB\nPss_Shmem:        829440 kB\n"
        "Swap:                  0 kB\n"
    )
    write(tmp_path, f"proc/{PID}/smaps_rollup", text)
    table = read_smaps_rollup(PID, tmp_path)
    expected = {"Rss": 943104 * KIB, "Pss": 912345 * KIB, "Pss_Shmem": 829440 * KIB, "Swap": 0}
    assert table == expected


def test_smaps_rollup_of_this_process_agrees_with_its_status() -> None:
    rollup = read_smaps_rollup(os.getpid())
    status = parse_colon_table(Path("/proc/self/status").read_text())
    assert rollup["Rss"] == pytest.approx(status["VmRSS"], rel=0.1)
