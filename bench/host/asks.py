"""Answers to what is no boot of a plan: `resolve` (what would a guest run with here?), `prepare` and `doctor`.

The same functions serve the local machine and a remote one: they run in the host side, where QEMU is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Optional

from bench.errors import InputError, LabError, MissingError
from bench.host import canary, doctor, kernels, kvm, packages
from bench.host.canary import Boot
from bench.host.facts import host_facts
from bench.host.initrd import check_kernel
from bench.host.kernels import Kernel
from bench.host.readers import available_bytes
from bench.wire.cache import cache_folder
from bench.wire.codec import to_json
from bench.wire.job import Ask, Paths

Args = Mapping[str, Any]


def answer(ask: Ask, boot: Boot) -> dict[str, Any]:
    """The reply to an Ask. Raises BenchError; `boot` runs one job and gives its records to a callable."""
    handlers = {"resolve": _resolve, "prepare": _prepare, "doctor": _doctor}
    if ask.what not in handlers:
        raise InputError(f"unknown question {ask.what!r}; known: {', '.join(handlers)}")
    return handlers[ask.what](ask.args, boot)


def _resolve(args: Args, boot: Boot) -> dict[str, Any]:
    """args: qemu, kernel, modules ("" for the host's own), accel, image. -> paths, accel, kvm, versions, memory."""
    qemu, version = _qemu(args)
    kernel = _kernel(args)
    paths = Paths(qemu, kernel.image, kernel.modules, args["image"])
    accel, found = _accel(args["accel"], paths, version, boot)
    return {
        "paths": to_json(paths),
        "accel": accel,
        "kvm": asdict(found) if found else None,
        "qemu_version": version,
        "guest_kernel": kernel.release,
        "available_bytes": available_bytes(),
        "host_facts": host_facts(),
    }


def _qemu(args: Args) -> tuple[str, str]:
    """Path and version. Raises InputError for a named one that does not run, MissingError when there is none."""
    qemu = packages.find_qemu(args["qemu"])
    version = doctor.qemu_version(qemu) if qemu else ""
    if version:
        return qemu, version
    if args["qemu"]:
        raise InputError(f"{args['qemu']} is no QEMU that runs; name a qemu-system binary", "qemu")
    raise MissingError("QEMU is not installed", "bench prepare local")


def _kernel(args: Args) -> Kernel:
    """The guest kernel, looked at. Raises InputError for a named file that is none, MissingError."""
    for key, exists in (("kernel", Path.is_file), ("modules", Path.is_dir)):
        if args[key] and not exists(Path(args[key])):
            raise InputError(f"{args[key]} is not there; name a {key} path on the host", key)
    kernel = kernels.find_kernel(cache_folder(), args["kernel"], args["modules"])
    try:
        check_kernel(kernel.image)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{kernel.image}: {error}; name a bzImage, an ELF vmlinux or an arm64 Image", "kernel"
        ) from error
    return kernel


def _accel(wanted: str, paths: Paths, version: str, boot: Boot) -> tuple[str, Optional[kvm.KvmAnswer]]:
    """The accelerator to use: as told, or KVM if a canary guest really boots under it."""
    if wanted == "tcg":
        return "tcg", None
    found = _probe(paths, version, boot, fresh=False)
    if wanted == "kvm" and not found.usable:
        raise LabError("local", f"accel: kvm was asked for, but {found.reason}", evidence=found.evidence)
    return found.accel, found


def _probe(paths: Paths, version: str, boot: Boot, *, fresh: bool) -> kvm.KvmAnswer:
    def ready(accel: str) -> float:
        return canary.seconds_to_ready(accel, paths, boot)

    return kvm.probe_kvm(ready, cache_folder(), version, fresh=fresh)


def _prepare(args: Args, boot: Boot) -> dict[str, Any]:  # noqa: ARG001 - one signature for all
    """args: dry_run, kernel, modules. Installs QEMU and fetches a guest kernel where either is missing."""
    dry_run = bool(args["dry_run"])
    installed = packages.install(packages.HOST, dry_run=dry_run)
    try:
        kernel: Optional[Kernel] = _kernel(args)
        fetched = False
    except MissingError:
        kernel, fetched = kernels.fetch_kernel(cache_folder(), dry_run=dry_run), True
    return {"installed": installed, "kernel": asdict(kernel) if kernel else None, "fetched": fetched}


def _doctor(args: Args, boot: Boot) -> dict[str, Any]:
    """args as of resolve. -> findings; what is missing is a finding too. Boots canaries where it can."""
    try:
        qemu, version = _qemu(args)
    except MissingError:
        qemu = version = ""
    try:
        kernel: Optional[Kernel] = _kernel(args)
    except MissingError:
        kernel = None
    found = seen = None
    if version and kernel:
        paths = Paths(qemu, kernel.image, kernel.modules, args["image"])
        if args["accel"] != "tcg":
            found = _probe(paths, version, boot, fresh=True)
        seen = canary.discards(found.accel if found else "tcg", paths, boot)
    probes = doctor.Probes(qemu, version, kernel, found, seen, args.get("need_bytes", 0))
    return {"findings": [asdict(finding) for finding in doctor.examine(probes)]}
