"""The shipped arms, and the arms of a plan: a shipped name, or a mapping with a name of its own and what differs."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from pydantic import Field

from bench.controller.quantities import HostPath, KernelPath, ModulesPath, Name
from bench.controller.yamlfile import Document, KeyPath, Problem, Strict, check, valid_names
from bench.wire.job import Arm

ARMS: dict[str, Arm] = {
    arm.name: arm
    for arm in (
        Arm("none"),
        Arm("idle-balloon", balloon=True),
        Arm("reporting", balloon=True, reporting=True),
    )
}


class ArmModel(Strict):
    """One entry of `arms:`; what is not written is as in `like`, or as in the arm `none`."""

    name: Name = Field(description="a name for this arm, as in reporting-order-0")
    like: str = Field(default="", description="the name of a shipped arm, as in reporting")
    balloon: bool = Field(default=False, description="true or false: the guest has a balloon device")
    reporting: bool = Field(default=False, description="true or false: the balloon device reports free pages")
    mem_lock: bool = Field(
        default=False, description="true or false: QEMU locks all memory, so that no discard can succeed"
    )
    backing: Literal["memfd", "anonymous", "hugetlb"] = Field(
        default="memfd", description="memfd, anonymous or hugetlb"
    )
    reporting_order: int | None = Field(default=None, ge=0, le=10, description="a block order from 0 to 10, as in 9")
    kernel: KernelPath = Field(
        default="",
        description="the path of a kernel image on the host, as in /boot/vmlinuz-6.1.0, or push: and a file here",
    )
    modules: ModulesPath = Field(
        default="",
        description="the path of the kernel's modules, as in /lib/modules/6.1.0, or push: and a folder here",
    )
    qemu: HostPath = Field(default="", description="the path of a QEMU on the host, as in /usr/bin/qemu-system-x86_64")
    kernel_args: list[str] = Field(default=[], description="a list of kernel arguments, as in [page_poison=1]")


def read_arms(document: Document) -> tuple[tuple[Arm, ...], list[Problem]]:
    """The arms of a plan whose entries are all mappings (`spelled_out`), and everything that is wrong with them."""
    entries = document.value.get("arms")
    arms: dict[int, Arm] = {}
    problems: list[Problem] = []
    for index in range(len(entries) if isinstance(entries, list) else 0):
        path: KeyPath = ("arms", index)
        model, wrong = check(document, ArmModel, path)
        wrong += _unknown(document, path, model) if model else []
        problems += wrong
        if model and not wrong:
            arms[index] = _arm(model)
            problems += _contradictions(document, path, arms[index])
    problems += _twins(document, arms)
    return tuple(arms.values()), problems


def arm_entry(arm: Arm) -> str | dict[str, Any]:
    """The arm as an entry of a plan: its name when it is a shipped one, otherwise every field that is not default."""
    if arm == ARMS.get(arm.name):
        return arm.name
    default = Arm(arm.name)
    fields = {field.name: getattr(arm, field.name) for field in dataclasses.fields(Arm)}
    changed = {name: value for name, value in fields.items() if value != getattr(default, name)}
    return {"name": arm.name, **{key: list(item) if isinstance(item, tuple) else item for key, item in changed.items()}}


def _unknown(document: Document, path: KeyPath, model: ArmModel) -> list[Problem]:
    if not model.like or model.like in ARMS:
        return []
    return [document.problem((*path, "like"), f"unknown arm {model.like!r}; {valid_names(model.like, list(ARMS))}")]


def _arm(model: ArmModel) -> Arm:
    changes = {key: getattr(model, key) for key in model.model_fields_set - {"like"}}
    if "kernel_args" in changes:
        changes["kernel_args"] = tuple(changes["kernel_args"])
    if changes.get("reporting"):
        changes.setdefault("balloon", True)
    return dataclasses.replace(ARMS[model.like or "none"], **changes)


def _contradictions(document: Document, path: KeyPath, arm: Arm) -> list[Problem]:
    shipped = ARMS.get(arm.name)
    rules = [
        (arm.reporting and not arm.balloon, "balloon", "reporting needs the balloon device; remove balloon: false"),
        (
            arm.reporting_order is not None and not arm.reporting,
            "reporting_order",
            "only an arm that reports has an order; add reporting: true",
        ),
        (
            shipped is not None and shipped != arm,
            "name",
            f"{arm.name!r} is a shipped arm with other content; choose another name",
        ),
    ]
    return [document.problem((*path, key), message) for broken, key, message in rules if broken]


def _twins(document: Document, arms: dict[int, Arm]) -> list[Problem]:
    problems: list[Problem] = []
    contents: dict[Arm, str] = {}
    names: set[str] = set()
    for index, arm in arms.items():
        content = dataclasses.replace(arm, name="")
        if arm.name in names:
            problems.append(
                document.problem(("arms", index), f"two arms are called {arm.name!r}; rename or remove one")
            )
        elif content in contents:
            message = f"{arm.name!r} is the same as {contents[content]!r}; change a field or remove one"
            problems.append(document.problem(("arms", index), message))
        contents.setdefault(content, arm.name)
        names.add(arm.name)
    return problems
