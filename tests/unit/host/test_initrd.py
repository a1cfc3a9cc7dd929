"""Which modules go into a guest, in which order, from kernel trees of every kind; and what is a kernel."""

from __future__ import annotations

import gzip
import lzma
import os
import shutil
import struct
import subprocess
import time
from pathlib import Path

import pytest
from cpio_reader import read_archives

from bench.host.initrd import build_initrd, check_kernel, modinfo, module_closure, modules_archive, read_module
from bench.wire import cpio

# name -> what it depends on, as a Debian 12 kernel has it (some names with - and some with _)
DEPENDS = {
    "virtio_ring": "",
    "virtio": "virtio_ring",
    "virtio_pci_modern_dev": "",
    "virtio-pci": "virtio_pci_modern_dev,virtio,virtio_ring",
    "virtio_console": "virtio,virtio_ring",
    "virtio_balloon": "virtio,virtio_ring",
    "ext4": "jbd2",
    "jbd2": "",
}
ALIASES = {
    "virtio-pci": ["pci:v00001AF4d*sv*sd*bc*sc*i*"],
    "virtio_console": ["virtio:d00000003v*", "virtio:d0000000Bv*"],
    "virtio_balloon": ["virtio:d00000005v*"],
}
ORDER = ["virtio_pci_modern_dev", "virtio_ring", "virtio", "virtio_pci", "virtio_console", "virtio_balloon"]


def module(name: str, depends: str = "") -> bytes:
    aliases = "".join(f"alias={alias}\0" for alias in ALIASES.get(name, ()))
    info = f"license=GPL\0{aliases}depends={depends}\0retpoline=Y\0name={name}\0"
    return b"\x7fELF" + bytes(60) + info.encode() + bytes(16)


def kernel_tree(root: Path, skip: tuple[str, ...] = (), builtin: str = "") -> Path:
    for name, depends in DEPENDS.items():
        if name not in skip:
            path = root / "kernel" / "drivers" / f"{name}.ko"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(module(name, depends))
    (root / "modules.builtin").write_text(builtin)
    return root


def names(paths: list[Path]) -> list[str]:
    return [path.name.split(".")[0].replace("-", "_") for path in paths]


WANTED = ("virtio_pci", "virtio_console", "virtio_balloon")


def assert_each_behind_what_it_needs(found: list[str]) -> None:
    for name, depends in DEPENDS.items():
        plain = name.replace("-", "_")
        for needed in filter(None, depends.split(",")):
            if plain in found:
                assert found.index(needed) < found.index(plain)


def test_without_modules_dep_the_modules_themselves_say_what_they_need(tmp_path: Path) -> None:
    found = names(module_closure(str(kernel_tree(tmp_path)), WANTED))
    assert sorted(found) == sorted(ORDER)
    assert_each_behind_what_it_needs(found)


def test_modules_dep_is_believed_where_it_is_there(tmp_path: Path) -> None:
    kernel_tree(tmp_path)
    (tmp_path / "modules.dep").write_text(
        "kernel/drivers/virtio-pci.ko: kernel/drivers/jbd2.ko\n"
        "kernel/drivers/jbd2.ko:\n"
        "kernel/drivers/virtio_console.ko: kernel/drivers/virtio.ko kernel/drivers/virtio_ring.ko\n"
        "kernel/drivers/virtio.ko: kernel/drivers/virtio_ring.ko\n"
        "kernel/drivers/virtio_ring.ko:\n"
    )
    found = names(module_closure(str(tmp_path), ("virtio_pci", "virtio_console")))
    assert found == ["jbd2", "virtio_pci", "virtio_ring", "virtio", "virtio_console"]


def test_what_is_built_in_is_skipped_also_as_a_dependency(tmp_path: Path) -> None:
    builtin = (
        "kernel/drivers/virtio/virtio.ko\nkernel/drivers/virtio/virtio_ring.ko\nkernel/drivers/char/virtio-console.ko\n"
    )
    tree = kernel_tree(tmp_path, ("virtio", "virtio_ring", "virtio_console"), builtin)
    assert names(module_closure(str(tree), WANTED)) == ["virtio_pci_modern_dev", "virtio_pci", "virtio_balloon"]


def test_a_kernel_with_everything_built_in_needs_no_module(tmp_path: Path) -> None:
    (tmp_path / "modules.builtin").write_text("kernel/drivers/virtio/virtio_pci.ko\n")
    assert module_closure(str(tmp_path), WANTED) == []


def test_a_wanted_module_that_this_kernel_lacks_is_left_out(tmp_path: Path) -> None:
    tree = kernel_tree(tmp_path, ("virtio_balloon",))
    assert "virtio_balloon" not in names(module_closure(str(tree), WANTED))


def test_a_dependency_that_is_missing_is_an_error_that_names_both(tmp_path: Path) -> None:
    tree = kernel_tree(tmp_path, ("virtio_ring",))
    with pytest.raises(ValueError, match="virtio depends on virtio_ring, which is neither there nor built in"):
        module_closure(str(tree), WANTED)


def test_a_module_under_updates_wins(tmp_path: Path) -> None:
    kernel_tree(tmp_path)
    newer = tmp_path / "updates" / "dkms" / "virtio_balloon.ko"
    newer.parent.mkdir(parents=True)
    newer.write_bytes(module("virtio_balloon"))
    assert newer in module_closure(str(tmp_path), WANTED)


def test_a_folder_without_modules_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no modules"):
        module_closure(str(tmp_path), WANTED)
    with pytest.raises(ValueError, match="no such folder"):
        module_closure(str(tmp_path / "absent"), WANTED)


def test_compressed_modules_are_read_and_followed(tmp_path: Path) -> None:
    (tmp_path / "virtio.ko.xz").write_bytes(lzma.compress(module("virtio", "virtio_ring")))
    (tmp_path / "virtio_ring.ko.gz").write_bytes(gzip.compress(module("virtio_ring")))
    found = module_closure(str(tmp_path), ("virtio",))
    assert [path.name for path in found] == ["virtio_ring.ko.gz", "virtio.ko.xz"]
    assert read_module(found[1]) == module("virtio", "virtio_ring")


@pytest.mark.skipif(shutil.which("zstd") is None, reason="the program zstd is not installed")
def test_modules_compressed_with_zstd_are_read_by_the_program(tmp_path: Path) -> None:
    plain = tmp_path / "virtio.ko"
    plain.write_bytes(module("virtio"))
    subprocess.run(["zstd", "-q", "--rm", str(plain)], check=True)
    assert read_module(tmp_path / "virtio.ko.zst") == module("virtio")


@pytest.mark.parametrize(("name", "data"), [("a.ko", b"text"), ("a.ko.xz", b"junk"), ("a.ko.gz", b"junk")])
def test_a_file_that_is_no_module_is_named(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=name):
        read_module(tmp_path / name)


def test_modinfo_takes_lists_apart_and_skips_the_empty_one() -> None:
    assert modinfo(module("virtio-pci", "a,b_c"), "depends") == ["a", "b_c"]
    assert modinfo(module("virtio", ""), "depends") == []


def test_the_initrd_is_the_image_and_behind_it_the_modules_in_their_order(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(cpio.archive([cpio.file("init", b"#!")]))
    tree = kernel_tree(tmp_path / "tree")
    path = build_initrd(image, str(tree), tmp_path / "cache")
    assert path.read_bytes().startswith(image.read_bytes())
    guest, modules = read_archives(path.read_bytes())
    assert list(guest) == ["init"]
    order = modules["modules/order"].data.decode().splitlines()
    assert sorted(line.split()[0] for line in order) == sorted(ORDER)
    assert {f"modules/{line.split()[0]}.ko" for line in order} < set(modules)
    assert modules["modules/virtio_pci.ko"].data == module("virtio-pci", DEPENDS["virtio-pci"])


def test_a_module_for_virtio_devices_only_carries_them_so_that_it_is_loaded_on_demand(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(cpio.archive([]))
    path = build_initrd(image, str(kernel_tree(tmp_path / "tree")), tmp_path)
    lines = read_archives(path.read_bytes())[1]["modules/order"].data.decode().splitlines()
    assert "virtio_console virtio:d00000003v* virtio:d0000000Bv*" in lines
    assert "virtio_pci" in lines, "a driver of PCI devices is loaded always: nothing virtual is there before it"


def test_the_same_inputs_are_one_file_and_others_another(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(cpio.archive([cpio.file("init", b"#!")]))
    tree = str(kernel_tree(tmp_path / "tree"))
    first = build_initrd(image, tree, tmp_path / "one")
    assert build_initrd(image, tree, tmp_path / "two").name == first.name
    assert build_initrd(image, "", tmp_path / "one").read_bytes() == image.read_bytes()
    (tmp_path / "tree/kernel/drivers/virtio_ring.ko").write_bytes(module("virtio_ring") + b"changed")
    assert build_initrd(image, tree, tmp_path / "one").name != first.name


def test_an_initrd_that_is_used_again_is_noted_as_used_and_a_new_one_takes_the_place_of_old_ones(
    tmp_path: Path,
) -> None:
    cache, image, long_ago = tmp_path / "cache", tmp_path / "image", time.time() - 90 * 24 * 3600
    made = []
    for text in (b"one", b"two", b"three", b"four"):
        image.write_bytes(text)
        made.append(build_initrd(image, "", cache))
        os.utime(made[-1], (long_ago, long_ago))
    image.write_bytes(b"one")
    assert build_initrd(image, "", cache) == made[0]
    assert made[0].stat().st_mtime > long_ago + 1
    image.write_bytes(b"five")
    newest = build_initrd(image, "", cache)
    left = set(cache.iterdir())
    assert {newest, made[0]} <= left
    assert len(left) == 3


def test_modules_that_were_packed_elsewhere_make_the_same_initrd(tmp_path: Path) -> None:
    image, packed, tree = tmp_path / "image", tmp_path / "modules-x.cpio", str(kernel_tree(tmp_path / "tree"))
    image.write_bytes(cpio.archive([cpio.file("init", b"#!")]))
    packed.write_bytes(modules_archive(tree))
    assert build_initrd(image, str(packed), tmp_path).read_bytes() == build_initrd(image, tree, tmp_path).read_bytes()


@pytest.mark.parametrize("data", [b"", b"\x7fELF", b"0707"])
def test_a_file_that_holds_no_packed_modules_is_refused_by_its_name(tmp_path: Path, data: bytes) -> None:
    image, packed = tmp_path / "image", tmp_path / "modules-x.cpio"
    image.write_bytes(b"")
    packed.write_bytes(data)
    with pytest.raises(ValueError, match=r"modules-x\.cpio: no archive of modules"):
        build_initrd(image, str(packed), tmp_path)


VERSION = b"6.1.0-56-cloud-amd64 (debian-kernel@lists.debian.org) #1 SMP"


def bzimage(size: int = 8192) -> bytes:
    head = bytearray(size)
    head[0x1F1] = 3
    struct.pack_into("<I", head, 0x1F4, (size - 4 * 512) // 16)
    head[0x1FE:0x206] = b"\x55\xaa\xeb\x66HdrS"
    struct.pack_into("<H", head, 0x20E, 0x600)
    head[0x800 : 0x800 + len(VERSION)] = VERSION
    return bytes(head)


def arm64_image() -> bytes:
    return bytes(0x38) + b"ARM\x64" + bytes(100) + b"Linux version 6.1.0-56-arm64 (x) #1 SMP\n\0junk"


@pytest.mark.parametrize(
    ("data", "version"),
    [
        (bzimage(), VERSION.decode()),
        (b"\x7fELF" + bytes(500) + b"Linux version 6.12.0-dirty (me@here) #3\n\0", "6.12.0-dirty (me@here) #3"),
        (arm64_image(), "6.1.0-56-arm64 (x) #1 SMP"),
        (gzip.compress(arm64_image()), "6.1.0-56-arm64 (x) #1 SMP"),
    ],
    ids=["bzImage", "vmlinux", "arm64 Image", "arm64 Image.gz"],
)
def test_a_kernel_says_its_release_first(tmp_path: Path, data: bytes, version: str) -> None:
    (tmp_path / "kernel").write_bytes(data)
    assert check_kernel(str(tmp_path / "kernel")) == version


@pytest.mark.parametrize(
    ("data", "wrong"),
    [
        (b"", "no kernel image"),
        (b"just a text\n" * 100, "no kernel image"),
        (bzimage()[:4096], "cut off: 4096 bytes instead of 8192"),
        (b"\x7fELF" + bytes(2000), "an ELF file, but no Linux kernel"),
        (gzip.compress(b"something"), "no arm64 Image inside"),
        (gzip.compress(arm64_image())[:-9], "damaged"),
    ],
)
def test_a_file_that_is_no_kernel_is_refused_with_what_it_is(tmp_path: Path, data: bytes, wrong: str) -> None:
    (tmp_path / "kernel").write_bytes(data)
    with pytest.raises(ValueError, match=wrong):
        check_kernel(str(tmp_path / "kernel"))


def test_a_kernel_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="No such file"):
        check_kernel(str(tmp_path / "absent"))
    with pytest.raises(ValueError, match="Is a directory"):
        check_kernel(str(tmp_path))
