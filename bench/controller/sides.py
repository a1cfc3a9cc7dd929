"""A plan with a change: every arm is run twice, as base and as head, and each head is compared with its base.

A plan that is read has its own arms. `with_sides` makes the copies once arms and workloads are chosen, and keeps the
plan as it was (`written`), which is what a run's plan.yaml holds.
"""

from __future__ import annotations

import dataclasses

from bench.controller.change import SIDES, Change, copied
from bench.controller.planfile import Plan
from bench.controller.yamlfile import KeyPath
from bench.wire.job import Arm

BASE = SIDES[0]


def with_sides(plan: Plan) -> Plan:
    """The plan with a base and a head of every arm, each head compared with its base; a plan without change as it is.

    An arm that repeats another one (same_as) asks about noise, not about the change: it is copied as a base only.
    """
    if plan.change is None:
        return plan
    copies = {arm.name: [_copy(arm, plan.change, side) for side in _sides_of(plan, arm.name)] for arm in plan.arms}
    cells = tuple(
        dataclasses.replace(cell, arms=tuple(copy.name for arm in cell.arms for copy in copies[arm]))
        for cell in plan.cells
    )
    return dataclasses.replace(
        plan,
        arms=tuple(copy for arm in plan.arms for copy in copies[arm.name]),
        cells=cells,
        reference=copied(plan.reference, BASE),
        against={made[1].name: made[0].name for made in copies.values() if len(made) > 1},
        same_as={copied(arm, BASE): copied(other, BASE) for arm, other in plan.same_as.items()},
        written=plan,
    )


def _sides_of(plan: Plan, arm: str) -> tuple[str, ...]:
    return SIDES[:1] if arm in plan.same_as else SIDES


def _copy(arm: Arm, change: Change, name: str) -> Arm:
    side = change.side(name)
    return dataclasses.replace(
        arm,
        name=copied(arm.name, name),
        kernel=side.kernel or arm.kernel,
        # A kernel's modules go with it.
        modules=side.modules or ("" if side.kernel else arm.modules),
        qemu=side.qemu or arm.qemu,
        kernel_args=(*arm.kernel_args, *side.kernel_args),
    )


def place_of(plan: Plan, arm: str, key: str) -> KeyPath:
    """Where a key of an arm is written: in the arm, or in `change:` for a copy that has it from there."""
    names = [entry["name"] for entry in plan.document.value["arms"]]
    if arm in names or plan.change is None:
        return ("arms", names.index(arm), key)
    side, _, own = arm.partition("-")
    return ("change", side, key) if getattr(plan.change.side(side), key) else ("arms", names.index(own), key)
