"""Whether two runs measured the same thing: what must agree before their boots may be compared with one another."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bench.analysis.blocks import Key, Run, chosen
from bench.analysis.values import Boot
from bench.wire.units import show_bytes

UNKNOWN = "not recorded"
# What a plan may say differently, since it changes no boot: how many, in which order, and how they are judged.
FREE = frozenset(
    {
        "seed",
        "blocks",
        "looks",
        "budget_s",
        "gate",
        "min_blocks",
        "retries",
        "parallel",
        "question",
        "metrics",
        "pareto",
    }
)
# Options of QEMU that say what the guest is; a value with a path in it names a file of this one boot.
SHAPING = ("-machine", "-accel", "-cpu", "-smp", "-m", "-device")


@dataclass(frozen=True)
class Fact:
    """One fact of a boot line. needed: not knowing it in either run is no agreement."""

    name: str
    path: tuple[str, ...]
    needed: bool = False
    size: bool = False


FACTS = (
    Fact("accelerator", ("accel",), needed=True),
    Fact("host CPU", ("host_facts", "cpu_model"), needed=True),
    Fact("host CPUs", ("host_facts", "cpus"), needed=True),
    # The kernel keeps some pages more or less for itself from start to start: three digits.
    Fact("host memory", ("host_facts", "MemTotal_bytes"), needed=True, size=True),
    Fact("host kernel", ("host_facts", "kernel"), needed=True),
    Fact("host kernel build", ("host_facts", "kernel_version")),
    Fact("host THP", ("host_facts", "thp_enabled")),
    Fact("host THP defrag", ("host_facts", "thp_defrag")),
    Fact("host THP of shared memory", ("host_facts", "thp_shmem_enabled")),
    Fact("host KSM", ("host_facts", "ksm_run")),
    Fact("host swappiness", ("host_facts", "swappiness")),
    Fact("host zswap", ("host_facts", "zswap")),
    Fact("QEMU (sha256)", ("files", "qemu_sha256"), needed=True),
    Fact("guest kernel", ("guest", "kernel"), needed=True),
    Fact("guest kernel build", ("guest", "kernel_version")),
    Fact("guest kernel (sha256)", ("files", "kernel_sha256"), needed=True),
    Fact("guest memory", ("guest_memory_bytes",), needed=True),
    Fact("guest THP", ("guest", "thp_enabled")),
    Fact("backing of guest memory", ("backing",)),
)
RUN_FACTS = (
    Fact("plan", ("plan",), needed=True),
    Fact("variant", ("variant",)),
    Fact("version of the suite", ("versions", "fpr-bench")),
    Fact("host side", ("bundle",)),
    Fact("guest image", ("image",)),
)


@dataclass(frozen=True)
class Side:
    """One run: its run.json, the lines of its boots.jsonl, its plan.yaml as it was run (None: not there)."""

    name: str
    run: Run
    boots: Sequence[Boot]
    plan: dict[str, Any] | None


@dataclass(frozen=True)
class Difference:
    """What does not agree; base, head: as shown. host: "" for a fact of the whole run."""

    host: str
    fact: str
    base: str
    head: str

    def __str__(self) -> str:
        where = f"{self.host}: " if self.host else ""
        return f"{where}{self.fact}: {self.base} | {self.head}"


def differences(base: Side, head: Side) -> list[Difference]:
    """Everything that keeps two runs from being compared, each once; empty if their fingerprints agree.

    Hosts, cells and arms that only one run has are no difference as long as one arm of one cell is in both. A fact
    that changed inside a run agrees with nothing.
    """
    found = [*_of_the_runs(base, head), *_of_the_plans(base, head)]
    first, second = groups(base), groups(head)
    shared = [group for group in first if group in second]
    if not shared:
        found.append(Difference("", "arms of cells with good boots", _listed(first), _listed(second)))
    for group in shared:
        found += _of_the_boots(group[0], first[group], second[group])
    return list(dict.fromkeys(found))


def groups(side: Side) -> dict[tuple[str, str, str], list[Boot]]:
    """(host, cell, arm) -> the boots that count, by block."""
    good = chosen(side.boots, side.run.get("accel"))
    found: dict[tuple[str, str, str], list[Boot]] = {}
    for key in sorted(good, key=_by_block):
        found.setdefault(key[:3], []).append(good[key])
    return found


def _by_block(key: Key) -> int:
    return key[3]


def _of_the_runs(base: Side, head: Side) -> Iterator[Difference]:
    for fact in RUN_FACTS:
        yield from _compared("", fact, [base.run], [head.run])


def _of_the_plans(base: Side, head: Side) -> Iterator[Difference]:
    if base.plan is None or head.plan is None:
        known = [UNKNOWN if side.plan is None else "recorded" for side in (base, head)]
        yield Difference("", "plan.yaml", *known)
        return
    for name in sorted({*base.plan, *head.plan} - FREE):
        a, b = (plain(side.plan.get(name)) if side.plan else UNKNOWN for side in (base, head))
        if a != b:
            yield Difference("", f"plan.yaml: {name}", a, b)


def _of_the_boots(host: str, base: Sequence[Boot], head: Sequence[Boot]) -> Iterator[Difference]:
    for fact in FACTS:
        yield from _compared(host, fact, base, head)
    a, b = (_options(boots) for boots in (base, head))
    if a != b:
        only = [" ".join(sorted(mine - other)) or "nothing more" for mine, other in ((a, b), (b, a))]
        yield Difference(host, "options of QEMU", *only)


def _compared(host: str, fact: Fact, base: Sequence[Any], head: Sequence[Any]) -> Iterator[Difference]:
    a, b = (sorted({shown(fact, item) for item in items}) for items in (base, head))
    settled = a == b and len(a) == 1 and not (fact.needed and a == [UNKNOWN])
    if not settled:
        yield Difference(host, fact.name, " and ".join(a), " and ".join(b))


def shown(fact: Fact, item: Any) -> str:
    """One fact of a boot line or a run.json as text."""
    for name in fact.path:
        item = item.get(name) if isinstance(item, dict) else None
    if item is None:
        return UNKNOWN
    return show_bytes(item) if fact.size else str(item)


def _options(boots: Sequence[Boot]) -> set[str]:
    found = set()
    for boot in boots:
        argv = [str(word) for word in boot.get("argv") or []]
        pairs = itertools.pairwise(argv)
        found |= {f"{option} {value}" for option, value in pairs if option in SHAPING and "/" not in value}
    return found


def _listed(names: dict[tuple[str, str, str], list[Boot]]) -> str:
    return ", ".join("/".join(name) for name in names) or "none"


def plain(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
