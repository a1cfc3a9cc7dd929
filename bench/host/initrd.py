"""A kernel's modules as a second cpio behind the guest image, and a look at whether a file is a kernel at all."""

from __future__ import annotations

import gzip
import hashlib
import lzma
import struct
import subprocess
import time
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from bench.host import receive
from bench.wire import cpio

# Transports, then the agent's port: its device appears while the rest is loaded.
WANTED = ("virtio_pci", "virtio_mmio", "virtio_console", "virtio_balloon", "virtio_mem", "virtio_blk")
_CPIO = b"070701"
_SUFFIXES = (".ko", ".ko.xz", ".ko.gz", ".ko.zst")


def build_initrd(image: Path, modules: str, cache: Path) -> Path:
    """The guest image and one kernel's modules in one file in `cache`, named by its content.

    modules: /lib/modules/<release> or the like, or a file that `modules_archive` made of it; "" when everything is
    built in. A new initrd takes the place of what was not used for long (receive.prune). Raises ValueError for a folder
    that holds no modules and a file that is no archive, OSError when something cannot be read or written.
    """
    body = image.read_bytes()
    if Path(modules).is_file():
        packed = Path(modules).read_bytes()
        if packed[: len(_CPIO)] != _CPIO:
            raise ValueError(f"{modules}: no archive of modules; it should be a kernel's module folder, or one packed")
        body += packed
    elif modules:
        body += modules_archive(modules)
    path = cache / f"initrd-{hashlib.sha256(body).hexdigest()[:16]}.cpio"
    if not receive.touch(path):
        cpio.write_atomically(path, body)
        receive.prune(cache, receive.KEEP, time.time())
    return path


def modules_archive(modules_dir: str) -> bytes:
    """A cpio of the modules that a guest may need of this folder. Raises ValueError, OSError.

    The agent reads its file modules/order: a module a line, and after its name the virtio devices without which it need
    not be loaded.
    """
    return _packed(module_closure(modules_dir, WANTED))


def module_closure(modules_dir: str, wanted: Sequence[str]) -> list[Path]:
    """Files of the wanted modules and of what they depend on, each behind what it depends on.

    A wanted module that is built in, or that this kernel does not have, is left out. Dependencies come from modules.dep
    where it is there, otherwise from the modules (an unpacked package has no modules.dep). Raises ValueError.
    """
    root = Path(modules_dir)
    if not root.is_dir():
        raise ValueError(f"{modules_dir}: no such folder; it should be the one that holds modules.builtin and kernel/")
    builtin = {_name(line) for line in _lines(root / "modules.builtin")}
    # Sorted: a module of the same name under updates/ wins over the one under kernel/, as with modprobe.
    files = {_name(str(path)): path for path in sorted(root.rglob("*.ko*")) if path.name.endswith(_SUFFIXES)}
    if not files and not builtin:
        raise ValueError(f"{modules_dir}: holds no modules and no modules.builtin; is it a kernel's module folder?")
    listed = _listed_dependencies(root)
    ordered: dict[str, Path] = {}

    def add(name: str, wanted_by: str) -> None:
        if name in builtin or name in ordered or (name not in files and not wanted_by):
            return
        if name not in files:
            raise ValueError(f"{modules_dir}: {wanted_by} depends on {name}, which is neither there nor built in")
        needs = listed[name] if name in listed else modinfo(read_module(files[name]), "depends")
        for dependency in needs:
            add(_name(dependency), name)
        ordered[name] = files[name]

    for name in wanted:
        add(_name(name), "")
    return list(ordered.values())


def modinfo(module: bytes, key: str) -> list[str]:
    """The values of one key of an uncompressed module's .modinfo section; lists in a value are taken apart."""
    start = f"{key}=".encode()
    entries = (entry for entry in module.split(b"\0") if entry.startswith(start))
    return [value for entry in entries for value in entry[len(start) :].decode().split(",") if value]


def read_module(path: Path) -> bytes:
    """Content of a module file, decompressed. Raises ValueError for what is no module or cannot be unpacked here."""
    data = path.read_bytes()
    try:
        if path.suffix == ".xz":
            data = lzma.decompress(data)
        elif path.suffix == ".gz":
            data = gzip.decompress(data)
        elif path.suffix == ".zst":
            data = _unzstd(path)
    except (lzma.LZMAError, OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: cannot be decompressed: {error}") from error
    if data[:4] != b"\x7fELF":
        raise ValueError(f"{path}: no kernel module (no ELF file)")
    return data


def check_kernel(path: str) -> str:
    """The version of a kernel image, its release first ("6.1.0-56-cloud-amd64 (…) #1 SMP …").

    Knows bzImage, ELF vmlinux, arm64 Image, and Image.gz. Raises ValueError saying what the file is instead.
    """
    try:
        return kernel_version(Path(path).read_bytes())
    except OSError as error:
        raise ValueError(error.strerror) from error


def kernel_version(data: bytes) -> str:
    """`check_kernel` on the content of a file."""
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"compressed with gzip, and damaged: {error}") from error
        if data[0x38:0x3C] != b"ARM\x64":
            raise ValueError("compressed with gzip, and no arm64 Image inside")
    if data[0x202:0x206] == b"HdrS" and data[0x1FE:0x200] == b"\x55\xaa":
        return _bzimage_version(data)
    if data[:4] == b"\x7fELF" or data[0x38:0x3C] == b"ARM\x64":
        _, found, rest = data.partition(b"Linux version ")
        if not found:
            raise ValueError("an ELF file, but no Linux kernel ('Linux version' is nowhere in it)")
        return rest[:512].partition(b"\n")[0].partition(b"\0")[0].decode(errors="replace")
    raise ValueError("no kernel image")


def _bzimage_version(data: bytes) -> str:
    # Linux Documentation/arch/x86/boot.rst: setup_sects 0x1f1, syssize 0x1f4 (in 16 bytes), kernel_version 0x20e
    (paragraphs,), (pointer,) = struct.unpack_from("<I", data, 0x1F4), struct.unpack_from("<H", data, 0x20E)
    size = ((data[0x1F1] or 4) + 1) * 512 + paragraphs * 16
    if len(data) < size:
        raise ValueError(f"a bzImage that was cut off: {len(data)} bytes instead of {size}")
    text = data[0x200 + pointer :][:512].partition(b"\0")[0] if pointer else b""
    return text.decode(errors="replace") or "unknown"


def _packed(files: Iterable[Path]) -> bytes:
    entries, order = [], []
    for path in files:
        data = read_module(path)
        entries.append(cpio.file(f"modules/{_name(str(path))}.ko", data))
        devices = modinfo(data, "alias")
        only_virtio = devices and all(alias.startswith("virtio:") for alias in devices)
        order.append(" ".join([_name(str(path)), *(devices if only_virtio else ())]))
    entries.append(cpio.file("modules/order", "".join(f"{line}\n" for line in order).encode()))
    return cpio.archive(entries)


def _listed_dependencies(root: Path) -> Mapping[str, list[str]]:
    pairs = (line.partition(":") for line in _lines(root / "modules.dep"))
    return {_name(path): rest.split() for path, _, rest in pairs}


def _name(path: str) -> str:
    return path.rsplit("/", 1)[-1].split(".ko", 1)[0].replace("-", "_")


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text().splitlines() if line.strip()]
    except FileNotFoundError:
        return []


def _unzstd(path: Path) -> bytes:
    try:
        return subprocess.run(["zstd", "-dcq", str(path)], check=True, capture_output=True).stdout
    except FileNotFoundError:
        raise ValueError(f"{path}: the program zstd is needed to read it; install zstd") from None
    except subprocess.CalledProcessError as error:
        raise ValueError(f"{path}: {error.stderr.decode(errors='replace').strip()}") from error
