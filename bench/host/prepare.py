"""Makes this host fit for guests: QEMU from packages, guest kernels and a second QEMU into the cache.

Says first what it would do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Optional

from bench.errors import MissingError
from bench.host import kernels, named_fetch, packages
from bench.host.guestfiles import chosen_kernel, chosen_qemu
from bench.host.kernels import Kernel
from bench.host.package_names import HOST, family


def prepare(args: Mapping[str, Any], cache: Path, root: Path = Path("/")) -> dict[str, Any]:
    """args: dry_run, become (bench.host.packages.BECOME), qemu, kernel, modules ("" for the host's own), and extra:
    what is wanted beside them (bench.wire.named).

    -> missing: needs that were not here, a guest kernel as "kernel". commands: the argvs that would be, or were, run.
    blocked: "" or the administrator's command, or a reason where there is none. reason: why it is blocked. installed:
    needs, [] for `dry_run`. kernel: as bench.host.kernels.Kernel, None where it is yet to be fetched. fetch: "" or what
    would be, or was, downloaded. extra, there, lacks, failed: sentences about what is wanted by name: what would be
    fetched, what is here, what this distribution does not have, what could not be had. Raises InputError for a named
    file that is none, before anything is installed; and, without `dry_run`, MissingError where it is blocked and
    LabError where a step fails. A second time it does nothing.
    """
    become = str(args.get("become", "none"))
    kernel = _kernel_here(args, cache, root)
    if args.get("qemu"):
        chosen_qemu(args)
    wish = named_fetch.wish(args.get("extra", ()), cache, root)
    fetching = kernel is None or bool(wish.items)
    needs = [need for need in HOST if (not args.get("qemu") if need == "qemu" else fetching)]
    told = _own(needs, become, kernel, root)
    told |= {"there": list(wish.there), "lacks": list(wish.lacks), "failed": []}
    told["extra"] = [item.told(cache) for item in wish.items]
    if args["dry_run"]:
        return told if kernel else {**told, **_would_fetch(cache, told, root)}
    told["installed"] = packages.install(needs, become, root=root)
    fetched = named_fetch.fetch(wish.items, cache)
    told |= {"there": [*wish.there, *fetched.there], "failed": fetched.failed}
    if kernel is None:
        own = kernels.fetch_kernel(cache, become, root=root)
        told |= {"kernel": asdict(own), "fetch": f"guest kernel {own.release} into {cache / 'kernels'}"}
    return told


def _own(needs: Sequence[str], become: str, kernel: Optional[Kernel], root: Path) -> dict[str, Any]:
    """What `prepare` tells of the host's own QEMU and kernel, before anything is done."""
    plan = packages.plan_of(needs, become, root)
    steps = plan["commands"]
    if kernel is None and not any("update" in argv for argv in steps):
        steps = [*packages.renewal(become, root), *steps]
    return {
        "missing": plan["missing"] + (["kernel"] if kernel is None else []),
        "commands": steps,
        "blocked": plan["admin"] or plan["blocked"],
        "reason": plan["blocked"],
        "installed": [],
        "kernel": asdict(kernel) if kernel else None,
        "fetch": "",
    }


def _kernel_here(args: Mapping[str, Any], cache: Path, root: Path) -> Optional[Kernel]:
    try:
        return chosen_kernel(args, cache, root)
    except MissingError:
        return None


def _would_fetch(cache: Path, told: Mapping[str, Any], root: Path) -> dict[str, str]:
    """What would be downloaded, or else what stands in the way; what was told before of that comes first."""
    try:
        wanted = kernels.wanted_packages(root)
        if not told["commands"]:
            wanted = kernels.current_packages(wanted, family(root))
    except MissingError as error:
        return {"blocked": told["blocked"] or error.command or error.message, "reason": told["reason"] or error.message}
    return {"fetch": f"{', '.join(wanted)}, unpacked into {cache / 'kernels'} and not installed"}
