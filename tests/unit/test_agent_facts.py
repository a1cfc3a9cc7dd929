"""What the guest says about itself, read from a synthetic tree of /proc and /sys."""

from __future__ import annotations

from pathlib import Path

import pytest

from workloads import guestos
from workloads.ops import Operations

BUDDY = """\
Node 0, zone      DMA      1      0      0      1      2      1      1      0      1      1      3
Node 0, zone    DMA32      8      7      6      5      4      3      2      1      0      9     90
Node 1, zone   Normal      1      0      0      0      0      0      0      0      0      0      0
"""


def guest_tree(root: Path, features: str = "0100010000", order: str = "9") -> str:
    """What a guest shows of itself, with a balloon behind two other devices."""
    devices = root / "sys/bus/virtio/devices"
    for number, (kind, bits) in enumerate((("0x0003", "01"), ("0x0002", "11"), ("0x0005", features))):
        folder = devices / f"virtio{number}"
        folder.mkdir(parents=True)
        (folder / "device").write_text(f"{kind}\n")
        (folder / "features").write_text(f"{bits}\n")
        (folder / "modalias").write_text(f"virtio:d0000{kind[2:].upper()}v00001AF4\n")
    parameter = root / "sys/module/page_reporting/parameters/page_reporting_order"
    parameter.parent.mkdir(parents=True)
    parameter.write_text(f"{order}\n")
    thp = root / "sys/kernel/mm/transparent_hugepage/enabled"
    thp.parent.mkdir(parents=True)
    thp.write_text("always [madvise] never\n")
    (root / "proc").mkdir()
    (root / "proc/buddyinfo").write_text(BUDDY)
    (root / "proc/meminfo").write_text(
        "MemTotal:        480280 kB\nMemFree:  100 kB\nMemAvailable: 90 kB\nCached: 8 kB\nHugePages_Total:       3\n"
    )
    (root / "proc/cmdline").write_text("console=ttyS0 quiet\n")
    (root / "proc/uptime").write_text("3.84 1.00\n")
    return str(root)


def test_buddyinfo_is_summed_over_nodes_and_zones(tmp_path: Path) -> None:
    free = guestos.buddy_free_bytes(guest_tree(tmp_path), page_bytes=4096)
    assert len(free) == 11
    assert free[0] == (1 + 8 + 1) * 4096
    assert free[3] == (1 + 5) * 8 * 4096
    assert free[10] == (3 + 90) * 1024 * 4096


def test_the_snapshot_adds_up_what_is_free_below_the_reporting_order(tmp_path: Path) -> None:
    root = guest_tree(tmp_path)
    shot = Operations(root).snapshot()
    assert (shot["free_bytes"], shot["available_bytes"], shot["cached_bytes"]) == (102400, 92160, 8192)
    assert shot["below_order_bytes"] == sum(shot["buddy_free_bytes"][:9])
    assert shot["below_order_bytes"] > 0


def test_without_reporting_nothing_is_below_its_order(tmp_path: Path) -> None:
    root = guest_tree(tmp_path, features="0100000000", order="11")
    assert Operations(root).snapshot()["below_order_bytes"] is None


def test_the_facts_come_from_the_balloon_among_other_devices(tmp_path: Path) -> None:
    facts = guestos.facts(guest_tree(tmp_path))
    assert facts["balloon_features"] == "0100010000"
    assert (facts["page_reporting_order"], facts["thp_enabled"]) == (9, "madvise")
    assert (facts["memory_bytes"], facts["uptime_s"], facts["cmdline"]) == (480280 * 1024, 3.84, "console=ttyS0 quiet")


def test_what_a_kernel_does_not_show_is_none(tmp_path: Path) -> None:
    facts = guestos.facts(str(tmp_path))
    assert [facts[name] for name in ("balloon_features", "page_reporting_order", "thp_enabled", "memory_bytes")] == [
        None,
        None,
        None,
        None,
    ]


def test_a_device_without_a_driver_is_none_that_can_be_asked(tmp_path: Path) -> None:
    device = tmp_path / "sys/bus/virtio/devices/virtio7"
    device.mkdir(parents=True)
    (device / "device").write_text("0x0018\n")
    assert not guestos.has_driver("virtio-mem", str(tmp_path))
    with pytest.raises(guestos.Unsupported, match="kernel has no driver for virtio-mem"):
        Operations(str(tmp_path)).setup(driver="virtio-mem")
    (device / "driver").symlink_to("/")
    assert guestos.has_driver("virtio-mem", str(tmp_path))
    assert not guestos.has_driver("balloon", str(tmp_path))
    assert Operations(str(tmp_path)).setup(driver="virtio-mem") == {"page_reporting_order": None}


def test_the_reporting_order_is_set_and_read_back(tmp_path: Path) -> None:
    operations = Operations(guest_tree(tmp_path))
    assert operations.setup(page_reporting_order=None) == {"page_reporting_order": 9}
    assert operations.setup(page_reporting_order=0) == {"page_reporting_order": 0}


def test_a_module_is_wanted_only_where_one_of_its_devices_is(tmp_path: Path) -> None:
    root = guest_tree(tmp_path)
    assert guestos.has_device("virtio:d00000005v*", root)
    assert not guestos.has_device("virtio:d00000018v*", root)


def test_the_port_is_found_by_its_name(tmp_path: Path) -> None:
    for name, label in (("vport0p1", "other"), ("vport1p1", "bench.agent")):
        folder = tmp_path / "sys/class/virtio-ports" / name
        folder.mkdir(parents=True)
        (folder / "name").write_text(f"{label}\n")
    (tmp_path / "dev").mkdir()
    with pytest.raises(TimeoutError, match=r"no virtio-serial port 'bench.agent'"):
        guestos.find_port(root=str(tmp_path), deadline_s=0.01)
    (tmp_path / "dev/vport1p1").touch()
    assert guestos.find_port(root=str(tmp_path), deadline_s=0.01) == f"{tmp_path}/dev/vport1p1"
