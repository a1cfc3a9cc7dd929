"""Answers to what is no boot of a plan: `resolve` (what would a guest run with here?), `means` (can groups of guests be
run here?), `prepare`, `doctor` and `tune`.

The same functions serve the local machine and a remote one: they run in the host side, where QEMU is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Optional

from bench.errors import InputError, LabError, MissingError
from bench.host import canary, doctor, findings_room, kvm, named, packages
from bench.host.canary import Boot
from bench.host.cpus import check_placement
from bench.host.facts import host_facts
from bench.host.guestfiles import check_scratch, chosen_kernel, chosen_qemu
from bench.host.journal import Journal
from bench.host.journal import default_path as journal_path
from bench.host.keeper import tune_answer
from bench.host.kernels import Kernel
from bench.host.lock import default_path, holder
from bench.host.means import means
from bench.host.package_probes import find_qemu
from bench.host.prepare import prepare
from bench.host.readers import available_bytes
from bench.wire.cache import cache_folder
from bench.wire.codec import to_json
from bench.wire.finding import Finding
from bench.wire.job import Ask, Paths

Args = Mapping[str, Any]


def answer(ask: Ask, boot: Boot, root: Path = Path("/")) -> dict[str, Any]:
    """The reply to an Ask. Raises BenchError; `boot` runs one job and gives its records to a callable. root: of `tune`.

    It may take minutes (packages), and is finished when the controller is gone: half of it helps nobody.
    """
    folder = cache_folder()
    handlers: dict[str, Callable[[], dict[str, Any]]] = {
        "resolve": lambda: resolve(ask.args, boot, folder),
        "means": lambda: means(ask.args, folder, root),
        "prepare": lambda: prepare(ask.args, folder),
        "doctor": lambda: examine(ask.args, boot, folder),
        "tune": lambda: tune_answer(ask.args, root),
    }
    if ask.what not in handlers:
        raise InputError(f"unknown question {ask.what!r}; known: {', '.join(handlers)}")
    return handlers[ask.what]()


def resolve(args: Args, boot: Boot, cache: Path, root: Path = Path("/")) -> dict[str, Any]:
    """args: qemu, kernel, modules ("" for the host's own), accel, image; as the host's entry has them, guest_cpus and
    sampler_cpus (lists), numa_node (None or a number), scratch. -> paths, accel, kvm, versions, memory, facts.
    """
    _check(args, root)
    args = named.resolved(args, cache)
    qemu, version = chosen_qemu(args)
    kernel = chosen_kernel(args, cache, root)
    paths = Paths(qemu, kernel.image, kernel.modules, args["image"])

    def probe() -> kvm.KvmAnswer:
        return kvm.probe_kvm(_ready(paths, boot), cache, version, root=root)

    accel, found = _accel(args["accel"], probe)
    return {
        "paths": to_json(paths),
        "accel": accel,
        "kvm": asdict(found) if found else None,
        "qemu_version": version,
        "guest_kernel": kernel.release,
        "available_bytes": available_bytes(),
        "host_facts": host_facts(root),
    }


def _check(args: Args, root: Path) -> None:
    check_placement(args, root)
    check_scratch(args.get("scratch") or "")


def _ready(paths: Paths, boot: Boot) -> Callable[[str], float]:
    return lambda accel: canary.seconds_to_ready(accel, paths, boot)


def _accel(wanted: str, probe: Callable[[], kvm.KvmAnswer]) -> tuple[str, Optional[kvm.KvmAnswer]]:
    """The accelerator to use: as told, or KVM if a canary guest really boots under it."""
    if wanted == "tcg":
        return "tcg", None
    found = probe()
    if wanted == "kvm" and not found.usable:
        raise LabError("", f"accel: kvm was asked for, but {found.reason}", evidence=found.evidence)
    return found.accel, found


def examine(args: Args, boot: Boot, cache: Path, root: Path = Path("/")) -> dict[str, Any]:
    """args as of resolve, and become, need_bytes. -> findings; what is missing is a finding too.

    Boots canaries where it can, but none while somebody has the host: they would disturb a measurement.
    """
    _check(args, root)
    try:
        qemu, version = chosen_qemu(args)
    except MissingError:
        qemu, version = find_qemu(), ""
    kernel: Optional[Kernel] = None
    with contextlib.suppress(MissingError):
        kernel = chosen_kernel(args, cache, root)
    in_use = _in_use(default_path(root))
    found = seen = None
    if version and kernel and in_use.severity == "ok":
        paths = Paths(qemu, kernel.image, kernel.modules, args["image"])
        if args["accel"] != "tcg":
            found = kvm.probe_kvm(_ready(paths, boot), cache, version, root=root, fresh=True)
        seen = canary.discards(found.accel if found else "tcg", paths, boot)
    elif version:
        found = kvm.read_cached(cache, version, root)
    become = str(args.get("become", "none"))
    state = (
        findings_room.room(cache),
        findings_room.rights(become, packages.root_prefix(become), packages.why_not_root(become)),
        in_use,
        _tuned(held=in_use.severity == "warn"),
    )
    probes = doctor.Probes(qemu, version, kernel, found, seen, args.get("need_bytes", 0), args, state)
    return {"findings": [to_json(finding) for finding in doctor.examine(probes, root)]}


def _in_use(lock: Path) -> Finding:
    try:
        return findings_room.in_use(holder(lock))
    except LabError as error:
        return findings_room.in_use(None, error.message)


def _tuned(*, held: bool) -> Finding:
    try:
        journal = Journal(journal_path())
    except LabError as error:
        return findings_room.tuned(None, held, error.message)
    return findings_room.tuned(journal.entries, held, "; ".join(journal.problems))
