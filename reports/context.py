"""What stands around a result: environment, QEMU's command lines, what makes it doubtful, where it comes from."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.wire.units import show
from reports import words
from reports.load import Json, Run, clean

_LONGEST_PLAN = 20_000


@dataclass(frozen=True)
class Facts:
    """Facts seen by several parties (arms, hosts): those that are the same, and a row for each that differs."""

    parties: tuple[str, ...]
    same: tuple[tuple[str, str], ...]
    differing: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class CommandLine:
    """QEMU as it was started for one boot of an arm. added, removed: options against the reference's command."""

    arm: str
    boot: str
    text: str
    added: tuple[str, ...]
    removed: tuple[str, ...]
    is_reference: bool


@dataclass(frozen=True)
class LostBoot:
    boot: str
    status: str
    reason: str
    evidence: str


@dataclass(frozen=True)
class SamplerRow:
    boot: str
    ticks: str
    missed: str
    cpu: str
    clock_error: str


@dataclass(frozen=True)
class Doubts:
    """Everything that a careful reader should know before believing the result."""

    warnings: tuple[tuple[str, str], ...]
    lost: tuple[LostBoot, ...]
    unsettled: tuple[str, ...]
    sampler: tuple[SamplerRow, ...]
    sampler_words: str
    troubles: tuple[str, ...]

    @property
    def none(self) -> bool:
        return not (self.warnings or self.lost or self.unsettled or self.troubles)


def host_facts(run: Run) -> Facts:
    """Facts of the lab machines; parties are the hosts."""
    return facts((str(boot.get("host", "")), boot.get("host_facts")) for boot in run.boots)


def guest_facts(run: Run) -> Facts:
    """Facts as the guests see themselves; parties are the arms, the reference first."""
    order = {arm: place for place, arm in enumerate(run.arms)}
    boots = sorted(run.boots, key=lambda boot: order.get(str(boot.get("arm")), 0))
    found = facts((str(boot.get("arm", "")), boot.get("guest")) for boot in boots)
    # These differ at every boot and say nothing about an environment.
    kept = tuple(row for row in found.differing if row[0] not in ("monotonic_ns", "uptime_s", "stages"))
    return Facts(found.parties, found.same, kept)


def file_facts(run: Run) -> Facts:
    """QEMU's binary and the kernel that the boots of each arm ran; the reference first. None for older runs."""
    titles = {
        "qemu": "QEMU",
        "qemu_sha256": "its sha256",
        "kernel": "guest kernel",
        "kernel_sha256": "the kernel's sha256",
    }
    order = {arm: place for place, arm in enumerate(run.arms)}
    told = [boot for boot in run.boots if isinstance(boot.get("files"), dict) and boot["files"]]
    told.sort(key=lambda boot: order.get(str(boot.get("arm")), 0))
    return facts(
        (str(boot.get("arm", "")), {titles.get(str(key), str(key)): value for key, value in boot["files"].items()})
        for boot in told
    )


def facts(sources: Iterable[tuple[str, Any]]) -> Facts:
    """(party, its facts) compared; what is no object has none."""
    seen: dict[str, dict[str, list[str]]] = {}
    for party, about in sources:
        for name, value in about.items() if isinstance(about, dict) else ():
            text = words.fact(name, value)
            texts = seen.setdefault(name, {}).setdefault(party, [])
            if text not in texts:
                texts.append(text)
    parties = tuple(dict.fromkeys(party for by_party in seen.values() for party in by_party))
    same, differing = [], []
    for name, by_party in seen.items():
        cells = tuple(_together(by_party.get(party, [])) for party in parties)
        if len(set(cells)) == 1 and all(len(by_party.get(party, [])) == 1 for party in parties):
            same.append((name, cells[0]))
        else:
            differing.append((name, cells))
    return Facts(parties, tuple(same), tuple(differing))


def _together(texts: Sequence[str]) -> str:
    if len(texts) > 3:
        return f"{len(texts)} different values, among them {texts[0]}"
    return " or ".join(texts) or words.NOTHING


def versions(run: Run) -> list[tuple[str, str]]:
    found = run.run.get("versions")
    return [(name, words.fact(name, value)) for name, value in found.items()] if isinstance(found, dict) else []


def command_lines(run: Run) -> list[CommandLine]:
    """The command of each arm's first boot that has one, usable boots preferred."""
    chosen: dict[str, Json] = {}
    for boot in sorted(run.boots, key=lambda boot: boot.get("status") != "ok"):
        if boot.get("argv"):
            chosen.setdefault(str(boot.get("arm", "")), boot)
    base = _options(chosen[run.reference]) if run.reference in chosen else Counter()
    result = []
    for arm in (arm for arm in run.arms if arm in chosen):
        boot = chosen[arm]
        own = _options(boot)
        result.append(
            CommandLine(
                arm,
                str(boot.get("boot", "")),
                " \\\n  ".join(_pieces([str(part) for part in boot["argv"]])),
                tuple((own - base).elements()) if base else (),
                tuple((base - own).elements()) if base else (),
                arm == run.reference,
            )
        )
    return result


def _pieces(argv: Sequence[str]) -> list[str]:
    """Options with their values, quoted for a shell, one a line."""
    pieces: list[str] = []
    for part in argv:
        if pieces and not part.startswith("-") and pieces[-1].startswith("-") and " " not in pieces[-1]:
            pieces[-1] += f" {shlex.quote(part)}"
        else:
            pieces.append(shlex.quote(part))
    return pieces


def _options(boot: Json) -> Counter[str]:
    """The options as a bag, without what belongs to one boot only: its name and its private folder."""
    argv = [str(part).replace(str(boot.get("boot")), "BOOT") for part in boot["argv"]]
    return Counter(re.sub(r"\bpath=[^,]*/", "path=…/", piece) for piece in _pieces(argv))


def doubts(run: Run, unread: Sequence[str]) -> Doubts:
    """unread: what could not be read while the figures were made."""
    warnings = run.analysis.get("warnings")
    return Doubts(
        warnings=tuple((str(item.get("code", "")), str(item.get("text", ""))) for item in warnings or []),
        lost=tuple(_lost(boot) for boot in run.boots if boot.get("status") != "ok"),
        unsettled=tuple(text for boot in run.boots for text in _unsettled(boot)),
        sampler=tuple(_sampler(boot) for boot in run.boots if boot.get("sampler")),
        sampler_words=_sampler_words(run.boots),
        troubles=(*run.troubles, *unread),
    )


def _lost(boot: Json) -> LostBoot:
    evidence = boot.get("evidence")
    lines = [str(line) for line in evidence] if isinstance(evidence, list) else [str(evidence)] if evidence else []
    return LostBoot(
        str(boot.get("boot", "")), str(boot.get("status", "")), str(boot.get("reason") or ""), "\n".join(lines)
    )


def _unsettled(boot: Json) -> list[str]:
    return [
        f"{boot.get('boot')}: {phase.get('name')}, iteration {int(phase.get('iteration') or 0) + 1}"
        for phase in boot.get("phases") or []
        if phase.get("kind") == "settle" and (phase.get("result") or {}).get("settled") is False
    ]


def _sampler(boot: Json) -> SamplerRow:
    sampler = boot["sampler"]
    error = (boot.get("clock") or {}).get("error_s")
    share = _cpu_share(sampler)
    return SamplerRow(
        str(boot.get("boot", "")),
        words.number(sampler.get("ticks"), "count"),
        words.number(sampler.get("missed"), "count"),
        words.number(share, "share"),
        words.number(error, "second"),
    )


def _cpu_share(sampler: Json) -> float | None:
    cpu, wall = sampler.get("cpu_s"), sampler.get("wall_s")
    return cpu / wall if words.is_number(cpu) and words.is_number(wall) and wall else None


def _sampler_words(boots: Sequence[Json]) -> str:
    samplers = [boot["sampler"] for boot in boots if isinstance(boot.get("sampler"), dict) and boot["sampler"]]
    if not samplers:
        return "No boot tells how its sampler did."
    ticks = sum(sampler.get("ticks") or 0 for sampler in samplers)
    missed = sum(sampler.get("missed") or 0 for sampler in samplers)
    shares = [share for sampler in samplers if (share := _cpu_share(sampler)) is not None]
    most = f"; it used at most {show(max(shares), 'share')} of one CPU" if shares else ""
    hz = sorted({f"{sampler['hz']:g}" for sampler in samplers if words.is_number(sampler.get("hz"))})
    rate = f" at {', '.join(hz)} Hz" if hz else ""
    return f"The sampler{rate} missed {missed} of {ticks + missed} ticks in {len(samplers)} boots{most}."


def order(run: Run) -> list[tuple[str, str, str]]:
    """(boot, status, when it started) in the order of the plan; then boots the plan does not name (second attempts)."""
    done = {str(boot.get("boot", "")): boot for boot in run.boots}
    names = [str(name) for name in run.run.get("schedule") or []]
    names += [name for name in done if name not in set(names)]
    rows = []
    for name in names:
        boot = done.get(name, {})
        rows.append((name, str(boot.get("status") or "not run"), str(boot.get("started") or words.NOTHING)))
    return rows


def plan_text(run: Run) -> str:
    """plan.yaml of the run, safe to show; "" where there is none."""
    path = run.sources[0] / "plan.yaml"
    return str(clean(path.read_text("utf-8", "replace"), _LONGEST_PLAN)) if path.is_file() else ""


def command(run: Run) -> str:
    """What was typed, for a shell; "bench" for the path of it."""
    words_ = run.run.get("command")
    typed = [str(word) for word in words_] if isinstance(words_, list) else []
    if typed and typed[0].endswith("/bench"):
        typed[0] = "bench"
    return shlex.join(typed)
