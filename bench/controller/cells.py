"""The workloads of a plan: each entry names one of the catalog and sets its parameters, within the catalog's ranges."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema, create_model

from bench.controller.quantities import (
    SECONDS_SCHEMA,
    SHARE_SCHEMA,
    SIZE_SCHEMA,
    Name,
    Size,
    read_count,
    read_seconds,
    read_share,
    read_size,
)
from bench.controller.yamlfile import Document, KeyPath, Problem, Strict, check, valid_names
from bench.wire.units import MIB, show_bytes
from workloads.catalog import WORKLOADS
from workloads.shape import Parameter

SMALLEST_GUEST_BYTES = 256 * MIB
GuestMemory = Annotated[Size, Field(ge=SMALLEST_GUEST_BYTES, multiple_of=2 * MIB)]
Vcpus = Annotated[int, Field(ge=1, le=1024)]


@dataclass(frozen=True)
class Cell:
    """A workload with every parameter, in base units. `name` is the workload's, unless the plan gave another.

    memory_bytes, vcpus: of its guest; None: as the plan's `guest:` says. arms: the only ones that run it, () for all.
    skip: left out of the run; what a variant says of a workload that only the others have.
    """

    name: str
    workload: str
    params: dict[str, Any]
    memory_bytes: int | None = None
    vcpus: int | None = None
    arms: tuple[str, ...] = ()
    skip: bool = False


def read_cells(document: Document) -> tuple[tuple[Cell, ...], list[Problem]]:
    """The cells of a plan whose entries are all mappings (`spelled_out`), and everything that is wrong with them."""
    entries = document.value.get("workloads")
    cells: list[Cell] = []
    problems: list[Problem] = []
    for index in range(len(entries) if isinstance(entries, list) else 0):
        cell, wrong = _read(document, ("workloads", index))
        problems += wrong
        if cell and any(cell.name == other.name for other in cells):
            message = f"two workloads are called {cell.name!r}; give one another name: name: {cell.name}-2"
            problems.append(document.problem(("workloads", index), message))
        if cell:
            cells.append(cell)
    return tuple(cells), problems


def unknown_arms(document: Document, cells: tuple[Cell, ...], names: list[str]) -> list[Problem]:
    """Arms that a workload names and the plan does not have. names: those of the plan."""
    problems = []
    for index, cell in enumerate(cells):
        for place, arm in enumerate(cell.arms):
            if arm not in names:
                message = f"{arm!r} is no arm of this plan; {valid_names(arm, names)}"
                problems.append(document.problem(("workloads", index, "arms", place), message))
    return problems


def cell_entry(cell: Cell) -> dict[str, Any]:
    """The cell as an entry of a plan, every parameter written."""
    own = {"memory": cell.memory_bytes, "vcpus": cell.vcpus, "arms": list(cell.arms) or None}
    shape = {key: value for key, value in own.items() if value is not None}
    return {"name": cell.name, "workload": cell.workload, **shape, **cell.params}


def unfit(cell: Cell, plan_memory_bytes: int) -> str:
    """Why the cell cannot fit into its guest, with the arithmetic; "" when it does."""
    guest_memory_bytes = cell.memory_bytes or plan_memory_bytes
    parts = WORKLOADS[cell.workload].memory_needed(cell.params, guest_memory_bytes)
    needed = sum(size for _, size in parts)
    if needed <= guest_memory_bytes:
        return ""
    text = " + ".join(f"{label} {show_bytes(size)}" for label, size in parts)
    return (
        f"{text} = {show_bytes(needed)}, more than the guest's {show_bytes(guest_memory_bytes)}; "
        "touch less or give the guest more memory"
    )


def crowded(cell: Cell, plan_vcpus: int) -> str:
    """Why the cell has too few CPUs; "" when it has not."""
    probed = cell.params.get("probe", "none") != "none"
    if not probed or (cell.vcpus or plan_vcpus) > 1:
        return ""
    return "the probe needs a CPU of its own, and the guest has one in all; give it vcpus: 2 or more"


def _read(document: Document, path: KeyPath) -> tuple[Cell | None, list[Problem]]:
    entry = document.sub(path).value
    kind = entry.get("workload") if isinstance(entry, dict) else None
    if not isinstance(kind, str) or kind not in WORKLOADS:
        return None, [_no_workload(document, path, entry, kind)]
    model, problems = check(document, parameters_model(kind), path)
    if model is None:
        return None, problems
    values = model.model_dump()
    name = values.pop("name") or kind
    del values["workload"]
    own = (values.pop("memory"), values.pop("vcpus"), tuple(values.pop("arms")), values.pop("skip"))
    wrong = WORKLOADS[kind].check(values)
    cell = Cell(name, kind, values, *own)
    return cell, [document.problem((*path, key), message) for key, message in wrong]


def _no_workload(document: Document, path: KeyPath, entry: Any, kind: Any) -> Problem:
    names = list(WORKLOADS)
    if not isinstance(entry, dict):
        return document.problem(path, f"no workload; write its name or a mapping, as in workload: {names[0]}")
    if kind is None:
        return document.problem((*path, "workload"), f"is missing; write a workload's name, as in {names[0]}")
    return document.problem((*path, "workload"), f"unknown workload {kind!r}; {valid_names(str(kind), names)}")


@cache
def parameters_model(kind: str) -> type[Strict]:
    """The form of an entry of `workloads:` with this workload of the catalogue."""
    fields: dict[str, Any] = {
        parameter.name: (
            Annotated[Any, BeforeValidator(partial(_value, parameter)), WithJsonSchema(_schema(parameter))],
            Field(parameter.default, description=f"{parameter.help}, as in {parameter.default}"),
        )
        for parameter in WORKLOADS[kind].parameters
    }
    return create_model(
        f"{kind}-parameters",
        __base__=Strict,
        workload=(str, Field(description="the name of a workload, as in cycle")),
        name=(Name, Field("", validate_default=False, description="a name for this workload here, as in small")),
        memory=(GuestMemory | None, Field(None, description="this workload's guest: a size of 256M or more, as in 1G")),
        vcpus=(Vcpus | None, Field(None, description="this workload's guest: a whole number of CPUs, as in 2")),
        arms=(
            list[str],
            Field([], description="the only arms that run this workload, as in [none, reporting]"),
        ),
        skip=(bool, Field(False, description="true or false: leave this workload out, as a variant may")),
        **fields,
    )


_SCHEMAS: dict[str, WithJsonSchema] = {"size": SIZE_SCHEMA, "share": SHARE_SCHEMA, "seconds": SECONDS_SCHEMA}


def _schema(parameter: Parameter) -> dict[str, Any]:
    """The form of a value in a JSON Schema; its range is known there for plain numbers only."""
    if parameter.kind == "choice":
        return {"enum": list(parameter.choices)}
    limits = {"minimum": parameter.low, "maximum": parameter.high}
    within = {key: value for key, value in limits.items() if value is not None}
    if parameter.kind == "count":
        return {"type": "integer", **within}
    number, text = (_SCHEMAS[parameter.kind].json_schema or {})["anyOf"]
    return {"anyOf": [{**number, **within}, text]}


_READERS: dict[str, Callable[[Any], Any]] = {
    "size": read_size,
    "share": read_share,
    "seconds": read_seconds,
    "count": read_count,
}
_SHOW: dict[str, Callable[[float], str]] = {
    "size": show_bytes,
    "share": lambda value: f"{value:.0%}",
    "seconds": lambda value: f"{value:g} s",
    "count": str,
}


def _value(parameter: Parameter, given: Any) -> Any:
    if parameter.kind == "choice":
        if given not in parameter.choices:
            raise ValueError(f"{given!r} is not known; {valid_names(str(given), parameter.choices)}")
        return given
    value, show = _READERS[parameter.kind](given), _SHOW[parameter.kind]
    if parameter.low is not None and value < parameter.low:
        raise ValueError(f"{given!r} is too small; write at least {show(parameter.low)}")
    if parameter.high is not None and value > parameter.high:
        raise ValueError(f"{given!r} is too large; write at most {show(parameter.high)}")
    return value
