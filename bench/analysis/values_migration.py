"""Migration: its metrics, and whether the guest is the same where it went. docs/metrics.md has the definitions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bench.analysis.doubts import Doubt
from bench.analysis.values import NOT_ASKED, NOT_CONVERGED, UNSOUND, Boot, How, Iteration, Missing, number
from bench.wire.units import show_bytes

# Bits of /proc/sys/kernel/tainted: a bad page, an oops or BUG, a warning, a lockup
# (Documentation/admin-guide/tainted-kernels.rst).
_TROUBLE = {5: "a bad page", 7: "an oops or a BUG", 9: "a warning", 14: "a lockup"}
_MOST_LINES = 6
# A thread that is woken at the start and the end of a migration, and takes no hint, uses less.
LEAST_HINT_NS = 500_000


def hinting_problems(boot: Boot) -> list[tuple[str, list[str]]]:
    """(reason, evidence) where hinting was not seen at work in an arm that has it.

    By the CPU time of the thread that takes hints and does nothing else. Memory tells nothing of them: a guest that
    clears pages when it allocates them (init_on_alloc) hints pages that are zero, on both sides.
    """
    if not boot.get("hinting"):
        return []
    moves = [result for name, result in _results(boot) if name == "migrate" and result.get("converged")]
    if not moves:
        if any(name == "migrate" for name, _ in _results(boot)):
            return []  # it did not converge, which says so itself
        return [("mechanism not seen: nothing was migrated, so nothing could be left out by hints", [])]
    if all((number(result.get("hint_cpu_ns")) or 0) >= LEAST_HINT_NS for result in moves):
        return []
    seen = [f"CPU time of the thread for hints: {result.get('hint_cpu_ns')} ns" for result in moves]
    return [("mechanism not seen: QEMU took no hints while it migrated", seen)]


def migration_doubts(boot: Boot) -> list[Doubt]:
    """What a reader of the figures has to know: no end of the migration, a destination that is not sound."""
    found = [
        Doubt("not-converged", _cancelled(phase))
        for phase in boot.get("phases") or []
        if phase.get("name") == "migrate" and phase.get("result", {}).get("converged") is False
    ]
    lines = wrong(boot)
    if lines:
        text = "bytes and pages only, the destination is not sound with this QEMU: " + "; ".join(lines[:_MOST_LINES])
        found.append(Doubt("destination-not-sound", text))
    return found


def _cancelled(phase: dict[str, Any]) -> str:
    left = number(phase["result"].get("remaining_bytes"))
    rest = "it did not converge" if left is None else f"{show_bytes(left)} were left to send"
    return f"the migration was cancelled after {phase['end_s'] - phase['start_s']:.0f} s: {rest}"


def wrong(boot: Boot) -> list[str]:
    """What of the guest is not as it was where it went; [] for a sound one, and where it was never looked at."""
    moves: dict[int, dict[str, dict[str, Any]]] = {}
    for phase in boot.get("phases") or []:
        moves.setdefault(int(phase.get("iteration", 0)), {})[str(phase.get("name"))] = phase
    return [line for phases in moves.values() for line in _wrong_in(boot, phases)]


def _wrong_in(boot: Boot, phases: Mapping[str, dict[str, Any]]) -> list[str]:
    """The same of one move. phases: of its iteration, by name."""
    looked, moved, before = (phases.get(name, {}).get("result") or {} for name in ("inspect", "migrate", "health"))
    if not looked or looked.get("skipped"):
        return []
    lines = [] if looked.get("alive") else [f"it did not go on: {looked.get('reason', '')}"]
    answers = looked.get("answers", {})
    for name, answer in answers.items():
        bad = number(answer.get("bad_pages")) or 0
        if bad:
            lines.append(f"{bad:.0f} wrong pages in check {name}, the first one: {answer.get('first_bad')}")
    lines += _new_trouble(before, answers.get("health", {}))
    lost = _lost_pages(boot, moved)
    if lost:
        lines.append(f"{lost:.0f} of {moved.get('pages')} pages differ from those at the source")
    return lines


def _lost_pages(boot: Boot, moved: Mapping[str, Any]) -> float:
    """Pages that differ although nothing that the guest told its host allows it.

    A hinted page is free and was left out. A page that is reported while the guest moves is free too: QEMU discards it,
    but does not mark it as changed (virtio_balloon_handle_report), so the other side keeps what was sent before.
    """
    if boot.get("hinting"):
        return 0
    different = number(moved.get("different_pages")) or 0
    return different - (number(moved.get("emptied_pages")) or 0 if boot.get("reporting") else 0)


def _new_trouble(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    bits = int(after.get("tainted") or 0) & ~int(before.get("tainted") or 0)
    lines = [f"its kernel is tainted by {what}" for bit, what in _TROUBLE.items() if bits >> bit & 1]
    known = before.get("complaints") or []
    return lines + [f"its kernel says: {line}" for line in after.get("complaints") or [] if line not in known]


def _results(boot: Boot) -> list[tuple[str, dict[str, Any]]]:
    return [(str(phase.get("name")), phase.get("result") or {}) for phase in boot.get("phases") or []]


def _moved(it: Iteration) -> dict[str, Any]:
    result: dict[str, Any] = it.phase("migrate").get("result", {})
    if result.get("converged") is False:
        raise Missing(NOT_CONVERGED)
    return result


def _of(key: str, sound: bool = False) -> How:
    """What phase `migrate` answered. sound: only where the guest is the same where it went."""

    def value(it: Iteration) -> float:
        _moved(it)
        if sound:
            _check_sound(it)
        return it.result("migrate", key)

    return value


def _check_sound(it: Iteration) -> None:
    _moved(it)
    if _wrong_in(it.boot, it.phases):
        raise Missing(UNSOUND)


def _answer(it: Iteration, name: str) -> dict[str, Any]:
    _moved(it)
    answers: dict[str, Any] = it.phase("inspect").get("result", {}).get("answers", {})
    if name not in answers:
        raise Missing(f"the guest was not asked for {name}, or did not answer")
    found: dict[str, Any] = answers[name]
    return found


def _growth_of(key: str) -> Callable[[Iteration], float]:
    """Of a counter of the guest's kernel, from before the migration to the look at it where it went."""

    def value(it: Iteration) -> float:
        _check_sound(it)
        after = number(_answer(it, "health").get(key))
        if after is None:
            raise Missing(f"the guest's kernel does not count {key}")
        return after - it.result("health", key)

    return value


def _settled(it: Iteration) -> float:
    _check_sound(it)
    return it.result("inspect", "destination_bytes")


def _wrong_pages(it: Iteration) -> float:
    _moved(it)
    answers = it.phase("inspect").get("result", {}).get("answers", {})
    counts = [number(answer.get("bad_pages")) for answer in answers.values()]
    known = [count for count in counts if count is not None]
    if not known:
        raise Missing("the guest did not answer where it went")
    return sum(known)


def _sound(it: Iteration) -> float:
    _moved(it)
    it.phase("inspect")
    return 0.0 if _wrong_in(it.boot, it.phases) else 1.0


def _writer_gap(it: Iteration) -> float:
    if "writer" not in it.phases:
        raise Missing(NOT_ASKED)
    _check_sound(it)
    gap = number(_answer(it, "writer").get("longest_ns"))
    if gap is None:
        raise Missing("the writer did not say how long it stood still")
    return gap / 1e9


MIGRATION: dict[str, How] = {
    "migration_sent_bytes": _of("sent_bytes"),
    "migration_normal_pages": _of("normal_pages"),
    "migration_zero_pages": _of("zero_pages"),
    "migration_syncs": _of("syncs"),
    "migration_s": _of("total_s", sound=True),
    "migration_down_s": _of("down_s", sound=True),
    "migration_setup_s": _of("setup_s", sound=True),
    "migration_source_bytes": lambda it: it.result("migrate", "source_bytes"),
    "migration_destination_bytes": _of("destination_bytes"),
    "migration_growth_bytes": lambda it: _of("destination_bytes")(it) - it.result("migrate", "source_bytes"),
    "migration_source_growth_bytes": lambda it: _of("source_after_bytes")(it) - it.result("migrate", "source_bytes"),
    "migration_settled_bytes": _settled,
    "migration_different_pages": _of("different_pages"),
    "migration_emptied_pages": _of("emptied_pages"),
    "migration_sound": _sound,
    "migration_wrong_pages": _wrong_pages,
    "migration_writer_gap_s": _writer_gap,
    "migration_stalls": _growth_of("stalls"),
    "migration_oom_kills": _growth_of("oom_kills"),
}
