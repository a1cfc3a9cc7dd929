"""Plans: one question each, as a file of arms × workloads, read, checked, and resolved for one accelerator.

`load_plan` reads a shipped plan or a file and checks it with every variant; `resolve` picks the variant and lays the
options of the command line over it. A resolved `Plan` can be written with `dump_plan` and read again to an equal one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Protocol, TypeVar

import yaml

from bench.controller.arms import arm_entry
from bench.controller.cells import Cell, cell_entry
from bench.controller.change import change_entry
from bench.controller.conditions import quiet_entry
from bench.controller.gatefile import gate_entry
from bench.controller.interests import Interest
from bench.controller.inventory import Host
from bench.controller.options import NOT_IN_A_VARIANT, Options, settings
from bench.controller.overlay import overlay
from bench.controller.planfile import SAME, GuestShape, Plan, build, spelled_out, without_variants
from bench.controller.programs import program_entry
from bench.controller.sides import place_of, with_sides
from bench.controller.yamlfile import Document, KeyPath, Place, Problem, parse, raise_problems, read, valid_names
from bench.errors import InputError
from bench.wire.job import Arm
from bench.wire.units import MIB, show_bytes

__all__ = [
    "Arm", "Cell", "GuestShape", "Interest", "Options", "Plan", "PlanFile",
    "arm_error", "check_cpus", "check_memory", "dump_plan", "load_plan", "plan_error", "precheck", "resolve",
    "shipped_plans",
]  # fmt: skip

VARIANT_OF = {"tcg": "emulated", "kvm": "lab"}
# What QEMU needs beside the guest's memory: about 105 MiB resident were measured with 7.2 under TCG.
QEMU_OWN_BYTES = 128 * MIB
_NO_OPTIONS = Options()


@dataclass(frozen=True)
class PlanFile:
    """A plan as written, checked with each of its variants, but not yet resolved for an accelerator."""

    document: Document

    @property
    def variants(self) -> tuple[str, ...]:
        """Names of the variants, in the file's order."""
        return _variants(self.document)


def shipped_plans() -> dict[str, str]:
    """The shipped plans: question by name, sorted by name."""
    files = sorted(_shipped_files())
    return {name: resolve(load_plan(name), "auto").question for name in files}


def load_plan(name_or_path: str) -> PlanFile:
    """A shipped plan by its name, or the plan in a file (with a / or .yaml in it), checked with every variant.

    Raises InputError: no such plan, or every problem of the file.
    """
    shipped = _shipped_files()
    if "/" in name_or_path or name_or_path.endswith((".yaml", ".yml")):
        document = read(Path(name_or_path), name_or_path)
    elif name_or_path in shipped:
        document = parse(shipped[name_or_path], f"bench/plans/{name_or_path}.yaml")
    else:
        names = valid_names(name_or_path, sorted(shipped))
        raise InputError(f"no plan is called {name_or_path!r}; {names}; a file needs a / or .yaml in its name")
    document = spelled_out(document)
    problems = build(document)[1]
    for variant in _variants(document):
        problems += _variant_problems(document, variant)
    raise_problems(problems)
    return PlanFile(document)


def resolve(file: PlanFile, accel: str, options: Options = _NO_OPTIONS) -> Plan:
    """The plan to run. accel "kvm" or "tcg" picks its variant (VARIANT_OF) if the plan has it and no option names one.

    accel "auto" picks none. Raises InputError; what an option did wrong is named by the option.
    """
    picked = options.variant or VARIANT_OF.get(accel, "")
    if options.variant and options.variant not in file.variants:
        names = (
            valid_names(options.variant, file.variants) if file.variants else "this plan has no variants; leave it out"
        )
        raise InputError(f"--variant: unknown variant {options.variant!r}; {names}")
    document = without_variants(file.document)
    if picked in file.variants:
        document = overlay(document, file.document.sub(("variants", picked)))
        document.value["variant"] = picked
    for above in settings(options):
        document = overlay(spelled_out(document), above)
    plan, problems = build(document)
    raise_problems(problems)
    assert plan is not None
    if options.full:
        plan = dataclasses.replace(plan, looks=(), looks_left_out=plan.looks, budget_s=None)
    return with_sides(_select(plan, options))


def precheck(file: PlanFile, options: Options) -> None:
    """Raises InputError when the options fit neither KVM nor TCG: to be found before anything boots to probe KVM."""
    for accel in VARIANT_OF:
        try:
            resolve(file, accel, options)
        except InputError as error:
            found = error
        else:
            return
    raise found


def check_memory(plan: Plan, host: Host, available_bytes: int) -> None:
    """Raises InputError with the arithmetic when a guest of the plan needs more than the host can give.

    available_bytes: the host's MemAvailable. The host's `memory` in hosts.yaml limits it further.
    """
    free, why = available_bytes, "free (MemAvailable)"
    if host.memory_bytes is not None and host.memory_bytes < available_bytes:
        free, why = host.memory_bytes, "for guests (memory in its entry of hosts.yaml)"
    path, wanted = _largest(plan)
    needed = wanted + QEMU_OWN_BYTES
    if needed > free:
        most = max(0, free - QEMU_OWN_BYTES) // MIB
        raise plan_error(
            plan,
            path,
            f"{show_bytes(wanted)} for the guest + {show_bytes(QEMU_OWN_BYTES)} for QEMU = "
            f"{show_bytes(needed)}, but host {host.name} has {show_bytes(free)} {why}; write at most {most}M",
        )


def _largest(plan: Plan) -> tuple[KeyPath, int]:
    """Where the largest guest of a plan is said, and its bytes."""
    largest = max(plan.cells, key=lambda cell: plan.guest_of(cell).memory_bytes)
    if largest.memory_bytes is None:
        return ("guest", "memory"), plan.guest.memory_bytes
    names = [entry.get("name") or entry.get("workload") for entry in plan.document.value["workloads"]]
    return ("workloads", names.index(largest.name), "memory"), largest.memory_bytes


def check_cpus(plan: Plan, host: Host) -> None:
    """Raises InputError when a guest of the plan has more vCPUs than the host has CPUs for guests (if it names any)."""
    given, needed = len(host.guest_cpus), max(plan.guest_of(cell).vcpus for cell in plan.cells)
    if 0 < given < needed:
        have = "1 CPU" if given == 1 else f"{given} CPUs"
        raise host.error(
            "guest_cpus",
            f"{have} for guests, but those of plan {plan.name!r} have {needed} vCPUs, each on a CPU of its own; "
            f"name {needed} here, or write guest: {{vcpus: {given}}} in the plan",
        )


def plan_error(plan: Plan, path: KeyPath, message: str) -> InputError:
    """An InputError at a key of the plan's file, for what only the host can tell."""
    return InputError(str(plan.document.problem(path, message)))


def arm_error(plan: Plan, arm: str, key: str, message: str) -> InputError:
    """An InputError at an arm's key: a kernel file that is no kernel, a QEMU that is not there."""
    return plan_error(plan, place_of(plan, arm, key), message)


def dump_plan(plan: Plan) -> str:
    """The plan as a file without variants; loaded and resolved again it is equal to `plan`."""
    own = plan.written or plan
    content: dict[str, Any] = {**{name: getattr(plan, name) for name in SAME}, "reference": own.reference}
    content["looks"] = list(plan.looks)
    content |= {"tune": list(plan.tune), "quiet": quiet_entry(plan.quiet)}
    content["swap"] = {"file": plan.swap_file_bytes or None}
    content["guest"] = {
        "memory": plan.guest.memory_bytes,
        "vcpus": plan.guest.vcpus,
        "machine": plan.guest.machine,
    }
    content["arms"] = [_arm_entry(own, arm) for arm in own.arms]
    content["workloads"] = [cell_entry(cell) for cell in own.cells]
    content["programs"] = [program_entry(program) for program in plan.programs]
    content["pareto"] = [list(pair) for pair in plan.pareto]
    content["change"] = change_entry(plan.change)
    content["gate"] = gate_entry(plan.gate, [cell.name for cell in own.cells], [arm.name for arm in own.arms])
    content["metrics"] = {name: {"margin": interest.margin} for name, interest in plan.metrics.items()}
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)


def _arm_entry(plan: Plan, arm: Arm) -> str | dict[str, Any]:
    if arm.name in plan.same_as:
        return {"name": arm.name, "same_as": plan.same_as[arm.name]}
    entry, other = arm_entry(arm), plan.against.get(arm.name)
    if other is None:
        return entry
    return {**({"name": entry, "like": entry} if isinstance(entry, str) else entry), "against": other}


def _shipped_files() -> dict[str, bytes]:
    folder = resources.files("bench") / "plans"
    return {file.name[:-5]: file.read_bytes() for file in folder.iterdir() if file.name.endswith(".yaml")}


def _variants(document: Document) -> tuple[str, ...]:
    variants = document.value.get("variants") if isinstance(document.value, dict) else None
    return tuple(variants) if isinstance(variants, dict) else ()


def _variant_problems(document: Document, variant: str) -> list[Problem]:
    path: KeyPath = ("variants", variant)
    above = document.sub(path)
    if not isinstance(above.value, dict):
        return [document.problem(path, "no mapping; write what this variant changes, as in {blocks: 20}")]
    wrong = [key for key in above.value if key in NOT_IN_A_VARIANT]
    problems = [document.problem((*path, key), "a variant cannot change this; remove it") for key in wrong]
    return problems + build(overlay(without_variants(document), above))[1]


class _Named(Protocol):
    @property
    def name(self) -> str: ...


N = TypeVar("N", bound=_Named)


def _select(plan: Plan, options: Options) -> Plan:
    # Without the reference nothing could be compared, so it stays.
    others = (plan.reference_of(name) for name in options.arms)
    arms = _chosen("--arm", "arm", plan.arms, (*options.arms, *others))
    names = [arm.name for arm in arms]
    return dataclasses.replace(
        plan,
        arms=arms,
        reference=plan.reference if plan.reference in names else names[0],
        against={arm: other for arm, other in plan.against.items() if arm in names},
        same_as={arm: other for arm, other in plan.same_as.items() if arm in names},
        cells=_with_arms(_chosen("--workload", "workload", plan.cells, options.workloads), names),
    )


def _with_arms(cells: tuple[Cell, ...], names: Sequence[str]) -> tuple[Cell, ...]:
    """The cells, each with those of its own arms that were selected; without one whose arms were all left out."""
    found = []
    for cell in cells:
        arms = tuple(arm for arm in cell.arms if arm in names)
        if arms or not cell.arms:
            found.append(dataclasses.replace(cell, arms=arms))
    if not found:
        raise InputError(f"--arm: no workload of this plan runs with only {', '.join(names)}; name other arms")
    return tuple(found)


def _chosen(option: str, kind: str, entries: tuple[N, ...], names: Sequence[str]) -> tuple[N, ...]:
    known = [entry.name for entry in entries]
    raise_problems(
        Problem(Place(option, 0), f"unknown {kind} {name!r}; {valid_names(name, known)}")
        for name in names
        if name not in known
    )
    return tuple(entry for entry in entries if not names or entry.name in names)
