"""What an init does: mounts, kernel modules, the port to the host, facts about this guest, switching off.

Readers take a root, so that they can be tested on a synthetic tree. No pathlib: importing it costs 0.1 s of every
emulated boot.
"""

from __future__ import annotations

import os
import sys
import time

TYPE_CHECKING = False  # importing typing and collections.abc costs as much
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

PORT_NAME = "bench.agent"
BALLOON, MEM = 5, 24  # VIRTIO_ID_BALLOON and VIRTIO_ID_MEM, include/uapi/linux/virtio_ids.h
HINTING_BIT = 3  # VIRTIO_BALLOON_F_FREE_PAGE_HINT, include/uapi/linux/virtio_balloon.h
POISON_BIT = 4  # VIRTIO_BALLOON_F_PAGE_POISON, the same file
REPORTING_BIT = 5  # VIRTIO_BALLOON_F_REPORTING, include/uapi/linux/virtio_balloon.h
_MOUNTS = (
    ("proc", "/proc", ""),
    ("sysfs", "/sys", ""),
    ("devtmpfs", "/dev", ""),
    # memtouch's files are here: memory is the limit, not a share of it
    ("tmpfs", "/tmp", "size=100%"),  # noqa: S108 - a mount point in our own guest
)
_REPORTING = "sys/module/page_reporting/parameters"


class Unsupported(Exception):  # noqa: N818 - no error: the kernel is what it is
    """This guest's kernel lacks what was asked for; the text says what."""


def mount_all() -> None:
    """Mounts what agent and memtouch need. Raises OSError."""
    for kind, target, options in _MOUNTS:
        mount(kind, target, options)


def mount(kind: str, target: str, options: str = "") -> None:
    """Mounts a file system of the kernel's own; the folder is made where it is missing. Raises OSError."""
    from workloads._libc import lib

    if not os.path.isdir(target):  # noqa: PTH112
        os.mkdir(target)  # noqa: PTH102
    _check(lib.libc_mount(kind.encode(), target.encode(), kind.encode(), options.encode()), f"mount {target}")


def load_modules(folder: str = "/modules") -> list[str]:
    """Loads the modules that the file `order` names, one a line, in that order; the names of those loaded.

    Words behind a name are device aliases as the kernel writes them ("virtio:d00000002v*"): such a module is loaded
    only when there is one of these devices. A module that fails is named on the console and left out: what it drives is
    then missing, which the host sees in the facts.
    """
    loaded = []
    for line in (read_text(f"{folder}/order") or "").splitlines():
        name, *aliases = line.split()
        if aliases and not any(has_device(alias) for alias in aliases):
            continue
        try:
            _load(f"{folder}/{name}.ko")
            loaded.append(name)
        except OSError as error:
            print(f"agent: {error}", flush=True)
    return loaded


def has_device(alias: str, root: str = "/") -> bool:
    """Whether there is a virtio device that an alias with a * at its end fits."""
    devices, start = f"{root}/sys/bus/virtio/devices", alias.rstrip("*")
    return any((read_text(f"{devices}/{name}/modalias") or "").startswith(start) for name in names(devices))


def has_driver(kind: str, root: str = "/") -> bool:
    """Whether a driver of this kernel has the device of this kind, "balloon" or "virtio-mem"."""
    devices, wanted = f"{root}/sys/bus/virtio/devices", {"balloon": BALLOON, "virtio-mem": MEM}[kind]
    found = [name for name in names(devices) if int(read_text(f"{devices}/{name}/device") or "0", 16) == wanted]
    return any(os.path.exists(f"{devices}/{name}/driver") for name in found)  # noqa: PTH110


def power_off() -> None:
    """Switches the guest off; QEMU then exits. Raises OSError where the kernel cannot."""
    from workloads._libc import lib

    os.sync()
    _check(lib.libc_power_off(), "power off")


def find_port(name: str = PORT_NAME, root: str = "/", deadline_s: float = 20.0) -> str:
    """Device file of the virtio-serial port `name`, which the driver makes a moment after it was loaded.

    Raises TimeoutError.
    """
    ports = f"{root}/sys/class/virtio-ports"
    end = time.monotonic() + deadline_s
    while True:
        for port in names(ports):
            if read_text(f"{ports}/{port}/name") == name and os.path.exists(f"{root}/dev/{port}"):  # noqa: PTH110
                return f"{root}/dev/{port}"
        if time.monotonic() > end:
            raise TimeoutError(f"no virtio-serial port {name!r} after {deadline_s:.0f} s")
        time.sleep(0.002)


def facts(root: str = "/") -> dict[str, Any]:
    """What this guest is, as the host's records name it; None for what the kernel does not show."""
    system = os.uname()
    return {
        "kernel": system.release,
        "kernel_version": system.version,
        "cmdline": read_text(f"{root}/proc/cmdline"),
        "machine": system.machine,
        "page_bytes": os.sysconf("SC_PAGE_SIZE"),
        "memory_bytes": meminfo(root).get("MemTotal"),
        "cpus": os.cpu_count(),
        "balloon_features": balloon_features(root),
        "page_reporting_order": page_reporting_order(root),
        "thp_enabled": thp_enabled(root),
        "page_poison": page_poison(root),
        "monotonic_ns": time.monotonic_ns(),
        "uptime_s": float((read_text(f"{root}/proc/uptime") or "0").split()[0]),
        "python": sys.version.split()[0],
    }


def meminfo(root: str = "/") -> dict[str, int]:
    """/proc/meminfo in bytes; its few entries without a unit (counts) as they are."""
    values = {}
    for line in (read_text(f"{root}/proc/meminfo") or "").splitlines():
        name, _, rest = line.partition(":")
        fields = rest.split()
        if fields and fields[0].isdigit():
            values[name] = int(fields[0]) * (1024 if fields[1:] == ["kB"] else 1)
    return values


def buddy_free_bytes(root: str = "/", page_bytes: int = 0) -> list[int]:
    """Free bytes in blocks of each order from 0 on, over all nodes and zones of /proc/buddyinfo."""
    page = page_bytes or os.sysconf("SC_PAGE_SIZE")
    totals: list[int] = []
    for line in (read_text(f"{root}/proc/buddyinfo") or "").splitlines():
        counts = [int(field) for field in line.partition(", zone")[2].split()[1:]]
        totals += [0] * (len(counts) - len(totals))
        for order, count in enumerate(counts):
            totals[order] += count * (page << order)
    return totals


def balloon_features(root: str = "/") -> str | None:
    """The negotiated feature bits of the balloon device as sysfs shows them (bit 0 first); None without a device."""
    devices = f"{root}/sys/bus/virtio/devices"
    for name in names(devices):
        if int(read_text(f"{devices}/{name}/device") or "0", 16) == BALLOON:
            return read_text(f"{devices}/{name}/features")
    return None


def is_reporting(root: str = "/") -> bool:
    """Whether the balloon driver and the device agreed on free page reporting."""
    return (balloon_features(root) or "")[REPORTING_BIT : REPORTING_BIT + 1] == "1"


def is_hinting(root: str = "/") -> bool:
    """Whether they agreed on free page hinting."""
    return (balloon_features(root) or "")[HINTING_BIT : HINTING_BIT + 1] == "1"


def page_reporting_order(root: str = "/") -> int | None:
    """The kernel's page_reporting_order; None when the kernel has none."""
    text = read_text(f"{root}/{_REPORTING}/page_reporting_order")
    return int(text) if text else None


def set_reporting_parameter(name: str, value: int, root: str = "/") -> None:
    """Writes a parameter of page_reporting, and reads it back. Raises Unsupported with what the kernel has instead.

    The driver's registration overwrites the order, so this must come later.
    """
    folder = f"{root}/{_REPORTING}"
    if name not in names(folder):
        raise Unsupported(f"this kernel's page_reporting has no parameter {name}: {', '.join(names(folder)) or 'none'}")
    try:
        with open(f"{folder}/{name}", "w") as stream:
            stream.write(str(value))
    except OSError as error:
        raise Unsupported(f"this kernel refuses {name}={value}: {error.strerror}") from None
    found = read_text(f"{folder}/{name}")
    if found != str(value):
        raise Unsupported(f"this kernel made {name}={found} of {value}")


def thp_enabled(root: str = "/") -> str | None:
    """The word in brackets of transparent_hugepage/enabled; None when the kernel has none."""
    text = read_text(f"{root}/sys/kernel/mm/transparent_hugepage/enabled")
    return text.partition("[")[2].partition("]")[0] if text else None


def drop_caches(root: str = "/") -> int:
    """Drops the clean page cache (Documentation/admin-guide/sysctl/vm.rst): bytes that went. Raises Unsupported."""
    path = f"{root}/proc/sys/vm/drop_caches"
    if not os.path.exists(path):  # noqa: PTH110
        raise Unsupported("this kernel has no drop_caches (CONFIG_SYSCTL)")
    before = _cache_bytes(root)
    with open(path, "w") as stream:
        stream.write("1")
    return before - _cache_bytes(root)


def _cache_bytes(root: str) -> int:
    memory = meminfo(root)
    return memory.get("Cached", 0) + memory.get("Buffers", 0)


def compact(root: str = "/") -> None:
    """Compacts all zones (Documentation/admin-guide/sysctl/vm.rst, compact_memory). Raises Unsupported, OSError."""
    path = f"{root}/proc/sys/vm/compact_memory"
    if not os.path.exists(path):  # noqa: PTH110
        raise Unsupported("this kernel has no memory compaction (CONFIG_COMPACTION)")
    with open(path, "w") as stream:
        stream.write("1")


def physical_address(address: int, pagemap: str = "/proc/self/pagemap") -> int:
    """Physical address of a byte of this process (Documentation/admin-guide/mm/pagemap.rst). Raises OSError."""
    page = os.sysconf("SC_PAGE_SIZE")
    fd = os.open(pagemap, os.O_RDONLY | os.O_CLOEXEC)
    try:
        entry = int.from_bytes(os.pread(fd, 8, address // page * 8), "little")
    finally:
        os.close(fd)
    if not entry >> 63:
        raise OSError(f"the page at {address:#x} is not in memory")
    return (entry & ((1 << 55) - 1)) * page + address % page


def page_poison(root: str = "/") -> bool:
    """Whether the balloon driver told its device that freed pages carry a pattern that is not zero.

    It offers the feature PAGE_POISON (bit 4) only in a kernel that poisons or clears freed pages, and the pattern is
    zero where it clears them: drivers/virtio/virtio_balloon.c, virtballoon_validate() and virtballoon_probe().
    """
    features = balloon_features(root) or ""
    words = (read_text(f"{root}/proc/cmdline") or "").split()
    clears = "init_on_free=1" in words
    return features[POISON_BIT : POISON_BIT + 1] == "1" and not clears


def kernel_log(device: str = "/dev/kmsg") -> str:
    """The kernel's messages so far, each with its time in seconds."""
    lines = []
    fd = os.open(device, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        while True:
            record = os.read(fd, 8192).decode(errors="replace")
            head, _, text = record.partition(";")
            lines.append(f"[{int(head.split(',')[2]) / 1e6:12.6f}] {text.partition(chr(10))[0]}")
    except BlockingIOError:  # no more of them
        return "\n".join(lines)
    finally:
        os.close(fd)


def _load(path: str) -> None:
    from workloads._libc import lib

    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(lib.libc_load_module(fd, b""), path)
    finally:
        os.close(fd)


def names(folder: str) -> Iterable[str]:
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208
    except OSError:
        return ()


def read_text(path: str) -> str | None:
    try:
        with open(path) as stream:
            return stream.read().strip()
    except OSError:
        return None


def _check(result: int, what: str) -> None:
    if result < 0:
        raise OSError(-result, f"{what}: {os.strerror(-result)}")
