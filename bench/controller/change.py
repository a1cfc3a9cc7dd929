"""`change:` of a plan: a base and a head, of which every arm is run twice, and nothing else differs.

The copies are made by bench.controller.sides, once arms and workloads are chosen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import Field

from bench.controller.quantities import NAME_LENGTH, ArmKernel, ArmQemu, ModulesPath
from bench.controller.yamlfile import Document, KeyPath, Problem, Strict, check
from bench.wire.codec import to_json
from bench.wire.named import name_of

SIDES = ("base", "head")


class SideModel(Strict):
    """`base:` or `head:` of `change:`; what is not written is as in each arm."""

    kernel: ArmKernel = Field(default="", description="a kernel as an arm names it, as in push:./bzImage")
    modules: ModulesPath = Field(default="", description="the folder of its modules, as in /lib/modules/6.1.0")
    qemu: ArmQemu = Field(default="", description="the path of a QEMU on the host, as in /usr/bin/qemu-system-x86_64")
    kernel_args: list[str] = Field(
        default=[], description="a list of kernel arguments behind those of the arm, as in [page_poison=1]"
    )


class ChangeModel(Strict):
    """`change:` of a plan; each side is checked by itself."""

    base: Any = Field(default={}, description="what the base is, as in {kernel: /boot/vmlinuz-6.1.0}")
    head: Any = Field(default={}, description="what the head is, as in {kernel: push:./bzImage}")


@dataclass(frozen=True)
class Side:
    """What one side puts in the place of an arm's own; "" leaves that. kernel_args stand behind the arm's."""

    kernel: str = ""
    modules: str = ""
    qemu: str = ""
    kernel_args: tuple[str, ...] = ()


@dataclass(frozen=True)
class Change:
    """The two sides; they differ."""

    base: Side
    head: Side

    def side(self, name: str) -> Side:
        return self.base if name == SIDES[0] else self.head


def read_change(document: Document) -> tuple[Change | None, list[Problem]]:
    """The two sides of a plan, None where it has no `change:`, and everything that is wrong with them."""
    if document.value.get("change") is None:
        return None, []
    model, problems = check(document, ChangeModel, ("change",))
    if model is None:
        return None, problems
    sides = [_side(document, name, problems) for name in SIDES]
    if sides[0] is None or sides[1] is None:
        return None, problems
    if sides[0] == sides[1]:
        wrong = "base and head are the same; give one of them another kernel, QEMU or kernel_args"
        return None, [*problems, document.problem(("change",), wrong)]
    return Change(sides[0], sides[1]), problems


def _side(document: Document, name: str, problems: list[Problem]) -> Side | None:
    path: KeyPath = ("change", name)
    if name not in document.value["change"]:
        return Side()
    model, wrong = check(document, SideModel, path)
    if model and name_of(model.kernel) is not None and model.modules:
        message = f"{model.kernel} has modules of its own; remove this, or name a kernel by its path"
        wrong.append(document.problem((*path, "modules"), message))
    problems += wrong
    if model is None or wrong:
        return None
    return Side(model.kernel, model.modules, model.qemu, tuple(model.kernel_args))


def change_entry(change: Change | None) -> dict[str, Any] | None:
    """`change:` as it stands in a plan."""
    if change is None:
        return None
    return {name: {key: item for key, item in to_json(change.side(name)).items() if item} for name in SIDES}


def unfit_names(document: Document, names: list[str]) -> list[Problem]:
    """Arms whose copies could not be called base-… and head-…."""
    found = []
    for index, name in enumerate(names):
        taken = [made for side in SIDES if (made := copied(name, side)) in names]
        if taken:
            message = f"{taken[0]!r} would be the name of a copy too; rename it"
            found.append(document.problem(("arms", names.index(taken[0])), message))
        if len(copied(name, SIDES[0])) > NAME_LENGTH:
            message = f"{name!r} is too long to be copied as {copied(name, SIDES[0])!r}; shorten it"
            found.append(document.problem(("arms", index), message))
    return found


def copied(arm: str, side: str) -> str:
    """The name of an arm's copy."""
    return f"{side}-{arm}"
