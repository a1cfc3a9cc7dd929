"""Which kernel guests get, and how one is fetched without being installed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from bench.errors import LabError, MissingError
from bench.host import debs, kernels
from bench.host.kernels import Kernel

APT_DEBIAN = """linux-image-6.1.0-56-cloud-amd64
  Depends: kmod
  Depends: linux-base
 |Depends: initramfs-tools
  Depends: <linux-initramfs-tool>
    dracut
  Conflicts: linux-image-6.1.0-1-cloud-amd64
"""
APT_UBUNTU = """linux-image-6.8.0-45-generic
  Depends: kmod
  Depends: linux-modules-6.8.0-45-generic
 |Recommends: grub-pc
"""


def make_kernel(folder: Path, release: str, *, builtin: str = "", files: str = "") -> None:
    """An image and modules as a package unpacks them; `files` and `builtin` are words."""
    (folder / "boot").mkdir(parents=True, exist_ok=True)
    (folder / "boot" / f"vmlinuz-{release}").write_bytes(b"image of " + release.encode())
    modules = folder / "lib/modules" / release
    (modules / "kernel/drivers").mkdir(parents=True)
    (modules / "modules.builtin").write_text("".join(f"kernel/drivers/{name}.ko\n" for name in builtin.split()))
    for name in files.split():
        (modules / "kernel/drivers" / name).write_bytes(b"\x7fELF")


def make_good_kernel(folder: Path, release: str) -> None:
    make_kernel(folder, release, builtin="virtio_pci", files="virtio-balloon.ko.xz virtio_console.ko")


def test_modules_count_whether_built_in_or_files_compressed_or_spelt_with_a_dash(tmp_path: Path) -> None:
    make_good_kernel(tmp_path, "6.1.0")
    assert kernels.missing_modules(kernels.find_kernel(tmp_path, root=tmp_path, release="6.1.0")) == []


def test_what_is_neither_built_in_nor_a_file_is_named(tmp_path: Path) -> None:
    make_kernel(tmp_path, "6.1.0", builtin="virtio_pci")
    kernel = Kernel("6.1.0", "", str(tmp_path / "lib/modules/6.1.0"), "named")
    assert kernels.missing_modules(kernel) == ["virtio_balloon", "virtio_console"]


def test_without_a_modules_folder_nothing_can_be_told() -> None:
    assert kernels.missing_modules(Kernel("6.1.0", "/bzImage", "", "named")) is None


def test_the_running_kernel_is_taken_where_it_is_readable_and_complete(tmp_path: Path) -> None:
    make_good_kernel(tmp_path, "6.5.1")
    make_good_kernel(tmp_path / "cache/kernels/6.9.0", "6.9.0")
    found = kernels.find_kernel(tmp_path / "cache", root=tmp_path, release="6.5.1")
    assert found == Kernel(
        "6.5.1", str(tmp_path / "boot/vmlinuz-6.5.1"), str(tmp_path / "lib/modules/6.5.1"), "running"
    )


@pytest.mark.parametrize("flaw", ["no image", "no modules", "no balloon"])
def test_a_flawed_running_kernel_gives_way_to_the_cache(tmp_path: Path, flaw: str) -> None:
    make_kernel(tmp_path, "6.5.1", builtin="virtio_pci virtio_console" + (" virtio_balloon" if flaw[3] != "b" else ""))
    if flaw == "no image":
        (tmp_path / "boot/vmlinuz-6.5.1").unlink()
    if flaw == "no modules":
        (tmp_path / "lib/modules/6.5.1").rename(tmp_path / "lib/modules/other")
    make_good_kernel(tmp_path / "cache/kernels/6.1.0", "6.1.0")
    found = kernels.find_kernel(tmp_path / "cache", root=tmp_path, release="6.5.1")
    assert (found.release, found.source) == ("6.1.0", "cached")


def test_the_newest_cached_kernel_wins_by_number_and_half_made_ones_do_not_count(tmp_path: Path) -> None:
    for release in ("6.1.0-9-cloud-amd64", "6.1.0-56-cloud-amd64", "5.10.0-30-amd64"):
        make_good_kernel(tmp_path / "kernels" / release, release)
    (tmp_path / "kernels/.fetch-x").mkdir()
    (tmp_path / "kernels/9.9.9/boot").mkdir(parents=True)
    found = kernels.find_kernel(tmp_path, root=tmp_path / "empty", release="1")
    assert found.release == "6.1.0-56-cloud-amd64"


def test_without_any_kernel_the_message_says_what_was_looked_at_and_what_mends_it(tmp_path: Path) -> None:
    make_kernel(tmp_path / "kernels/6.1.0", "6.1.0", builtin="virtio_pci virtio_console")
    with pytest.raises(MissingError) as caught:
        kernels.find_kernel(tmp_path, root=tmp_path, release="6.5.1")
    assert str(caught.value) == (
        f"no guest kernel found; the running kernel: {tmp_path}/boot/vmlinuz-6.5.1 is not there; "
        "6.1.0 in the cache: lacks virtio_balloon\n  run: bench prepare"
    )


def test_a_named_image_finds_the_modules_that_were_unpacked_beside_it(tmp_path: Path) -> None:
    make_good_kernel(tmp_path / "k", "6.1.0")
    found = kernels.find_kernel(tmp_path, str(tmp_path / "k/boot/vmlinuz-6.1.0"))
    assert found == Kernel(
        "6.1.0", str(tmp_path / "k/boot/vmlinuz-6.1.0"), str(tmp_path / "k/lib/modules/6.1.0"), "named"
    )


def test_a_fresh_bzimage_needs_no_modules_and_may_name_some(tmp_path: Path) -> None:
    (tmp_path / "bzImage").write_bytes(b"")
    assert kernels.find_kernel(tmp_path, str(tmp_path / "bzImage")).modules == ""
    named = kernels.find_kernel(tmp_path, str(tmp_path / "bzImage"), str(tmp_path))
    assert named.modules == str(tmp_path)


@pytest.mark.parametrize(("image", "modules"), [("absent", ""), ("bzImage", "absent")])
def test_a_named_file_that_is_not_there_is_said(tmp_path: Path, image: str, modules: str) -> None:
    (tmp_path / "bzImage").write_bytes(b"")
    with pytest.raises(MissingError, match=f"{tmp_path}/absent: no such"):
        kernels.find_kernel(tmp_path, str(tmp_path / image), modules and str(tmp_path / modules))


def test_the_package_behind_a_meta_package_is_read_from_apts_answer() -> None:
    assert debs.concrete_packages("linux-image-cloud-amd64\n  Depends: linux-image-6.1.0-56-cloud-amd64\n") == [
        "linux-image-6.1.0-56-cloud-amd64"
    ]
    assert debs.concrete_packages(APT_DEBIAN) == []
    assert debs.concrete_packages(APT_UBUNTU) == ["linux-modules-6.8.0-45-generic"]


def test_downloads_never_install(tmp_path: Path) -> None:
    assert kernels.download_argv(["linux-image-6.1.0-56-cloud-amd64"], "debian", tmp_path, "x86_64") == [
        "apt-get",
        "download",
        "-q",
        "linux-image-6.1.0-56-cloud-amd64",
    ]
    assert kernels.download_argv(["kernel-core", "kernel-modules-core"], "fedora", tmp_path, "aarch64") == [
        "dnf",
        "download",
        "-q",
        "--arch",
        "aarch64",
        "--destdir",
        str(tmp_path),
        "kernel-core",
        "kernel-modules-core",
    ]


def test_each_kind_of_package_is_unpacked_by_its_own_tools() -> None:
    assert debs.unpack_argvs(Path("/t/a.deb"), Path("/t/tree")) == [["dpkg-deb", "-x", "/t/a.deb", "/t/tree"]]
    assert debs.unpack_argvs(Path("/t/a.rpm"), Path("/t/tree")) == [
        ["rpm2cpio", "/t/a.rpm"],
        ["cpio", "-idm", "--quiet", "-D", "/t/tree"],
    ]


def test_a_debian_package_is_adopted_without_what_is_not_needed(tmp_path: Path) -> None:
    make_good_kernel(tmp_path / "tree", "6.1.0")
    (tmp_path / "tree/boot/System.map-6.1.0").write_text("")
    found = kernels.adopt(tmp_path / "tree", tmp_path / "staged", cache_in(tmp_path))
    assert found.source == "cached"
    assert Path(found.image).read_bytes() == b"image of 6.1.0"
    assert sorted(path.name for path in (tmp_path / "cache/kernels/6.1.0/boot").iterdir()) == ["vmlinuz-6.1.0"]
    assert kernels.cached_kernels(tmp_path / "cache") == [found]


def cache_in(folder: Path) -> Path:
    (folder / "cache/kernels").mkdir(parents=True)
    return folder / "cache"


def test_a_fedora_package_with_its_image_among_the_modules_is_adopted(tmp_path: Path) -> None:
    make_good_kernel(tmp_path / "tree/usr", "6.8.5-301.fc40.x86_64")
    modules = tmp_path / "tree/usr/lib/modules/6.8.5-301.fc40.x86_64"
    (tmp_path / "tree/usr/boot/vmlinuz-6.8.5-301.fc40.x86_64").rename(modules / "vmlinuz")
    found = kernels.adopt(tmp_path / "tree", tmp_path / "staged", cache_in(tmp_path))
    assert found.release == "6.8.5-301.fc40.x86_64"
    assert Path(found.image).read_bytes() == b"image of 6.8.5-301.fc40.x86_64"
    assert kernels.missing_modules(found) == []


def test_a_kernel_without_the_balloon_is_not_adopted(tmp_path: Path) -> None:
    make_kernel(tmp_path / "tree", "6.1.0", builtin="virtio_pci virtio_console")
    with pytest.raises(LabError, match=r"6\.1\.0 of the distribution cannot be used: lacks virtio_balloon"):
        kernels.adopt(tmp_path / "tree", tmp_path / "staged", cache_in(tmp_path))
    assert kernels.cached_kernels(tmp_path / "cache") == []


def test_an_earlier_whole_kernel_is_kept_and_a_broken_one_replaced(tmp_path: Path) -> None:
    cache = cache_in(tmp_path)
    make_good_kernel(cache / "kernels/6.1.0", "6.1.0")
    (cache / "kernels/6.1.0/boot/vmlinuz-6.1.0").write_bytes(b"earlier")
    make_good_kernel(tmp_path / "tree", "6.1.0")
    found = kernels.adopt(tmp_path / "tree", tmp_path / "staged", cache)
    assert Path(found.image).read_bytes() == b"earlier"
    Path(found.image).unlink()
    make_good_kernel(tmp_path / "tree2", "6.1.0")
    found = kernels.adopt(tmp_path / "tree2", tmp_path / "staged2", cache)
    assert Path(found.image).read_bytes() == b"image of 6.1.0"


def test_a_package_without_a_kernel_is_said_with_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "tree/usr").mkdir(parents=True)
    with pytest.raises(LabError, match=r"holds no vmlinuz(?s:.*)\| usr"):
        kernels.adopt(tmp_path / "tree", tmp_path / "staged", cache_in(tmp_path))


def test_what_is_cached_is_not_fetched_again(tmp_path: Path) -> None:
    make_good_kernel(tmp_path / "kernels/6.1.0", "6.1.0")
    said: list[str] = []
    assert (kernels.fetch_kernel(tmp_path, say=said.append).release, said) == ("6.1.0", [])


def test_a_distribution_without_a_known_kernel_package_says_what_else_to_do(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="name one"):
        kernels.wanted_packages(tmp_path)


def test_apt_is_asked_in_english_whatever_the_users_language(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    word = '[ "$LC_ALL" = C ] && word=Depends || word="Hängt ab von"'
    (tmp_path / "apt-cache").write_text(f'#!/bin/sh\n{word}\necho "  $word: linux-image-6.1.0-56-amd64"\n')
    (tmp_path / "apt-cache").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    assert kernels.current_packages(["linux-image-amd64"], "debian") == ["linux-image-6.1.0-56-amd64"]
    assert kernels.current_packages(["kernel-core"], "fedora") == ["kernel-core"]


def test_a_package_that_apt_does_not_know_asks_for_fresh_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "apt-cache").write_text("#!/bin/sh\nexit 100\n")
    (tmp_path / "apt-cache").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingError) as caught:
        kernels.current_packages(["linux-image-amd64"], "debian")
    assert caught.value.command == "sudo apt-get update"


def test_a_real_debian_package_is_unpacked(tmp_path: Path) -> None:
    if not os.access("/usr/bin/dpkg-deb", os.X_OK):
        pytest.skip("needs dpkg-deb")
    make_good_kernel(tmp_path / "build", "6.1.0-1-test")
    (tmp_path / "build/DEBIAN").mkdir()
    (tmp_path / "build/DEBIAN/control").write_text(
        "Package: linux-image-6.1.0-1-test\nVersion: 1\nArchitecture: all\nMaintainer: t <t@example.org>\n"
        "Description: test\n"
    )
    package = tmp_path / "k.deb"
    subprocess.run(["dpkg-deb", "-b", tmp_path / "build", package], check=True, capture_output=True)
    (tmp_path / "tree").mkdir()
    debs.unpack(package, tmp_path / "tree")
    found = kernels.adopt(tmp_path / "tree", tmp_path / "staged", cache_in(tmp_path))
    assert (found.release, kernels.missing_modules(found)) == ("6.1.0-1-test", [])


def test_a_broken_package_shows_the_tools_own_words(tmp_path: Path) -> None:
    if not os.access("/usr/bin/dpkg-deb", os.X_OK):
        pytest.skip("needs dpkg-deb")
    (tmp_path / "k.deb").write_bytes(b"not a package")
    with pytest.raises(LabError, match=r"could not be unpacked(?s:.*)dpkg-deb"):
        debs.unpack(tmp_path / "k.deb", tmp_path)
