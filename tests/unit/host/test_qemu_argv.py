"""QEMU's command line as golden values: what each part of a job adds to it, and nothing else."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from jobs import GUEST, IDLE, LOCKED, NONE, PATHS, REPORTING, job

from bench.host.disk import Disk
from bench.host.qemu import is_arm64, kernel_command_line, qemu_argv
from bench.wire.job import Arm, Job, Placement

PLAIN = [
    "/usr/bin/qemu-system-x86_64",
    "-name",
    "local.cycle.b001.none,debug-threads=on",
    "-machine",
    "q35,memory-backend=ram",
    "-accel",
    "tcg,tb-size=256",
    "-cpu",
    "max,cx16=off",
    "-smp",
    "1",
    "-m",
    "536870912B",
    "-object",
    "memory-backend-memfd,id=ram,size=536870912,share=on",
    "-nodefaults",
    "-no-user-config",
    "-display",
    "none",
    "-no-reboot",
    "-chardev",
    "socket,id=qmp,path=/tmp/boot/qmp,server=on,wait=off",
    "-mon",
    "chardev=qmp,mode=control",
    "-chardev",
    "file,id=console,path=/tmp/boot/console",
    "-serial",
    "chardev:console",
    "-device",
    "virtio-serial-pci,id=vserial",
    "-chardev",
    "socket,id=agent,path=/tmp/boot/agent,server=on,wait=off",
    "-device",
    "virtserialport,chardev=agent,name=bench.agent",
    "-trace",
    "ram_block_discard_range",
    "-msg",
    "timestamp=on",
    "-kernel",
    "/boot/vmlinuz",
    "-initrd",
    "/cache/initrd.cpio",
    "-append",
    "console=ttyS0 quiet panic=-1 cryptomgr.notests rdinit=/init",
]


def argv(request: Job, folder: str = "/tmp/boot") -> list[str]:
    return qemu_argv(request, folder, "/cache/initrd.cpio")


def changes(request: Job) -> tuple[list[str], list[str]]:
    """Words of the plain line that are gone and words that are new, apart from the boot's name."""
    mine, plain = list(argv(request)), list(PLAIN)
    mine[2] = plain[2] = ""
    gone = [word for word in plain if word not in mine]
    return gone, [word for word in mine if word not in plain]


def with_arm(**fields: Any) -> Job:
    return job(dataclasses.replace(NONE, **fields))


def with_guest(**fields: Any) -> Job:
    return job(guest=dataclasses.replace(GUEST, **fields))


def test_the_plain_guest_has_exactly_this_command_line() -> None:
    assert argv(job()) == PLAIN


def test_an_idle_balloon_adds_the_device_with_reporting_off() -> None:
    device = "virtio-balloon-pci,id=balloon,free-page-reporting=off"
    assert changes(job(IDLE)) == ([], [device])
    assert argv(job(IDLE))[argv(job(IDLE)).index(device) - 1] == "-device"


def test_reporting_differs_from_the_idle_balloon_in_one_word() -> None:
    assert changes(job(REPORTING)) == ([], ["virtio-balloon-pci,id=balloon,free-page-reporting=on"])
    assert sum(a != b for a, b in zip(argv(job(IDLE))[3:], argv(job(REPORTING))[3:])) == 1


def test_reporting_brings_its_balloon_with_it() -> None:
    assert changes(with_arm(reporting=True)) == changes(job(REPORTING))


def test_mem_lock_adds_the_overcommit_option() -> None:
    assert changes(job(dataclasses.replace(NONE, mem_lock=True))) == ([], ["-overcommit", "mem-lock=on"])
    assert "mem-lock=on" in argv(job(LOCKED))


def test_anonymous_backing_changes_the_memory_object_only() -> None:
    gone, new = changes(with_arm(backing="anonymous"))
    assert gone == ["memory-backend-memfd,id=ram,size=536870912,share=on"]
    assert new == ["memory-backend-ram,id=ram,size=536870912"]


def test_hugetlb_backing_changes_the_memory_object_only() -> None:
    _, new = changes(with_arm(backing="hugetlb"))
    assert new == ["memory-backend-memfd,id=ram,size=536870912,share=on,hugetlb=on,hugetlbsize=2M,reserve=off"]


@pytest.mark.parametrize(
    ("backing", "plain"),
    [
        ("memfd", "memory-backend-memfd,id=ram,size=536870912,share=on"),
        ("anonymous", "memory-backend-ram,id=ram,size=536870912"),
        ("hugetlb", "memory-backend-memfd,id=ram,size=536870912,share=on,hugetlb=on,hugetlbsize=2M,reserve=off"),
    ],
)
def test_a_numa_node_binds_the_memory_object_and_changes_nothing_else(backing: str, plain: str) -> None:
    request = job(dataclasses.replace(NONE, backing=backing), placement=Placement(numa_node=1))
    assert changes(request) == (
        ["memory-backend-memfd,id=ram,size=536870912,share=on"],
        [f"{plain},host-nodes=1,policy=bind"],
    )


def test_cpus_and_the_latency_are_no_matter_of_the_command_line() -> None:
    assert argv(job(placement=Placement((0,), (1,), hold_latency=True))) == PLAIN


def test_a_file_behind_the_memory_has_no_name_and_lies_in_the_boots_own_folder() -> None:
    (memory,) = [word for word in argv(with_arm(backing="file")) if word.startswith("memory-backend-")]
    assert memory.startswith("memory-backend-file,id=ram,size=")
    assert ",share=on,mem-path=/" in memory


def test_an_unknown_backing_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown backing 'tape'"):
        argv(with_arm(backing="tape"))


def test_asking_by_the_balloon_is_the_idle_balloon_until_it_is_asked() -> None:
    assert changes(with_arm(balloon=True, give="balloon")) == changes(job(IDLE))


def test_virtio_mem_boots_with_half_of_the_memory_and_has_the_other_half_to_plug() -> None:
    gone, new = changes(with_arm(give="virtio-mem"))
    assert gone == ["536870912B", "memory-backend-memfd,id=ram,size=536870912,share=on", PLAIN[-1]]
    assert new == [
        "268435456B,maxmem=536870912B",
        "memory-backend-memfd,id=ram,size=268435456,share=on",
        "memory-backend-memfd,id=plugram,size=268435456,share=on",
        "virtio-mem-pci,id=plug,memdev=plugram,requested-size=0,block-size=2M",
        f"{PLAIN[-1]} memhp_default_state=online_movable",
    ]


def test_both_halves_are_bound_to_the_node_and_backed_as_the_arm_says() -> None:
    arm = dataclasses.replace(NONE, give="virtio-mem", backing="anonymous")
    objects = [word for word in argv(job(arm, placement=Placement(numa_node=1))) if word.startswith("memory-backend-")]
    assert objects == [
        f"memory-backend-ram,id={name},size=268435456,host-nodes=1,policy=bind" for name in ("ram", "plugram")
    ]


def test_kvm_runs_the_hosts_own_processor() -> None:
    gone, new = changes(with_guest(accel="kvm"))
    assert gone == ["tcg,tb-size=256", "max,cx16=off"]
    assert new == ["kvm", "host"]


def test_the_guests_shape_is_where_it_belongs() -> None:
    _, new = changes(with_guest(memory_bytes=2**30, vcpus=4, machine="pc"))
    assert new == ["pc,memory-backend=ram", "4", "1073741824B", "memory-backend-memfd,id=ram,size=1073741824,share=on"]


def test_an_arm64_qemu_gets_its_machine_and_its_console() -> None:
    request = job(paths=dataclasses.replace(PATHS, qemu="/opt/qemu/bin/qemu-system-aarch64"))
    gone, new = changes(request)
    assert gone == [PLAIN[0], "q35,memory-backend=ram", "max,cx16=off", PLAIN[-1]]
    assert new[1:] == [
        "virt,memory-backend=ram",
        "max",
        "console=ttyAMA0 quiet panic=-1 cryptomgr.notests rdinit=/init",
    ]


def test_a_folder_named_after_an_architecture_does_not_choose_it() -> None:
    assert not is_arm64("/opt/qemu-aarch64/bin/qemu-system-x86_64")
    assert is_arm64("qemu-system-aarch64")


def test_a_comma_in_the_folder_is_doubled_in_every_path() -> None:
    words = [word for word in argv(job(), "/tmp/a,b") if "/tmp/" in word]
    assert words == [
        "socket,id=qmp,path=/tmp/a,,b/qmp,server=on,wait=off",
        "file,id=console,path=/tmp/a,,b/console",
        "socket,id=agent,path=/tmp/a,,b/agent,server=on,wait=off",
    ]


@pytest.mark.parametrize(("direct", "word"), [(True, "on"), (False, "off")])
def test_a_scratch_disk_is_read_only_and_says_whether_the_hosts_page_cache_is_passed_by(
    direct: bool, word: str
) -> None:
    with_disk = qemu_argv(job(), "/tmp/boot", "/cache/initrd.cpio", Disk("/a,b/disk.img", direct))
    assert [part for part in with_disk if part not in argv(job())] == [
        "-blockdev",
        f"driver=file,node-name=disk,filename=/a,,b/disk.img,read-only=on,cache.direct={word}",
        "virtio-blk-pci,drive=disk",
    ]


def test_the_arms_kernel_arguments_come_last() -> None:
    request = job(Arm("x", kernel_args=("init_on_free=1", "page_alloc.shuffle=1")))
    assert kernel_command_line(request) == (
        "console=ttyS0 quiet panic=-1 cryptomgr.notests rdinit=/init init_on_free=1 page_alloc.shuffle=1"
    )
    assert argv(request)[-1] == kernel_command_line(request)


def test_the_name_of_the_boot_tells_the_process_apart() -> None:
    assert argv(job(REPORTING, block=12))[1:3] == ["-name", "local.cycle.b012.reporting,debug-threads=on"]
