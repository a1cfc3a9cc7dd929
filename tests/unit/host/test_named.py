"""Kernels and QEMUs beside the host's own: how they come, how they are found, and what is said where there are none."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bench.errors import InputError, MissingError
from bench.host import named, named_fetch
from bench.host.kernels import find_kernel
from bench.host.prepare import prepare
from bench.wire.job import Paths
from bench.wire.named import NAMES, OPTIONS, name_of, prepare_command

PROGRAM = f"qemu-system-{os.uname().machine}"
SOURCES = "deb http://deb.debian.org/debian bookworm main\n"


def package(folder: Path, name: str, files: dict[str, str]) -> Path:
    """A real package with these files."""
    tree = folder / f"build-{name}"
    control = f"Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: t <t@e.org>\nDescription: t\n"
    for path, content in {"DEBIAN/control": control, **files}.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(content)
        if content.startswith("#!"):
            (tree / path).chmod(0o755)
    subprocess.run(["dpkg-deb", "-b", tree, folder / f"{name}.deb"], check=True, capture_output=True)
    return folder / f"{name}.deb"


def kernel_package(folder: Path, release: str) -> Path:
    image = f"\x7fELF Linux version {release} (them)"
    builtin = "virtio_pci.ko\nvirtio_balloon.ko\nvirtio_console.ko\n"
    files = {f"boot/vmlinuz-{release}": image, f"lib/modules/{release}/modules.builtin": builtin}
    return package(folder, f"linux-image-{release}", files)


class Debian:
    """A Debian 12 whose apt-get is a fake that gives real packages. `calls` has a line for each of its calls."""

    def __init__(self, folder: Path) -> None:
        self.root, self.cache, self.programs = folder / "root", folder / "cache", folder / "programs"
        for made in (self.root / "etc/apt", self.cache, self.programs, folder / "packages"):
            made.mkdir(parents=True)
        self.release("ID=debian\nVERSION_CODENAME=bookworm\nPRETTY_NAME='Debian 12'\n")
        (self.root / "etc/apt/sources.list").write_text(SOURCES)
        for name in ("dpkg-deb", "tar", "sh", "cp"):
            (self.programs / name).symlink_to(shutil.which(name) or name)
        self.calls = folder / "calls"
        new, old = (kernel_package(folder / "packages", release) for release in ("6.12.9-new", "6.1.0-standard"))
        version = 'case "$*" in *--version) echo QEMU emulator version 10.0.2;; esac'
        body = f'#!/bin/sh\n{version}\necho "lib: $LD_LIBRARY_PATH $*" >&2\n'
        files = {f"usr/bin/{PROGRAM}": body, "usr/lib/a-linux-gnu/libx.so": "", "usr/share/qemu/bios.bin": ""}
        qemu = package(folder / "packages", "qemu-system", files)
        self.has(
            "apt-cache",
            'case "$*" in *backports*) echo "  Depends: linux-image-6.12.9-new";; '
            '*) echo "  Depends: linux-image-6.1.0-standard";; esac',
        )
        self.apt = (
            f'case "$*" in *print-uris*) echo "\'http://m/q.deb\' qemu-system-x86_1%3a10.0.2_all.deb 5";; '
            f"*download*6.12.9*) cp {new} .;; *download*standard*) cp {old} .;; "
            f"*download*qemu*) cp {qemu} .;; esac"
        )
        self.has("apt-get", self.apt)

    def release(self, text: str) -> None:
        (self.root / "etc/os-release").write_text(text)

    def has(self, name: str, body: str) -> None:
        (self.programs / name).write_text(f'#!/bin/sh\necho "{name} $*" >> {self.calls}\n{body}\n')
        (self.programs / name).chmod(0o755)

    def wish(self, *asked: str) -> named_fetch.Wish:
        return named_fetch.wish(asked, self.cache, self.root)

    def fetch(self, *asked: str) -> named_fetch.Fetched:
        return named_fetch.fetch(self.wish(*asked).items, self.cache, lambda _text: None)

    @property
    def verbs(self) -> list[str]:
        lines = self.calls.read_text().splitlines() if self.calls.exists() else []
        words = ("update", "print-uris", "download", "depends")
        return [next(word for word in words if word in line) for line in lines]


@pytest.fixture
def debian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Debian:
    if shutil.which("dpkg-deb") is None:
        pytest.skip("needs dpkg-deb")
    made = Debian(tmp_path)
    monkeypatch.setenv("PATH", str(made.programs))
    return made


# -- the words ---------------------------------------------------------------------------------------------------------


def test_a_name_is_told_from_a_path() -> None:
    assert name_of("named:backports") == "backports"
    assert name_of("/boot/vmlinuz") is None
    assert name_of("push:./bzImage") is None


def test_every_name_has_an_option_that_brings_it() -> None:
    assert {name for names in NAMES.values() for name in names} == set(OPTIONS)
    assert prepare_command("backports", "lab-1") == "bench prepare lab-1 --backports"
    assert prepare_command("standard") == "bench prepare --standard-kernel"


# -- bringing them -----------------------------------------------------------------------------------------------------


def test_what_would_be_fetched_is_told_and_nothing_is_done(debian: Debian) -> None:
    wish = debian.wish("backports", "standard")
    assert [(item.kind, item.name, item.suite) for item in wish.items] == [
        ("kernel", "backports", "bookworm-backports"),
        ("qemu", "backports", "bookworm-backports"),
        ("kernel", "standard", ""),
    ]
    told = wish.items[1].told(debian.cache)
    assert told.startswith("QEMU named:backports: qemu-system-")
    assert "of bookworm-backports from http://deb.debian.org/debian, with what it needs beyond this host's" in told
    assert told.endswith(f"unpacked into {debian.cache}/named/backports/qemu, not installed")
    assert (wish.there, wish.lacks, debian.verbs, list(debian.cache.iterdir())) == ((), (), [], [])


def test_kernel_and_qemu_of_one_suite_come_from_lists_that_are_read_once_and_a_second_time_nothing_does(
    debian: Debian,
) -> None:
    done = debian.fetch("backports")
    assert done.failed == []
    assert done.there == [
        f"kernel named:backports: 6.12.9-new, {debian.cache}/named/backports/kernel/boot/vmlinuz-6.12.9-new",
        f"QEMU named:backports: 10.0.2, {debian.cache}/named/backports/qemu/{PROGRAM}",
    ]
    assert debian.verbs == ["update", "depends", "depends", "download", "print-uris", "download"]
    again = debian.wish("backports")
    assert (again.items, list(again.there)) == ((), done.there)
    assert [path.name for path in (debian.cache / "named").iterdir()] == ["backports"]


def test_a_named_kernel_does_not_become_the_hosts_own(debian: Debian) -> None:
    debian.fetch("standard")
    with pytest.raises(MissingError):
        find_kernel(debian.cache, root=debian.root, release="1")


def test_a_source_that_cannot_be_reached_is_told_and_the_others_are_fetched(debian: Debian) -> None:
    broken = (
        'case "$*" in *update*) grep -q backports "$(dirname "$2")/private.sources" && echo E: 404 && exit 100;; esac'
    )
    for name in ("grep", "dirname"):
        (debian.programs / name).symlink_to(f"/usr/bin/{name}")
    debian.has("apt-get", f"{broken}\n{debian.apt}")
    done = debian.fetch("backports", "standard")
    assert [line.partition(",")[0] for line in done.there] == ["kernel named:standard: 6.1.0-standard"]
    (failed,) = done.failed
    assert failed.splitlines() == [
        "kernel named:backports, QEMU named:backports: the source of packages could not be read (status 100)",
        "  | E: 404",
    ]
    assert [path.name for path in (debian.cache / "named").iterdir()] == ["standard"]


def test_one_of_two_that_cannot_be_had_does_not_stop_the_other(debian: Debian) -> None:
    debian.has("apt-get", f'case "$*" in *print-uris*) exit 100;; esac\n{debian.apt}')
    done = debian.fetch("backports")
    assert len(done.there) == 1
    assert done.failed[0].startswith("QEMU named:backports: apt finds no way to qemu-system-")


@pytest.mark.parametrize(
    ("release", "sources", "lacks"),
    [
        ("ID=ubuntu\nVERSION_CODENAME=noble\nPRETTY_NAME=U\n", SOURCES, "U has no backports of it (Debian has)"),
        ("ID=fedora\nPRETTY_NAME=F\n", SOURCES, "F has no backports of it (Debian has)"),
        ("ID=arch\n", SOURCES, "no package is known for arch"),
        ("ID=debian\nVERSION_CODENAME=bookworm\n", "", "apt on this host has no source of bookworm"),
        ("ID=debian\nPRETTY_NAME=sid\n", SOURCES, "apt on this host has no source of sid"),
    ],
)
def test_a_host_whose_distribution_has_none_says_so_with_what_to_do(
    debian: Debian, release: str, sources: str, lacks: str
) -> None:
    debian.release(release)
    (debian.root / "etc/apt/sources.list").write_text(sources)
    wish = debian.wish("backports")
    assert wish.items == ()
    assert list(wish.lacks) == [
        f"kernel named:backports: {lacks}; name files instead (kernel: PATH)",
        f"QEMU named:backports: {lacks}; name files instead (qemu: PATH)",
    ]


def test_fedoras_standard_kernel_is_asked_of_dnf(debian: Debian) -> None:
    debian.release("ID=fedora\n")
    (item,) = debian.wish("standard").items
    assert item.packages == ("kernel-core", "kernel-modules-core")
    assert item.told(debian.cache).startswith("kernel named:standard: kernel-core, kernel-modules-core, unpacked into ")


def test_prepare_does_the_rest_where_a_name_cannot_be_had(debian: Debian) -> None:
    debian.has("apt-get", 'case "$*" in *update*) exit 100;; esac')
    debian.has(PROGRAM, 'echo "QEMU emulator version 7.2.0"')
    image = debian.root / "bzImage"
    image.write_bytes(b"\x7fELF Linux version 6.12.1-mine (me)")
    args: dict[str, Any] = {"qemu": "", "kernel": str(image), "modules": "", "dry_run": True, "become": "none"}
    told = prepare({**args, "extra": ["backports"]}, debian.cache, debian.root)
    assert [len(told[key]) for key in ("extra", "there", "lacks", "failed")] == [2, 0, 0, 0]
    done = prepare({**args, "extra": ["backports"], "dry_run": False}, debian.cache, debian.root)
    assert [len(done[key]) for key in ("extra", "there", "lacks", "failed")] == [2, 0, 0, 1]
    assert done["kernel"]["release"] == "6.12.1-mine"


# -- finding them ------------------------------------------------------------------------------------------------------


def test_names_are_replaced_by_paths_and_a_named_kernel_brings_its_modules(debian: Debian) -> None:
    debian.fetch("backports")
    folder = debian.cache / "named/backports"
    paths = named.resolved_paths(Paths("named:backports", "named:backports", "", "/i"), debian.cache, "lab-1")
    assert paths == Paths(
        str(folder / "qemu" / PROGRAM),
        str(folder / "kernel/boot/vmlinuz-6.12.9-new"),
        str(folder / "kernel/lib/modules/6.12.9-new"),
        "/i",
    )


def test_paths_and_nothing_stay_what_they_are(tmp_path: Path) -> None:
    assert named.resolved({"qemu": "/q", "kernel": "", "accel": "tcg"}, tmp_path) == {
        "qemu": "/q",
        "kernel": "",
        "accel": "tcg",
    }


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"kernel": "named:standard"}, "kernel named:standard is not on this host"),
        ({"qemu": "named:backports"}, "QEMU named:backports is not on this host"),
    ],
)
def test_what_is_not_there_is_missing_with_the_command_that_brings_it(
    tmp_path: Path, args: dict[str, str], message: str
) -> None:
    with pytest.raises(MissingError) as caught:
        named.resolved(args, tmp_path, "lab-1")
    assert caught.value.message == message
    assert caught.value.command.startswith("bench prepare lab-1 --")


def test_a_name_that_nobody_knows_is_said_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"no QEMU can be called named:\.\./x; known: backports"):
        named.qemu(tmp_path, "../x")


def test_a_kernel_that_was_damaged_is_not_there(debian: Debian) -> None:
    debian.fetch("standard")
    shutil.rmtree(debian.cache / "named/standard/kernel/lib")
    with pytest.raises(MissingError):
        named.kernel(debian.cache, "standard")
    assert len(debian.wish("standard").items) == 1
    assert debian.fetch("standard").failed == []
    assert named.kernel(debian.cache, "standard").release == "6.1.0-standard"


# -- the launcher ------------------------------------------------------------------------------------------------------


def test_the_launcher_becomes_qemu_with_its_own_libraries_and_firmware_first(debian: Debian) -> None:
    debian.fetch("backports")
    path = named.qemu(debian.cache, "backports")
    script = Path(path).read_text()
    assert script.splitlines()[-1].startswith(
        f'exec "$here/usr/bin/{PROGRAM}" -L "$here/usr/share/qemu" -L /usr/share/'
    )
    assert str(debian.cache) not in script
    done = subprocess.run([path, "-m", "1 G"], capture_output=True, text=True, check=True)
    folder = Path(path).parent
    assert done.stderr == (
        f"lib: {folder}/usr/lib/a-linux-gnu -L {folder}/usr/share/qemu -L /usr/share/qemu -L /usr/share/seabios "
        "-L /usr/lib/ipxe/qemu -m 1 G\n"
    )


def test_the_process_that_was_started_is_qemu_itself(debian: Debian) -> None:
    program = debian.cache / "q" / "usr/bin" / PROGRAM
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\necho "$$"\n')
    script = debian.cache / "q" / PROGRAM
    script.write_text(named.launcher(debian.cache / "q", PROGRAM))
    for file in (program, script):
        file.chmod(0o755)
    process = subprocess.Popen([script], stdout=subprocess.PIPE, text=True)
    assert int(process.communicate()[0]) == process.pid


def test_a_qemu_that_does_not_run_here_is_not_kept(debian: Debian) -> None:
    broken = package(debian.cache, "broken", {f"usr/bin/{PROGRAM}": "#!/bin/sh\necho no libfoo.so.1 >&2\nexit 127\n"})
    uris = "*print-uris*) echo \"'http://m/q.deb' qemu-system-x86_1_all.deb 5\";;"
    debian.has("apt-get", f'case "$*" in {uris} *download*qemu*) cp {broken} .;; *) {debian.apt};; esac')
    done = debian.fetch("backports")
    assert "the QEMU that was unpacked does not run here" in done.failed[0]
    assert "| no libfoo.so.1" in done.failed[0]
    assert not (debian.cache / "named/backports/qemu").exists()


def test_input_errors_of_the_hosts_own_files_come_first(tmp_path: Path) -> None:
    args = {"qemu": "", "kernel": "/none", "modules": "", "dry_run": True, "extra": ["backports"]}
    with pytest.raises(InputError):
        prepare(args, tmp_path, tmp_path)
