"""What swap a host has, on synthetic trees: files, disks, zram, and what lies below."""

from __future__ import annotations

import os
from pathlib import Path

from bench.host.swaps import Swap, active, facts, zswap

HEAD = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"


def write(root: Path, name: str, text: str) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def swaps(root: Path, *lines: str) -> None:
    write(root, "proc/swaps", HEAD + "".join(f"{line}\n" for line in lines))


def test_each_line_is_a_swap_with_its_spaces_and_sizes_in_bytes(tmp_path: Path) -> None:
    swaps(tmp_path, r"/my\040swap\134file file 1048572 4 -2", "/dev/vdb partition 2048 0 5")
    assert active(tmp_path) == [
        Swap("/my swap\\file", "file", 1048572 * 1024, 4096, -2),
        Swap("/dev/vdb", "partition", 2048 * 1024, 0, 5),
    ]


def test_a_host_without_swap_or_without_the_file_has_none(tmp_path: Path) -> None:
    assert active(tmp_path) == []
    swaps(tmp_path)
    assert (active(tmp_path), facts(tmp_path)) == ([], [])


def test_the_facts_name_the_disk_below_and_leave_out_how_much_is_used(tmp_path: Path) -> None:
    file = write(tmp_path, "swapfile", "")
    swaps(tmp_path, "/swapfile file 1048572 77 -2", "/gone file 4 0 3", "/dev/zram0 partition 2048 0 100")
    device = file.stat().st_dev
    disk = tmp_path / "sys/devices/virtio1/vda"
    write(disk, "queue/rotational", "0\n")
    (disk / "vda3").mkdir()
    link = tmp_path / f"sys/dev/block/{os.major(device)}:{os.minor(device)}"
    link.parent.mkdir(parents=True)
    link.symlink_to(disk / "vda3")
    first, second, third = facts(tmp_path)
    about = {"name": "/swapfile", "kind": "file", "bytes": 1048572 * 1024, "priority": -2}
    assert first == {**about, "disk": "vda", "rotational": False}
    assert second == {"name": "/gone", "kind": "file", "bytes": 4096, "priority": 3}
    assert third["kind"] == "zram"


def test_zswap_is_told_with_what_it_is_set_to(tmp_path: Path) -> None:
    assert zswap(tmp_path) == ""
    for name, text in (("enabled", "Y\n"), ("compressor", "lz4\n"), ("max_pool_percent", "20\n")):
        write(tmp_path, f"sys/module/zswap/parameters/{name}", text)
    assert zswap(tmp_path) == "enabled Y, compressor lz4, max_pool_percent 20"
