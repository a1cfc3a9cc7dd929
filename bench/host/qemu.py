"""QEMU's command line, built by pure functions: a job and some file names in, an argv out.

Every odd flag has its reason beside it. The order is fixed, so that two arms can be compared line by line.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

from bench.host.disk import Disk
from bench.wire.job import Job
from bench.wire.record import of_guest

AGENT_PORT, NOTIFY_PORT = "bench.agent", "bench.notify"
BALLOON_ID = "balloon"
HINT_ID = "hint"
RAM_ID = "ram"
DISCARD_EVENT = "ram_block_discard_range"
PLUG_ID, PLUG_RAM_ID = "plug", "plugram"
# So that memory which is plugged can be unplugged again: it holds no page of the kernel's own.
MOVABLE = "memhp_default_state=online_movable"
DISK_ID = "disk"
# Mitigations and the like stay as the kernel chose; these only shorten the boot or make a panic visible. The self-tests
# of the crypto drivers took 0.7 s of an emulated boot (Linux 6.1, initcall_debug).
BASE_KERNEL_ARGS = ("quiet", "panic=-1", "cryptomgr.notests", "rdinit=/init")
# TCG_BUFFER_MIB: QEMU's default is up to 1 GiB, which mem-lock=on would make resident.
TCG_BUFFER_MIB = 256


def qemu_argv(job: Job, folder: str, initrd: str, disk: Optional[Disk] = None, guest: int = 0) -> list[str]:
    """argv of one guest. folder: a private directory (mode 0700) for the sockets `qmp`, `agent` and `notify`, and the
    file `console`. disk: the scratch disk of a job that has one. guest: its number, where the job has several.

    Raises ValueError for a backing that is not in bench.wire.job.BACKINGS.
    """
    return [
        job.paths.qemu,
        *("-name", f"{of_guest(job.boot, guest)},debug-threads=on"),
        *_machine(job, folder),
        *("-nodefaults", "-no-user-config", "-display", "none"),
        # A panicking guest reboots (panic=-1), and a reboot ends QEMU: a dead guest is a dead process.
        "-no-reboot",
        *_channels(folder),
        *_notify(job, folder),
        *_balloon(job),
        *_pluggable(job, folder),
        *(_disk(disk) if disk else []),
        *(["-overcommit", "mem-lock=on"] if job.arm.mem_lock else []),
        # The discard timeline: one line a discard on stderr, with the host's wall-clock time before it.
        *("-trace", DISCARD_EVENT, "-msg", "timestamp=on"),
        *("-kernel", job.paths.kernel, "-initrd", initrd, "-append", kernel_command_line(job)),
    ]


def incoming_argv(argv: Sequence[str], folder: str, other: str) -> list[str]:
    """argv of a second QEMU that waits for the guest of the first one, whose private folder is `folder`.

    Its own folder is `other`, with a socket `migration` for what comes. It waits with its CPUs stopped: the guest is to
    run when both sides have been looked at.
    """
    moved = [word.replace(_escape(folder), _escape(other)) for word in argv]
    return [*moved, "-S", "-incoming", migration_uri(other)]


def migration_uri(folder: str) -> str:
    """Where the QEMU with this private folder waits for a guest."""
    return f"unix:{folder}/migration"


def kernel_command_line(job: Job) -> str:
    """The guest kernel's arguments: the suite's own, then the arm's."""
    movable = (MOVABLE,) if job.arm.pluggable else ()
    return " ".join((f"console={_console(job.paths.qemu)}", *BASE_KERNEL_ARGS, *movable, *job.arm.kernel_args))


def is_arm64(qemu: str) -> bool:
    """Whether this QEMU binary emulates or runs arm64, by its name."""
    return qemu.rsplit("/", 1)[-1].endswith("aarch64")


def _console(qemu: str) -> str:
    return "ttyAMA0" if is_arm64(qemu) else "ttyS0"


def _machine(job: Job, folder: str) -> list[str]:
    guest = job.guest
    kind = "virt" if is_arm64(job.paths.qemu) else guest.machine
    accel = f"tcg,tb-size={TCG_BUFFER_MIB}" if guest.accel == "tcg" else guest.accel
    first, *later = job.ram_parts
    room = f",maxmem={guest.memory_bytes}B" if later else ""
    return [
        *("-machine", f"{kind},memory-backend={RAM_ID}", "-accel", accel),
        *("-cpu", _cpu(job), "-smp", str(guest.vcpus)),
        *("-m", f"{first}B{room}", "-object", _memory(job, folder, RAM_ID, first)),
    ]


def _cpu(job: Job) -> str:
    if job.guest.accel != "tcg":
        return "host"
    # Under QEMU 7.2 Linux 6.12 panics within seconds, in most boots right behind a cmpxchg16b of kmem_cache_alloc(),
    # with an address in the flags. Linux allocates without it where the CPU has none; QEMU 10.0 is sound.
    return "max" if is_arm64(job.paths.qemu) else "max,cx16=off"


def _memory(job: Job, folder: str, name: str, size_bytes: int) -> str:
    node, common = job.placement.numa_node, f"id={name},size={size_bytes}"
    bound = "" if node is None else f",host-nodes={node},policy=bind"
    if job.arm.backing == "memfd":
        # share=on: with share=off the host holds every touched page twice, in the file and as its private copy.
        return f"memory-backend-memfd,{common},share=on{bound}"
    if job.arm.backing == "anonymous":
        return f"memory-backend-ram,{common}{bound}"
    if job.arm.backing == "hugetlb":
        # reserve=off: a discarded huge page loses its reservation anyway, so none is taken.
        return f"memory-backend-memfd,{common},share=on,hugetlb=on,hugetlbsize=2M,reserve=off{bound}"
    if job.arm.backing == "file":
        # A folder: QEMU makes a file without a name in it, so nothing is left whatever ends it.
        return f"memory-backend-file,{common},share=on,mem-path={_escape(folder)}{bound}"
    raise ValueError(f"unknown backing {job.arm.backing!r}")


def _channels(folder: str) -> list[str]:
    return [
        *("-chardev", f"socket,id=qmp,path={_escape(folder)}/qmp,server=on,wait=off"),
        *("-mon", "chardev=qmp,mode=control"),
        *("-chardev", f"file,id=console,path={_escape(folder)}/console", "-serial", "chardev:console"),
        *("-device", "virtio-serial-pci,id=vserial"),
        *("-chardev", f"socket,id=agent,path={_escape(folder)}/agent,server=on,wait=off"),
        *("-device", f"virtserialport,chardev=agent,name={AGENT_PORT}"),
    ]


def _notify(job: Job, folder: str) -> list[str]:
    if job.arm.host_policy is None or job.arm.host_policy.kind != "notify":
        return []
    return [
        *("-chardev", f"socket,id=notify,path={_escape(folder)}/notify,server=on,wait=off"),
        *("-device", f"virtserialport,chardev=notify,name={NOTIFY_PORT}"),
    ]


def _balloon(job: Job) -> list[str]:
    if not (job.arm.balloon or job.arm.reporting or job.arm.hinting):
        return []
    reporting = "on" if job.arm.reporting else "off"
    on_oom = ",deflate-on-oom=on" if job.arm.deflate_on_oom else ""
    device = f"virtio-balloon-pci,id={BALLOON_ID},free-page-reporting={reporting}{on_oom}"
    if not job.arm.hinting:
        return ["-device", device]
    # The device takes no hints without a thread of its own for them (QEMU 7.2 hw/virtio/virtio-balloon.c, realize).
    return ["-object", f"iothread,id={HINT_ID}", "-device", f"{device},free-page-hint=on,iothread={HINT_ID}"]


def _pluggable(job: Job, folder: str) -> list[str]:
    if not job.arm.pluggable:
        return []
    device = f"virtio-mem-pci,id={PLUG_ID},memdev={PLUG_RAM_ID},requested-size=0,block-size=2M"
    return ["-object", _memory(job, folder, PLUG_RAM_ID, job.ram_parts[-1]), "-device", device]


def _disk(disk: Disk) -> list[str]:
    # Past the host's page cache: what the guest reads again comes from the disk then, and no second copy is held.
    direct = "on" if disk.direct else "off"
    file = f"driver=file,node-name={DISK_ID},filename={_escape(disk.path)},read-only=on,cache.direct={direct}"
    return ["-blockdev", file, "-device", f"virtio-blk-pci,drive={DISK_ID}"]


def _escape(path: str) -> str:
    """QEMU's option syntax doubles a comma inside a value."""
    return path.replace(",", ",,")
