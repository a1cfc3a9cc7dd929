"""The lab of a run: its hosts, how each fared, how quiet it was, and where its threads ran."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.wire.units import show
from reports import words
from reports.context import Facts, facts
from reports.load import Json, Run
from reports.tuned import Held, holder, holds

# Of hosts/<name>.json: key, and what it is called. The address is nobody's business but the controller's.
_FACTS = (
    ("accel", "accelerator"),
    ("guest_kernel", "guest kernel"),
    ("qemu_version", "QEMU"),
    ("available_bytes", "memory free for guests"),
)
_KEPT_TOGETHER = 3


@dataclass(frozen=True)
class BootRow:
    """What is known of the host's state around one boot."""

    boot: str
    waited: str
    readings: str
    over: str
    placed: str


@dataclass(frozen=True)
class LabHost:
    """One host. state: "complete", "lost" or "not finished", with what that means. lines: how it went, in words."""

    name: str
    state: str
    detail: str
    boots: str
    evidence: str
    lines: tuple[str, ...]
    holds: tuple[Held, ...]
    quiet: tuple[str, ...]
    placed: tuple[str, ...]
    rows: tuple[BootRow, ...]


@dataclass(frozen=True)
class Lab:
    """facts: those of hosts/*.json, by host."""

    hosts: tuple[LabHost, ...]
    facts: Facts


def lab(run: Run) -> Lab | None:
    """None for a run that tells nothing of its lab: an older one."""
    told = run.hosts or run.events or any(boot.get("quiet") or boot.get("placed") for boot in run.boots)
    if not told:
        return None
    names = run.host_names
    return Lab(tuple(_host(run, name, names) for name in names), facts((name, _facts(run, name)) for name in names))


def _facts(run: Run, name: str) -> Json:
    """What the host answered when it was first reached. Its other facts stand with the boots, under Environment."""
    answer = run.hosts.get(name, {})
    found = {title: words.fact(key, answer[key]) for key, title in _FACTS if key in answer}
    kvm = answer.get("kvm")
    if isinstance(kvm, dict) and kvm:
        found["KVM"] = "usable" if kvm.get("usable") else f"not usable: {kvm.get('reason') or 'no reason given'}"
    about = answer.get("host_facts")
    if isinstance(about, dict):
        found |= {key: about[key] for key in ("cpu_model", "cpus", "kernel") if key in about}
    if answer.get("when"):
        found["first reached"] = words.when(answer["when"])
    return found


def _host(run: Run, name: str, names: Sequence[str]) -> LabHost:
    # A resumed run is told of once, for all hosts.
    events = [event for event in run.events if event.get("host") in (name, "") or event.get("event") == "resumed"]
    own = [event for event in events if event.get("host") == name]
    boots = [boot for boot in run.boots if boot.get("host") == name]
    planned = [boot for boot in map(str, run.run.get("schedule") or []) if _of(boot, names) == name]
    done = {str(boot.get("boot")) for boot in boots}
    left = [boot for boot in planned if boot not in done]
    lost = _still_lost(events)
    state, detail = _state(lost, left, bool(planned or boots))
    return LabHost(
        name,
        state,
        detail,
        f"{len(planned) - len(left)} of {len(planned)}" if planned else str(len(boots)),
        "\n".join(_texts(lost.get("evidence"))) if lost else "",
        tuple(_lines(events)),
        tuple(held for held in holds(own) if held.shown),
        tuple(_quiet(boots)),
        tuple(_placed(boots)),
        tuple(_row(boot) for boot in boots if boot.get("quiet") or boot.get("placed")),
    )


def _of(boot: str, hosts: Sequence[str]) -> str:
    """The host of a boot's name; the longest that fits, since one host's name may begin like another's."""
    return max((host for host in hosts if boot.startswith(f"{host}.")), key=len, default="")


def _still_lost(events: Sequence[Json]) -> Json | None:
    lost = None
    for event in events:
        if event.get("event") in ("lost", "resumed"):
            lost = event if event["event"] == "lost" else None
    return lost


def _state(lost: Json | None, left: Sequence[str], any_boots: bool) -> tuple[str, str]:
    if lost is not None:
        unfinished = len(_texts(lost.get("unfinished")))
        return "lost", f"{lost.get('reason') or 'no reason given'}; {_boots(unfinished)} unfinished"
    if left:
        return "not finished", f"{_boots(len(left))} left"
    return ("complete", "") if any_boots else ("not finished", "no boot")


def _boots(n: int) -> str:
    return f"{n} boot" if n == 1 else f"{n} boots"


def _texts(value: Any) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []


def _lines(events: Sequence[Json]) -> Iterable[str]:
    """What happened besides boots and settings."""
    again = [event for event in events if event.get("event") in ("reconnecting", "reconnected")]
    if again:
        last = str(again[-1].get("reason") or "no reason given")
        times = "once" if len(again) == 1 else f"{len(again)} times"
        yield f"The connection was lost and tried again {times}; the last time: {last}."
    for event in events:
        when = words.when(event.get("time", ""))
        if event.get("event") == "waiting":
            yield f"{when}: waited for the host, held by {holder(event.get('holder'))}."
        elif event.get("event") == "lost":
            yield f"{when}: lost, {event.get('reason') or 'no reason given'}."
        elif event.get("event") == "resumed":
            yield f"{when}: the run was resumed."
        elif event.get("event") in ("held", "released"):
            yield from _swap_file(when, event.get("swap"))


def _swap_file(when: str, swap: Any) -> Iterable[str]:
    """Of the file that the plan asked for: that it was made, or why not, or why it is still there."""
    about = swap if isinstance(swap, dict) else {}
    if words.is_number(about.get("bytes")):
        yield f"{when}: a swap file of {show(float(about['bytes']), 'byte')} was made for the run."
    if about.get("problem"):
        yield f"{when}: swap file: {about['problem']}."


def _quiet(boots: Sequence[Json]) -> Iterable[str]:
    """Waits, the highest readings, and the limits that voided boots."""
    looked = [boot["quiet"] for boot in boots if isinstance(boot.get("quiet"), dict) and boot["quiet"]]
    if not looked:
        return
    waits = [float(item["waited_s"]) for item in looked if words.is_number(item.get("waited_s"))]
    if waits:
        yield f"Looked at before {_boots(len(looked))}; the longest wait for quiet was {show(max(waits), 'second')}."
    highest: dict[str, float] = {}
    for name, value in (pair for item in looked for pair in _numbers(item.get("readings"))):
        highest[name] = max(value, highest.get(name, value))
    if highest:
        yield f"Highest readings before a boot: {_shown(highest.items())}."
    voided: dict[str, list[str]] = {}
    for boot in boots:
        for text in _over(boot):
            voided.setdefault(text.partition(" ")[0], []).append(str(boot.get("boot")))
    for limit, names in voided.items():
        more = f" and {len(names) - _KEPT_TOGETHER} more" if len(names) > _KEPT_TOGETHER else ""
        yield f"{limit} voided {_boots(len(names))}: {', '.join(names[:_KEPT_TOGETHER])}{more}."


def _over(boot: Json) -> list[str]:
    quiet = boot.get("quiet")
    return _texts(quiet.get("over")) if isinstance(quiet, dict) else []


def _numbers(readings: Any) -> list[tuple[str, float]]:
    items = readings.items() if isinstance(readings, dict) else ()
    return [(str(name), float(value)) for name, value in items if words.is_number(value)]


def _shown(readings: Iterable[tuple[str, float]]) -> str:
    return ", ".join(f"{name} {_reading(name, value)}" for name, value in readings)


def _reading(name: str, value: float) -> str:
    if name.endswith("_share"):
        return show(value, "share")
    return f"{value:.1f} °C" if name.endswith("_c") else f"{value:.3g}"


def _placed(boots: Sequence[Json]) -> Iterable[str]:
    """Where the threads ran, each place once, with the number of boots; then what was not as asked."""
    for text, n in Counter(text for boot in boots if (text := _place(boot))).items():
        yield f"{text} ({_boots(n)})."
    for boot in boots:
        problem = boot["placed"].get("problem") if isinstance(boot.get("placed"), dict) else ""
        if problem:
            yield f"{boot.get('boot')}: {problem}."


def _place(boot: Json) -> str:
    """ "pinned: vCPU0 on 2, QEMU on 2-3", or "not pinned"; "" where no guest ran or nobody looked."""
    placed = boot.get("placed")
    seen = placed.get("seen") if isinstance(placed, dict) else None
    if not isinstance(seen, dict) or not seen:
        return "not pinned" if "placed" in boot and boot.get("argv") else ""
    parts = []
    for name, value in seen.items():
        title = {"qemu": "QEMU", "cpu_dma_latency": "CPU latency"}.get(name, name.replace("vcpu", "vCPU", 1))
        parts.append(f"{title} {value}" if name in ("memory", "cpu_dma_latency") else f"{title} on {value}")
    vcpus = [str(value) for name, value in seen.items() if name.startswith("vcpu")]
    return f"{'pinned' if vcpus and all(cpu.isdigit() for cpu in vcpus) else 'not pinned'}: {', '.join(parts)}"


def _row(boot: Json) -> BootRow:
    quiet = boot.get("quiet") if isinstance(boot.get("quiet"), dict) else {}
    waited = quiet.get("waited_s") if quiet else None
    return BootRow(
        str(boot.get("boot", "")),
        words.number(waited, "second"),
        _shown(_numbers(quiet.get("readings") if quiet else None)) or words.NOTHING,
        ", ".join(_over(boot)) or words.NOTHING,
        _place(boot) or words.NOTHING,
    )
