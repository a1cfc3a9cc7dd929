"""The shipped arms, and the arms of a plan: a shipped name, or a mapping with a name of its own and what differs."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import Field, create_model

from bench.controller.quantities import ArmKernel, ArmQemu, ModulesPath, Name, Size
from bench.controller.yamlfile import Document, KeyPath, Problem, Strict, check, valid_names
from bench.wire.job import POLICIES, Arm, Policy
from bench.wire.named import NAMED, name_of

ARMS: dict[str, Arm] = {
    arm.name: arm
    for arm in (
        Arm("none"),
        Arm("idle-balloon", balloon=True),
        Arm("reporting", balloon=True, reporting=True),
        Arm("balloon", balloon=True, give="balloon"),
        Arm("virtio-mem", give="virtio-mem"),
        Arm("hinting", balloon=True, hinting=True),
        Arm("hinting-reporting", balloon=True, reporting=True, hinting=True),
        *(Arm(f"reporting-{kind}", balloon=True, reporting=True, policy=Policy(kind)) for kind in POLICIES),
        Arm("none-backports", kernel=f"{NAMED}backports"),
        Arm("reporting-backports", balloon=True, reporting=True, kernel=f"{NAMED}backports"),
    )
}
# Parameters of each policy: what it takes, and its range (workloads/policy.py has the defaults).
_PERIOD = {"period_s": (float, Field(2.0, ge=0.05, le=3600, description="a number of seconds, as in 2"))}
_SIZE = (Size | None, Field(None, ge=4096, le=1 << 44, description="a size, as in 64M"))
_POLICY_FIELDS: dict[str, dict[str, Any]] = {
    "drop-caches": _PERIOD,
    "compact": _PERIOD,
    "reclaim": {
        **_PERIOD,
        "target_bytes": _SIZE,
        "swappiness": (int | None, Field(None, ge=0, le=200, description="a whole number from 0 to 200, as in 60")),
    },
    "mglru": {**_PERIOD, "generations": (int, Field(2, ge=2, le=4, description="a whole number from 2 to 4, as in 2"))},
    "damon": {
        **_PERIOD,
        "min_age_s": (float, Field(2.0, ge=0.05, le=3600, description="a number of seconds, as in 2")),
        "quota_bytes": _SIZE,
    },
}


class ArmModel(Strict):
    """One entry of `arms:`; what is not written is as in `like`, or as in the arm `none`."""

    name: Name = Field(description="a name for this arm, as in reporting-order-0")
    like: str = Field(default="", description="the name of a shipped arm, as in reporting")
    balloon: bool = Field(default=False, description="true or false: the guest has a balloon device")
    reporting: bool = Field(default=False, description="true or false: the balloon device reports free pages")
    hinting: bool = Field(
        default=False, description="true or false: the balloon device takes free page hints while QEMU migrates"
    )
    mem_lock: bool = Field(
        default=False, description="true or false: QEMU locks all memory, so that no discard can succeed"
    )
    backing: Literal["memfd", "anonymous", "hugetlb", "file"] = Field(
        default="memfd", description="memfd, anonymous, hugetlb or file"
    )
    policy: Any = Field(default=None, description="a loop in the guest, as in compact, or {kind: compact, period_s: 2}")
    host_thp: Literal["host", "never", "always", "madvise"] = Field(
        default="host", description="never, always or madvise, or host for what the host has"
    )
    expect: Literal["effect", "nothing"] = Field(
        default="effect", description="nothing, for a control in which reports can do nothing, or effect"
    )
    give: Literal["none", "balloon", "virtio-mem"] = Field(
        default="none", description="balloon or virtio-mem, by which the host asks for freed memory, or none"
    )
    against: str = Field(default="", description="the name of the arm that this one is compared with, as in none")
    reporting_order: int | None = Field(default=None, ge=0, le=10, description="a block order from 0 to 10, as in 9")
    reporting_params: dict[str, Annotated[int, Field(ge=0)]] = Field(
        default={}, description="other parameters of the guest's page_reporting, as in {page_reporting_delay: 500}"
    )
    kernel: ArmKernel = Field(
        default="",
        description="the path of a kernel image on the host, as in /boot/vmlinuz-6.1.0, or push: and a file here, or "
        "named:backports or named:standard, which bench prepare brings",
    )
    modules: ModulesPath = Field(
        default="",
        description="the path of the kernel's modules, as in /lib/modules/6.1.0, or push: and a folder here",
    )
    qemu: ArmQemu = Field(
        default="",
        description="the path of a QEMU on the host, as in /usr/bin/qemu-system-x86_64, or named:backports, which "
        "bench prepare brings",
    )
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
        policy, wrong_policy = _policy(document, path) if model else (None, [])
        wrong += wrong_policy
        problems += wrong
        if model and not wrong:
            arms[index] = _arm(model, policy)
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
    if arm.reporting_params:
        changed["reporting_params"] = dict(arm.reporting_params)
    if arm.policy:
        changed["policy"] = {"kind": arm.policy.kind, **arm.policy.params}
    return {"name": arm.name, **{key: list(item) if isinstance(item, tuple) else item for key, item in changed.items()}}


def _unknown(document: Document, path: KeyPath, model: ArmModel) -> list[Problem]:
    if not model.like or model.like in ARMS:
        return []
    return [document.problem((*path, "like"), f"unknown arm {model.like!r}; {valid_names(model.like, list(ARMS))}")]


def read_against(document: Document, reference: str, arms: tuple[Arm, ...]) -> tuple[dict[str, str], list[Problem]]:
    """Arm -> the arm that it is compared with, where that is not the plan's reference."""
    found: dict[str, str] = {}
    problems: list[Problem] = []
    names = [arm.name for arm in arms]
    for index, entry in enumerate(document.value["arms"]):
        other = entry.get("against")
        if other and (other not in names or other == entry["name"]):
            wrong = f"{other!r} is no other arm of this plan; {valid_names(str(other), names)}"
            problems.append(document.problem(("arms", index, "against"), wrong))
        elif other and other != reference:
            found[str(entry["name"])] = str(other)
    return found, problems


@cache
def policy_model(kind: str) -> type[Strict]:
    """The form of `policy:` of an arm with this kind of loop."""
    kind_field = (str, Field(description="a kind of loop, as in compact"))
    return create_model(f"{kind}-policy", __base__=Strict, kind=kind_field, **_POLICY_FIELDS[kind])


def _policy(document: Document, path: KeyPath) -> tuple[Policy | None, list[Problem]]:
    here: KeyPath = (*path, "policy")
    given = document.sub(path).value.get("policy")
    if given is None:
        return None, []
    kind = given.get("kind") if isinstance(given, dict) else given
    if kind not in _POLICY_FIELDS:
        if isinstance(given, dict) and kind is None:
            return None, [document.problem((*here, "kind"), f"is missing; write one of {', '.join(POLICIES)}")]
        where = (*here, "kind") if isinstance(given, dict) else here
        return None, [document.problem(where, f"unknown policy {kind!r}; {valid_names(str(kind), POLICIES)}")]
    if not isinstance(given, dict):
        return Policy(kind), []
    model, problems = check(document, policy_model(kind), here)
    if model is None:
        return None, problems
    return Policy(kind, {key: getattr(model, key) for key in model.model_fields_set - {"kind"}}), []


def _arm(model: ArmModel, policy: Policy | None) -> Arm:
    changes = {key: getattr(model, key) for key in model.model_fields_set - {"like", "against"}}
    if "policy" in changes:
        changes["policy"] = policy
    for key, usual in (("host_thp", "host"), ("expect", "effect"), ("give", "none")):
        if changes.get(key) == usual:
            changes[key] = ""
    if "reporting_params" in changes:
        changes["reporting_params"] = tuple(sorted(changes["reporting_params"].items()))
    if "kernel_args" in changes:
        changes["kernel_args"] = tuple(changes["kernel_args"])
    if changes.get("reporting") or changes.get("hinting") or changes.get("give") == "balloon":
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
            bool(arm.reporting_params) and not arm.reporting,
            "reporting_params",
            "only an arm that reports has them; add reporting: true",
        ),
        (
            arm.expect == "nothing" and not arm.reporting,
            "expect",
            "only an arm that reports can show that reports do nothing; add reporting: true",
        ),
        (
            name_of(arm.kernel) is not None and arm.modules != "",
            "modules",
            f"{arm.kernel} has modules of its own; remove this, or name a kernel by its path",
        ),
        (arm.hinting and not arm.balloon, "balloon", "hinting needs the balloon device; remove balloon: false"),
        *_giving_rules(arm),
        (
            shipped is not None and shipped != arm,
            "name",
            f"{arm.name!r} is a shipped arm with other content; choose another name",
        ),
    ]
    return [document.problem((*path, key), message) for broken, key, message in rules if broken]


def _giving_rules(arm: Arm) -> list[tuple[bool, str, str]]:
    alone = "with two mechanisms neither can be seen working by itself; remove give or reporting"
    device = "give: balloon needs the balloon device; remove balloon: false"
    return [
        (arm.give == "balloon" and not arm.balloon, "balloon", device),
        (arm.give != "" and arm.reporting, "give", alone),
    ]


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
