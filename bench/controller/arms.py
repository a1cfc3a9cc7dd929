"""The shipped arms, and the arms of a plan: a shipped name, or a mapping with a name of its own and what differs."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal

from pydantic import Field

from bench.controller.again import is_again, repeated
from bench.controller.policies import read_policy
from bench.controller.quantities import ArmKernel, ArmQemu, ModulesPath, Name
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
        # A guest that wants its memory back sooner than the loop looks again is not to be killed for it.
        Arm("balloon-auto", balloon=True, policy=Policy("balloon"), deflate_on_oom=True),
        # The balloon tells what the guest has available; it is never inflated.
        # It keeps more: nothing gives memory back for a guest that is faster than the loop, and its kernel kills.
        Arm(
            "virtio-mem-auto",
            balloon=True,
            policy=Policy("virtio-mem", {"low": 0.4, "keep": 0.5, "high": 0.6, "step": 0.1}),
        ),
        Arm("reporting-notify", balloon=True, reporting=True, policy=Policy("notify")),
        Arm("none-backports", kernel=f"{NAMED}backports"),
        Arm("reporting-backports", balloon=True, reporting=True, kernel=f"{NAMED}backports"),
    )
}


class ArmModel(Strict):
    """One entry of `arms:`; what is not written is as in `like`, or as in the arm `none`."""

    name: Name = Field(description="a name for this arm, as in reporting-order-0")
    like: str = Field(default="", description="the name of a shipped arm, as in reporting")
    same_as: str = Field(default="", description="the name of the arm that this one repeats (A/A), as in reporting")
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
    policy: Any = Field(
        default=None,
        description="a loop in the guest or on the host, as in compact, or {kind: balloon, source: always}",
    )
    deflate_on_oom: bool = Field(
        default=False, description="true or false: the balloon gives memory back before the guest kills somebody"
    )
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
        policy, wrong_policy = read_policy(document, path) if model else (None, [])
        wrong += wrong_policy
        problems += wrong
        if model and not wrong and not model.same_as:
            arms[index] = _arm(model, policy)
            problems += _contradictions(document, path, arms[index])
    arms, wrong_again = repeated(document, arms) if arms and not problems else (arms, [])
    problems += [*wrong_again, *_twins(document, arms)]
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


def _arm(model: ArmModel, policy: Policy | None) -> Arm:
    changes = {key: getattr(model, key) for key in model.model_fields_set - {"like", "against", "same_as"}}
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
        *_loop_rules(arm),
        _misnamed(arm),
    ]
    return [document.problem((*path, key), message) for broken, key, message in rules if broken]


def _misnamed(arm: Arm) -> tuple[bool, str, str]:
    wrong = arm.name in ARMS and ARMS[arm.name] != arm
    return wrong, "name", f"{arm.name!r} is a shipped arm with other content; choose another name"


def _giving_rules(arm: Arm) -> list[tuple[bool, str, str]]:
    alone = "with two mechanisms neither can be seen working by itself; remove give or reporting"
    device = "give: balloon needs the balloon device; remove balloon: false"
    return [
        (arm.give == "balloon" and not arm.balloon, "balloon", device),
        (arm.give != "" and arm.reporting, "give", alone),
    ]


def _loop_rules(arm: Arm) -> list[tuple[bool, str, str]]:
    loop = arm.host_policy
    stats = "the loop needs the balloon device, which tells what the guest has available; add balloon: true"
    alone = "with two mechanisms neither can be seen working by itself; remove policy, or give and reporting"
    returned = "what a guest frees that is told to reaches the host by reporting only; add reporting: true"
    return [
        (loop is not None and not arm.balloon, "policy", stats),
        (loop is not None and (arm.give != "" or (arm.reporting and loop.kind != "notify")), "policy", alone),
        (loop is not None and loop.kind == "notify" and not arm.reporting, "policy", returned),
        (arm.deflate_on_oom and not arm.balloon, "deflate_on_oom", "only a balloon can do that; add balloon: true"),
    ]


def _twins(document: Document, arms: dict[int, Arm]) -> list[Problem]:
    problems: list[Problem] = []
    contents: dict[Arm, str] = {}
    names: set[str] = set()
    for index, arm in arms.items():
        content = dataclasses.replace(arm, name="")
        again = is_again(document.value["arms"][index])
        if arm.name in names:
            problems.append(
                document.problem(("arms", index), f"two arms are called {arm.name!r}; rename or remove one")
            )
        elif again and _misnamed(arm)[0]:
            problems.append(document.problem(("arms", index, "name"), _misnamed(arm)[2]))
        elif content in contents and not again:
            message = f"{arm.name!r} is the same as {contents[content]!r}; change a field, remove one, or write same_as"
            problems.append(document.problem(("arms", index), message))
        contents.setdefault(content, arm.name)
        names.add(arm.name)
    return problems
