"""Makes this host fit for guests: QEMU from packages, a guest kernel into the cache. Says first what it would do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Optional

from bench.errors import MissingError
from bench.host import kernels, packages
from bench.host.guestfiles import chosen_kernel, chosen_qemu
from bench.host.kernels import Kernel
from bench.host.package_names import HOST, family


def prepare(args: Mapping[str, Any], cache: Path, root: Path = Path("/")) -> dict[str, Any]:
    """args: dry_run, become (bench.host.packages.BECOME), and qemu, kernel, modules ("" for the host's own).

    -> missing: needs that were not here, a guest kernel as "kernel". commands: the argvs that would be, or were, run.
    blocked: "" or the administrator's command, or a reason where there is none. reason: why it is blocked. installed:
    needs, [] for `dry_run`. kernel: as bench.host.kernels.Kernel, None where it is yet to be fetched. fetch: "" or what
    would be, or was, downloaded. Raises InputError for a named file that is none, before anything is installed; and,
    without `dry_run`, MissingError where it is blocked and LabError where a step fails. A second time it does nothing.
    """
    become = str(args.get("become", "none"))
    kernel = _kernel_here(args, cache, root)
    if args.get("qemu"):
        chosen_qemu(args)
    needs = [need for need in HOST if _is_needed(need, args, kernel)]
    plan = packages.plan_of(needs, become, root)
    steps = plan["commands"]
    if kernel is None and not any("update" in argv for argv in steps):
        steps = [*packages.renewal(become, root), *steps]
    told = {
        "missing": plan["missing"] + (["kernel"] if kernel is None else []),
        "commands": steps,
        "blocked": plan["admin"] or plan["blocked"],
        "reason": plan["blocked"],
        "installed": [],
        "kernel": asdict(kernel) if kernel else None,
        "fetch": "",
    }
    if args["dry_run"]:
        return told if kernel else {**told, **_would_fetch(cache, told, root)}
    told["installed"] = packages.install(needs, become, root=root)
    if kernel is None:
        fetched = kernels.fetch_kernel(cache, become, root=root)
        told |= {"kernel": asdict(fetched), "fetch": f"guest kernel {fetched.release} into {cache / 'kernels'}"}
    return told


def _kernel_here(args: Mapping[str, Any], cache: Path, root: Path) -> Optional[Kernel]:
    try:
        return chosen_kernel(args, cache, root)
    except MissingError:
        return None


def _is_needed(need: str, args: Mapping[str, Any], kernel: Optional[Kernel]) -> bool:
    """QEMU where none is named; what fetches a kernel where none is here."""
    return not args.get("qemu") if need == "qemu" else kernel is None


def _would_fetch(cache: Path, told: Mapping[str, Any], root: Path) -> dict[str, str]:
    """What would be downloaded, or else what stands in the way; what was told before of that comes first."""
    try:
        wanted = kernels.wanted_packages(root)
        if not told["commands"]:
            wanted = kernels.current_packages(wanted, family(root))
    except MissingError as error:
        return {"blocked": told["blocked"] or error.command or error.message, "reason": told["reason"] or error.message}
    return {"fetch": f"{', '.join(wanted)}, unpacked into {cache / 'kernels'} and not installed"}
