"""Brings kernels and QEMUs beside the host's own: downloaded, unpacked into the cache, and not installed.

For Debian and Ubuntu with an apt of its own (bench.host.debs), for Fedora's family with `dnf download`.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.errors import LabError, reason_of
from bench.host import debs, named, packages
from bench.host.aptsource import mirror_of, private_sources, sources_of
from bench.host.guestfiles import qemu_version
from bench.host.kernels import download_argv, stage
from bench.host.package_names import MANAGERS, architecture, family, names, os_release
from bench.wire.named import NAMES

_TITLES = {"kernel": "kernel", "qemu": "QEMU"}
_NEEDS = {("backports", "kernel"): "kernel", ("backports", "qemu"): "qemu", ("standard", "kernel"): "kernel-standard"}


@dataclass(frozen=True)
class Item:
    """One thing to fetch. suite: of apt, "" for the distribution's own; sources: text for an apt of its own, or ""."""

    name: str
    kind: str
    packages: tuple[str, ...]
    suite: str
    sources: str

    @property
    def title(self) -> str:
        return f"{_TITLES[self.kind]} named:{self.name}"

    def told(self, cache: Path) -> str:
        """What would be done, for people."""
        where = f" of {self.suite}" if self.suite else ""
        source = f" from {mirror_of(self.sources)}" if self.sources else ""
        beside = ", with what it needs beyond this host's" if self.kind == "qemu" else ""
        folder = named.folder_of(cache, self.kind, self.name)
        return f"{self.title}: {', '.join(self.packages)}{where}{source}{beside}, unpacked into {folder}, not installed"


@dataclass(frozen=True)
class Wish:
    """What becomes of the names that were asked for. there, lacks: sentences; what is here, what cannot be had here."""

    items: tuple[Item, ...]
    there: tuple[str, ...]
    lacks: tuple[str, ...]


@dataclass
class Fetched:
    """there: sentences about what came. failed: what did not come, and why."""

    there: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


def wish(asked: Sequence[str], cache: Path, root: Path = Path("/")) -> Wish:
    """What of the names `asked` (bench.wire.named) is here, is to be fetched, or is none of this distribution's."""
    items: list[Item] = []
    there: list[str] = []
    lacks: list[str] = []
    for name in asked:
        for kind in [kind for kind, known in NAMES.items() if name in known]:
            found = named.describe(cache, kind, name)
            if found:
                there.append(found)
                continue
            item = _item(name, kind, root)
            if isinstance(item, str):
                lacks.append(f"{_TITLES[kind]} named:{name}: {item}; name files instead ({kind}: PATH)")
            else:
                items.append(item)
    return Wish(tuple(items), tuple(there), tuple(lacks))


def _item(name: str, kind: str, root: Path) -> Item | str:
    """The thing to fetch, or why there is none."""
    distribution, release = family(root), os_release(root)
    called = release.get("PRETTY_NAME") or release.get("ID") or "this distribution"
    if not distribution:
        return f"no package is known for {called}"
    if name == "backports" and distribution != "debian":
        return f"{called} has no backports of it (Debian has)"
    wanted = tuple(names([_NEEDS[name, kind]], distribution))
    if MANAGERS[distribution] != "apt-get":
        return Item(name, kind, wanted, "", "")
    codename = release.get("VERSION_CODENAME", "")
    suite = f"{codename}-backports" if name == "backports" else ""
    extra = [suite] if suite else []
    sources = private_sources(sources_of(root), distribution, codename, architecture(), extra, root)
    if not codename or not sources:
        return f"apt on this host has no source of {codename or called}"
    return Item(name, kind, wanted, suite, sources)


def fetch(items: Sequence[Item], cache: Path, say: packages.Say = packages.to_stderr) -> Fetched:
    """Downloads and unpacks each item. What cannot be had is told, and the others are fetched all the same."""
    done = Fetched()
    for name in dict.fromkeys(item.name for item in items):
        _fetch_name([item for item in items if item.name == name], cache, say, done)
    return done


def _fetch_name(items: Sequence[Item], cache: Path, say: packages.Say, done: Fetched) -> None:
    """What has one name comes from one source, whose lists are read once."""
    folder = cache / "named"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as made:
        temp = Path(made)
        # apt drops to its own user, who must be able to enter.
        temp.chmod(0o755)
        try:
            apt = debs.open_apt(items[0].sources, temp / "apt", say) if items[0].sources else None
        except LabError as error:
            done.failed.append(_failed(items, error))
            return
        for item in items:
            try:
                done.there.append(_fetch_one(item, apt, temp / item.kind, cache, say))
            except LabError as error:
                done.failed.append(_failed([item], error))


def _failed(items: Sequence[Item], error: LabError) -> str:
    message, evidence = reason_of(error)
    return "\n".join([f"{', '.join(item.title for item in items)}: {message}", *(f"  | {line}" for line in evidence)])


def _fetch_one(item: Item, apt: debs.Apt | None, temp: Path, cache: Path, say: packages.Say) -> str:
    tree, staged = temp / "tree", temp / "staged"
    tree.mkdir(parents=True)
    for file in _downloaded(item, apt, temp / "packages", say):
        debs.unpack(file, tree)
    if item.kind == "kernel":
        stage(tree, staged)
    else:
        _stage_qemu(tree, staged)
    final = named.folder_of(cache, item.kind, item.name)
    final.parent.mkdir(exist_ok=True)
    if final.exists():
        # It was there and not usable, or nothing would have been fetched.
        shutil.rmtree(final)
    staged.rename(final)
    return named.describe(cache, item.kind, item.name)


def _downloaded(item: Item, apt: debs.Apt | None, folder: Path, say: packages.Say) -> list[Path]:
    if apt is None:
        folder.mkdir()
        argv = download_argv(item.packages, "fedora", folder, os.uname().machine)
        debs.run_step(argv, say, "packages could not be downloaded", folder)
        return sorted(folder.glob("*.rpm"))
    (package,) = item.packages
    wanted = apt.needed(package, item.suite) if item.kind == "qemu" else apt.kernel_packages(package, item.suite)
    return apt.download(wanted, folder)


def _stage_qemu(tree: Path, staged: Path) -> None:
    """The unpacked tree with a launcher in it, which must run here. Raises LabError."""
    program = named.qemu_program()
    if not (tree / "usr/bin" / program).is_file():
        raise LabError("", f"the package holds no {program}", (), sorted(path.name for path in tree.glob("usr/bin/*")))
    script = tree / program
    script.write_text(named.launcher(tree, program), encoding="utf-8")
    script.chmod(0o755)
    tree.rename(staged)
    if not qemu_version(str(staged / program)):
        _, lines = packages.run([str(staged / program), "--version"])
        raise LabError("", "the QEMU that was unpacked does not run here", [str(staged / program), "--version"], lines)
