"""Whether one boot can be believed: the mechanism seen working, memory intact, the sampler awake.

A boot that is not believable is `invalid`, never a zero. What only makes it doubtful is a Doubt.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from bench.analysis.conditions import FAILED_DISCARD, recognised
from bench.analysis.doubts import Doubt
from bench.analysis.giving import gave, not_given
from bench.analysis.kinds import PROOF, kind_of
from bench.analysis.members import members
from bench.analysis.series import NO_CURVE, Curve, curves
from bench.analysis.summary import Summary, is_warmup, phases_by_iteration
from bench.analysis.values import DISCARD, LEAST_RETURNED_BYTES, RAM, Boot, number
from bench.analysis.values_crowd import density_doubts
from bench.analysis.values_jitter import probe_doubts
from bench.analysis.values_migration import hinting_problems, migration_doubts
from bench.analysis.values_policy import is_on_host, is_resized, policy_doubts, policy_problems
from bench.wire.units import show_bytes

REPORTING_BIT = 5  # VIRTIO_BALLOON_F_REPORTING, Linux include/uapi/linux/virtio_balloon.h
MOST_MISSED_SHARE = 0.10
LONGEST_GAP_S = 1.0
MOST_CLOCK_ERROR_S = 0.25

Problem = tuple[str, list[str]]  # reason, evidence


def judge(boot: Boot, series: pd.DataFrame) -> tuple[str, str, list[str]]:
    """(status, reason, evidence) of one boot line; status is "ok", "invalid" or "failed".

    What the host side ended with is kept where it is not "ok": nothing was measured then. Otherwise the first problem
    is the reason; evidence holds that of all problems, other reasons included.
    """
    if boot.get("status") in ("failed", "invalid", "skipped"):
        return str(boot["status"]), str(boot.get("reason", "")), [str(line) for line in boot.get("evidence") or []]
    problems = _problems(boot, curves(series))
    if not problems:
        return "ok", "", []
    others = [f"also: {reason}" for reason, _ in problems[1:]]
    return (
        "invalid",
        problems[0][0],
        [*problems[0][1], *others, *(line for _, lines_ in problems[1:] for line in lines_)],
    )


def _problems(boot: Boot, lines: dict[str, Curve]) -> list[Problem]:
    """Of every guest, with its number where there are several."""
    found: list[Problem] = []
    for member, own in members(boot, lines):
        problems = [
            *_pattern(member),
            *_sampler(member, own.get(RAM, NO_CURVE)),
            *_clock(member),
            *_mechanism(member, own),
            *hinting_problems(member),
        ]
        who = f"guest {member['number']}: " if "number" in member else ""
        found += [(f"{who}{reason}", evidence) for reason, evidence in problems]
    return found


def boot_doubts(boot: Boot, series: pd.DataFrame, summary: Summary) -> list[Doubt]:
    """What makes a believable boot doubtful: no plateau, some failed discards, values that are missing."""
    found = [*summary.doubts, *density_doubts(boot)]
    for member, own in members(boot, curves(series)):
        who = f"guest {member['number']}: " if "number" in member else ""
        found += [Doubt(doubt.code, f"{who}{doubt.text}") for doubt in _guest_doubts(member, own)]
    return found


def _guest_doubts(boot: Boot, lines: dict[str, Curve]) -> list[Doubt]:
    doubts = []
    for index in unsettled_iterations(boot):
        text = f"iteration {index}: residency was still moving when the settle phase reached its deadline"
        doubts.append(Doubt("unsettled", text))
    doubts += [*not_given(boot), *policy_doubts(boot), *probe_doubts(boot), *migration_doubts(boot)]
    if any("node-name=disk" in str(word) and "cache.direct=off" in str(word) for word in boot.get("argv") or []):
        text = "the scratch disk was read through the host's page cache: its file system cannot do O_DIRECT"
        doubts.append(Doubt("cached-disk", text))
    failed = lines.get(FAILED_DISCARD, NO_CURVE)
    if boot.get("must_discard") and len(failed) and len(lines.get(DISCARD, NO_CURVE)):
        text = f"{len(failed)} discards failed ({show_bytes(failed.v.sum())}) beside others that worked"
        doubts.append(Doubt("failed-discards", text))
    return doubts


def unsettled_iterations(boot: Boot) -> list[int]:
    """Counted iterations whose settle phase ended at its deadline instead of a plateau."""
    return [
        index
        for index, phases in sorted(phases_by_iteration(boot).items())
        if not is_warmup(phases) and phases.get("settle", {}).get("result", {}).get("settled") is False
    ]


def _pattern(boot: Boot) -> list[Problem]:
    problems = []
    for phase in boot.get("phases") or []:
        result = phase.get("result") or {}
        bad = number(result.get("bad_pages")) or 0
        if bad > 0:
            where = f"phase {phase.get('name')} of iteration {phase.get('iteration')}"
            reason = f"pattern not verified: {bad:.0f} pages in use lost their content in {where}"
            problems.append((reason, [_first_bad(where, result.get("first_bad") or {})]))
    return problems


def _first_bad(where: str, bad: dict[str, Any]) -> str:
    address, expected, found = (_hex(bad.get(key)) for key in ("address", "expected", "found"))
    return f"{where}: first bad page at address {address}: expected {expected}, found {found}"


def _hex(value: Any) -> str:
    return hex(value) if isinstance(value, int) else str(value)


def _sampler(boot: Boot, ram: Curve) -> list[Problem]:
    sampler = boot.get("sampler") or {}
    if sampler.get("error"):
        return [("sampler failed", [str(sampler["error"])])]
    if len(ram) == 0:
        return [("sampler failed", [f"the series has no {RAM}"])]
    problems: list[Problem] = []
    ticks, missed = number(sampler.get("ticks")) or 0.0, number(sampler.get("missed")) or 0.0
    if missed > MOST_MISSED_SHARE * (ticks + missed):
        problems.append(
            ("sampler missed too many ticks", [f"{missed:.0f} missed, {ticks:.0f} taken; 10 % is the limit"])
        )
    hz = number(sampler.get("hz")) or 0.0
    limit = max(LONGEST_GAP_S, 3 / hz) if hz > 0 else LONGEST_GAP_S
    gaps = [(gap, where) for gap, where in _gaps(boot, ram) if gap > limit]
    if gaps:
        gap, where = max(gaps)
        problems.append(("sampler had a gap", [f"{gap:.2f} s without a sample in {where}; {limit:g} s is the limit"]))
    return problems


def _gaps(boot: Boot, ram: Curve) -> list[tuple[float, str]]:
    found = []
    for phase in boot.get("phases") or []:
        start, end = number(phase.get("start_s")), number(phase.get("end_s"))
        if phase.get("name") in kind_of(boot).measured and start is not None and end is not None:
            found.append((ram.largest_gap(start, end), f"phase {phase['name']} of iteration {phase.get('iteration')}"))
    return found


def _clock(boot: Boot) -> list[Problem]:
    clock = boot.get("clock") or {}
    error = number(clock.get("error_s"))
    if clock.get("error") or error is None:
        return [("clocks were not tied", [str(clock.get("error") or "no exchange of guest and host time")])]
    if abs(error) > MOST_CLOCK_ERROR_S:
        text = f"offset of the guest's clock known to {error:.3f} s; {MOST_CLOCK_ERROR_S} s is the limit"
        return [("clocks were not tied", [text])]
    return []


def _negotiated(boot: Boot) -> bool:
    features = (boot.get("guest") or {}).get("balloon_features") or ""
    return str(features)[REPORTING_BIT : REPORTING_BIT + 1] == "1"


def _facts(boot: Boot, lines: dict[str, Curve]) -> list[str]:
    guest = boot.get("guest") or {}
    features = guest.get("balloon_features")
    bit = f"{int(_negotiated(boot))} (features {features})" if features else "absent: no balloon device"
    done, failed = lines.get(DISCARD, NO_CURVE), lines.get(FAILED_DISCARD, NO_CURVE)
    facts = [
        f"feature bit {REPORTING_BIT} (reporting): {bit}",
        f"page_reporting_order: {guest.get('page_reporting_order')}",
        f"discards: {len(done)} ({show_bytes(done.v.sum())}), failed discards: {len(failed)}",
    ]
    if len(failed):
        facts.append(f"first failed discard: {show_bytes(failed.v[0])} at {failed.t[0]:.3f} s")
    if len(done):
        facts.append(f"first discard: {show_bytes(done.v[0])} at {done.t[0]:.3f} s")
    return facts


def _proofs(boot: Boot, lines: dict[str, Curve]) -> list[tuple[float, float]]:
    """From a free to the end of its settle phase, in seconds, each time that both happened and were sampled."""
    names = {phase.get("name") for phase in boot.get("phases") or []}
    # A plan whose own free cannot be reported, as of blocks too small, frees something else first.
    first, last = PROOF if PROOF[0] in names else kind_of(boot).proof
    found = []
    for phases in phases_by_iteration(boot).values():
        start = number(phases.get(first, {}).get("start_s"))
        end = number(phases.get(last, {}).get("end_s"))
        if start is not None and end is not None and len(lines.get(RAM, NO_CURVE)):
            found.append((start, end))
    return found


def _discarded(lines: dict[str, Curve], start: float, end: float) -> float:
    return float(lines.get(DISCARD, NO_CURVE).between(start, end).v.sum())


def _mechanism(boot: Boot, lines: dict[str, Curve]) -> list[Problem]:
    if boot.get("give") or is_resized(boot):
        wrong = gave(boot, lines) if boot.get("give") else policy_problems(boot)
        if _negotiated(boot):
            wrong.append("reporting was negotiated in an arm that must not have it")
        return [(reason, _facts(boot, lines)) for reason in wrong]
    looked = [(reason, _facts(boot, lines)) for reason in policy_problems(boot)] if is_on_host(boot) else []
    return [*looked, *(_mechanism_seen if boot.get("must_discard") else _mechanism_absent)(boot, lines)]


def _mechanism_seen(boot: Boot, lines: dict[str, Curve]) -> list[Problem]:
    if not _negotiated(boot):
        return [("mechanism not seen: reporting was not negotiated", _facts(boot, lines))]
    known = [_discarded(lines, *window) for window in _proofs(boot, lines)]
    if not known:
        return [("mechanism not seen: discards were not measured", _facts(boot, lines))]
    if min(known) > 0:
        return []
    failed = len(lines.get(FAILED_DISCARD, NO_CURVE))
    why = (
        f"all {failed} discards failed" if failed and not len(lines.get(DISCARD, NO_CURVE)) else "nothing was discarded"
    )
    return [(f"mechanism not seen: {why} between the free and the end of the settle phase", _facts(boot, lines))]


def _mechanism_absent(boot: Boot, lines: dict[str, Curve]) -> list[Problem]:
    if boot.get("expect") == "nothing":
        return _control(boot, lines)
    if _negotiated(boot) and not boot.get("reporting"):
        return [("reporting was negotiated in an arm that must not have it", _facts(boot, lines))]
    if len(lines.get(DISCARD, NO_CURVE)):
        return [("memory was discarded in an arm that must not discard", _facts(boot, lines))]
    return []


def _control(boot: Boot, lines: dict[str, Curve]) -> list[Problem]:
    """An arm that reports, and must get nothing back by it from its free on.

    Before that it may discard: a guest that is full later reports what is free at its boot. The residency is asked
    beside the discards, for a discard that QEMU calls failed may have freed the memory all the same.
    """
    facts = _facts(boot, lines)
    windows = _proofs(boot, lines)
    if not recognised(boot, lines):
        return [("control not understood: nothing in this boot says why reports can do nothing", facts)]
    if not windows:
        return [("control not seen: no free was sampled to the end of its settle phase", facts)]
    # Less is the allocator's own: it splits a large block that was reported, and the other half is reported anew.
    if any(_discarded(lines, *window) > LEAST_RETURNED_BYTES for window in windows):
        return [("memory was discarded in a control, in which reports must do nothing", facts)]
    for start, end in windows:
        before, after = lines[RAM].at(start), lines[RAM].at(end)
        if before is not None and after is not None and before - after > LEAST_RETURNED_BYTES:
            text = f"{show_bytes(before - after)} of residency went from the free to the end of the settle phase"
            return [("memory came back in a control, in which reports must do nothing", [text, *facts])]
    return []
