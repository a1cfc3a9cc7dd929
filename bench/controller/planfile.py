"""The form of a plan file, and the way from a document to a `Plan` with every problem on the way."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import Field

from bench.controller.again import read_same
from bench.controller.arms import read_against, read_arms
from bench.controller.cells import (
    SMALLEST_GUEST_BYTES,
    Cell,
    GuestMemory,
    Vcpus,
    crowded,
    read_cells,
    unfit,
    unknown_arms,
)
from bench.controller.change import Change, read_change, unfit_names
from bench.controller.conditions import QUIET, QuietModel, SwapModel, quiet_of, read_tune
from bench.controller.gatefile import Gate, read_gate
from bench.controller.interests import Interest, read_metrics, read_pareto
from bench.controller.looks import blocks_of, read_looks
from bench.controller.programs import Program, read_programs
from bench.controller.quantities import Name, Seconds
from bench.controller.yamlfile import Document, Problem, Strict, check, valid_names
from bench.wire.job import Arm, Quiet
from bench.wire.units import MIB, show_bytes

# Keys whose value in a file is that of the plan.
SAME = (
    "name", "question", "variant", "blocks", "min_blocks", "retries", "sample_hz", "accel", "seed",
    "parallel", "qmp_hz", "budget_s",
)  # fmt: skip


class GuestModel(Strict):
    """`guest:` of a plan."""

    memory: GuestMemory = Field(default=512 * MIB, description="a size of 256M or more, as in 512M")
    vcpus: Vcpus = Field(default=1, description="a whole number of CPUs from 1 on, as in 2")
    machine: Literal["q35", "pc", "virt"] = Field(default="q35", description="a machine type of QEMU, as in q35")


class PlanModel(Strict):
    """The file. Lists and variants are checked entry by entry elsewhere."""

    name: Name = Field(description="a name for this plan, as in quick")
    question: str = Field(default="", description="the question that this plan answers, in quotes")
    reference: str = Field(default="", description="the name of the arm that others are compared with, as in none")
    arms: list[Any] = Field(min_length=1, description="a list of arms, as in [none, reporting]")
    workloads: list[Any] = Field(min_length=1, description="a list of workloads, as in [cycle]")
    blocks: int = Field(default=10, ge=1, le=1000, description="a whole number from 1 to 1000, as in 10")
    looks: Any = Field(
        default=[],
        description="numbers of blocks after which a cell may be decided, as in [6, 10, 15, 20, 30], or default: these",
    )
    budget_s: Seconds | None = Field(
        default=None, description="seconds after which a host begins no other block, as in 3600, or null"
    )
    min_blocks: int = Field(default=3, ge=1, le=1000, description="a whole number from 1 to 1000, as in 3")
    retries: int = Field(default=1, ge=0, le=10, description="a whole number from 0 to 10, as in 1")
    sample_hz: float = Field(default=20.0, ge=1, le=200, description="a number from 1 to 200, as in 20")
    qmp_hz: float = Field(
        default=0.0, ge=0, le=200, description="a number from 0 to 200, questions to QEMU's monitor a second, as in 20"
    )
    guest: GuestModel = Field(
        default=GuestModel(), description="a mapping with memory, vcpus or machine, as in {memory: 1G}"
    )
    parallel: int = Field(
        default=32, ge=1, le=1000, description="a whole number from 1 to 1000, hosts at work at once, as in 32"
    )
    tune: Any = Field(default=False, description="true, false, or a list of settings, as in [governor, thp]")
    swap: SwapModel = Field(
        default=SwapModel(), description="a mapping with the swap that the plan's guests need, as in {file: 2G}"
    )
    quiet: QuietModel = Field(
        default=QuietModel(), description="a mapping with what to wait for before a boot, as in {busy: 10%}"
    )
    metrics: dict[str, Any] = Field(
        min_length=1, description="a mapping from metric to margin, as in {residual_bytes: {margin: 5%}}"
    )
    programs: list[Any] = Field(
        default=[], description="a list of programs of this machine that guests get, as in [xz]"
    )
    pareto: list[Any] = Field(
        default=[], description="a list of pairs of metrics, as in [[residual_bytes, qemu_cpu_s]]"
    )
    change: Any = Field(
        default=None, description="a mapping with a base and a head of every arm, as in {head: {qemu: /opt/bin/qemu}}"
    )
    gate: Any = Field(
        default=None, description="a mapping with the rules of bench gate, as in {rules: [{metric: residual_bytes}]}"
    )
    variants: dict[str, Any] = Field(
        default={}, description="a mapping from variant to what it changes, as in {lab: {blocks: 20}}"
    )
    variant: str = Field(default="", description="the variant that a resolved plan came from, as in lab")
    accel: Literal["auto", "kvm", "tcg"] = Field(default="auto", description="auto, kvm or tcg")
    seed: int | None = Field(default=None, ge=0, description="a whole number from 0 on, as in 1")


@dataclass(frozen=True)
class GuestShape:
    """The virtual machine, as far as the plan says it."""

    memory_bytes: int
    vcpus: int
    machine: str


@dataclass(frozen=True)
class Plan:
    """A plan resolved for one run. metrics: ordered, the first is the one of the verdict. seed None: to be chosen.

    parallel: hosts at work at once. tune: names of bench.wire.setting.NAMES. quiet: asked of a host before each boot.
    looks: complete blocks at which a cell may be decided, rising, the last one is `blocks`; () for a fixed number.
    looks_left_out: those of a plan of which all blocks are wanted, to see what they would have done.
    budget_s: seconds after which a host begins no other block, None for no limit.
    swap_file_bytes: of the swap file that a host makes for the run, 0 for none.
    against: arm -> the one that it is compared with, where that is not the reference. pareto: pairs of metrics.
    same_as: arm -> the one that it repeats and is compared with (A/A). change: base and head; then arms are the copies,
    and `written` is the plan before they were made.
    """

    name: str
    question: str
    reference: str
    arms: tuple[Arm, ...]
    cells: tuple[Cell, ...]
    blocks: int
    min_blocks: int
    retries: int
    sample_hz: float
    guest: GuestShape
    metrics: dict[str, Interest]
    accel: str = "auto"
    seed: int | None = None
    variant: str = ""
    parallel: int = 32
    tune: tuple[str, ...] = ()
    quiet: Quiet = QUIET
    swap_file_bytes: int = 0
    against: dict[str, str] = field(default_factory=dict)
    pareto: tuple[tuple[str, str], ...] = ()
    programs: tuple[Program, ...] = ()
    qmp_hz: float = 0.0
    looks: tuple[int, ...] = ()
    looks_left_out: tuple[int, ...] = field(default=(), compare=False)
    budget_s: float | None = None
    same_as: dict[str, str] = field(default_factory=dict)
    change: Change | None = None
    gate: Gate | None = None
    written: Plan | None = None
    document: Document = field(default=Document({}, {}), compare=False, repr=False)

    def guest_of(self, cell: Cell) -> GuestShape:
        """The guest of a cell: the plan's, with what the cell says of its own."""
        plan = self.guest
        return GuestShape(cell.memory_bytes or plan.memory_bytes, cell.vcpus or plan.vcpus, plan.machine)

    def arms_of(self, cell: Cell) -> tuple[Arm, ...]:
        """The arms that run a cell: those that it names with the ones that they are compared with, or all."""
        if not cell.arms:
            return self.arms
        wanted = {*cell.arms, *(self.reference_of(arm) for arm in cell.arms)}
        return tuple(arm for arm in self.arms if arm.name in wanted)

    def reference_of(self, arm: str) -> str:
        """The arm that this one is compared with."""
        return self.same_as.get(arm) or self.against.get(arm) or self.reference

    def cell(self, name: str) -> Cell:
        """The cell called so. Raises KeyError."""
        return {cell.name: cell for cell in self.cells}[name]


def spelled_out(document: Document) -> Document:
    """The document with arms and workloads that are only a name written as mappings, so that keys can be laid over."""
    if not isinstance(document.value, dict):
        return document
    value, places = dict(document.value), dict(document.places)
    for section, keys in (("arms", ("name", "like")), ("workloads", ("workload",))):
        entries = value.get(section)
        if not isinstance(entries, list):
            continue
        value[section] = [dict.fromkeys(keys, entry) if isinstance(entry, str) else entry for entry in entries]
        for index, entry in enumerate(entries):
            if isinstance(entry, str):
                place = document.place((section, index))
                places.update({(section, index, key): place for key in keys})
    return Document(value, places, document.problems)


# Keys that are read by themselves, each by its own reader.
_PARTS: dict[str, Any] = {
    "metrics": read_metrics,
    "tune": read_tune,
    "pareto": read_pareto,
    "programs": read_programs,
    "change": read_change,
    "looks": read_looks,
    "gate": read_gate,
}


def build(document: Document) -> tuple[Plan | None, list[Problem]]:
    """The plan in a document without regard to its variants, or None, and everything that is wrong with it."""
    document = spelled_out(document)
    model, problems = check(document, PlanModel)
    problems += document.problems
    if not isinstance(document.value, dict):
        return None, problems
    arms, wrong_arms = read_arms(document)
    cells, wrong_cells = read_cells(document)
    parts: dict[str, tuple[Any, list[Problem]]] = {name: reader(document) for name, reader in _PARTS.items()}
    problems += [*wrong_arms, *wrong_cells, *(problem for _, wrong in parts.values() for problem in wrong)]
    against: dict[str, str] = {}
    if not wrong_arms and arms:
        problems += _reference(document, arms)
        against, wrong_pairs = read_against(document, str(document.value.get("reference") or arms[0].name), arms)
        problems += wrong_pairs
        names = [arm.name for arm in arms]
        problems += unknown_arms(document, cells, names) if not wrong_cells else []
        problems += unfit_names(document, names) if document.value.get("change") else []
    given = "guest" in document.value
    guest = check(document, GuestModel, ("guest",))[0] if given else GuestModel()
    if guest:
        problems += [*_fits(document, cells, guest), *_halves(document, cells, arms, guest)]
    if model is None or problems:
        return None, problems
    same = {name: getattr(model, name) for name in SAME}
    read = {name: value for name, (value, _) in parts.items()}
    read |= blocks_of(model.blocks if "blocks" in document.value else None, read["looks"], model.blocks)
    return Plan(
        **{**same, **read},
        reference=model.reference or arms[0].name,
        arms=arms,
        cells=tuple(cell for cell in cells if not cell.skip),
        guest=GuestShape(model.guest.memory, model.guest.vcpus, model.guest.machine),
        quiet=quiet_of(model.quiet),
        swap_file_bytes=model.swap.file or 0,
        against=against,
        same_as=read_same(document),
        document=document,
    ), []


def _reference(document: Document, arms: tuple[Arm, ...]) -> list[Problem]:
    names, given = [arm.name for arm in arms], document.value.get("reference")
    if not isinstance(given, str) or given in ("", *names):
        return []
    return [document.problem(("reference",), f"{given!r} is no arm of this plan; {valid_names(given, names)}")]


def _fits(document: Document, cells: tuple[Cell, ...], guest: GuestModel) -> list[Problem]:
    found = []
    if cells and all(cell.skip for cell in cells):
        found.append(document.problem(("workloads",), "every workload is left out (skip: true); keep one"))
    for cell in cells:
        reasons = (unfit(cell, guest.memory), crowded(cell, guest.vcpus))
        found += [document.problem(("workloads", _index(document, cell)), reason) for reason in reasons if reason]
    return found


def _halves(document: Document, cells: tuple[Cell, ...], arms: tuple[Arm, ...], guest: GuestModel) -> list[Problem]:
    """Guests that boot with half of their memory (bench.wire.job.Job.ram_parts) and are too small for that."""
    found = []
    for cell in cells:
        size = cell.memory_bytes or guest.memory
        halved = [arm.name for arm in arms if arm.give == "virtio-mem" and (not cell.arms or arm.name in cell.arms)]
        if halved and size < 2 * SMALLEST_GUEST_BYTES:
            least = show_bytes(2 * SMALLEST_GUEST_BYTES)
            what = f"a guest of {show_bytes(size)} boots with half of it in arm {halved[0]}; give it {least} or more"
            found.append(document.problem(("workloads", _index(document, cell)), what))
    return found


def _index(document: Document, cell: Cell) -> int:
    entries = [entry if isinstance(entry, dict) else {} for entry in document.value["workloads"]]
    return [entry.get("name") or entry.get("workload") for entry in entries].index(cell.name)


def without_variants(document: Document) -> Document:
    """The document without `variants:`, which has no meaning once one of them was picked."""
    if not isinstance(document.value, dict):
        return document
    value = {key: item for key, item in document.value.items() if key != "variants"}
    return dataclasses.replace(document, value=value)
