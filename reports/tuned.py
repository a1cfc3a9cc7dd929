"""What was changed on a host for the run: each time it was held, its settings before, during and after."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from reports import words
from reports.load import Json

NOT_RESTORED = "not restored as far as this run knows"
_SHOWN_FILES = 1


@dataclass(frozen=True)
class Row:
    """Files of one setting to which the same happened. trouble: something is not as it was asked or as it was."""

    name: str
    files: str
    before: str
    during: str
    after: str
    trouble: bool


@dataclass(frozen=True)
class Held:
    """One time that the host was held. notes: whose lock was taken over, what an earlier run had left changed."""

    since: str
    notes: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def shown(self) -> bool:
        return bool(self.notes or self.rows)


def holds(events: Sequence[Json]) -> tuple[Held, ...]:
    """Every hold of one host, from its events in their order; `held` without `released` was cut off."""
    starts = [place for place, event in enumerate(events) if event.get("event") == "held"]
    found = []
    for number, start in enumerate(starts):
        last = number + 1 == len(starts)
        end = len(events) if last else starts[number + 1]
        released = next((event for event in events[start:end] if event.get("event") == "released"), None)
        found.append(_held(events[start], released, None if last else events[end]))
    return tuple(found)


def _held(held: Json, released: Json | None, later: Json | None) -> Held:
    after = _by_file(_settings(released, "settings")) if released is not None else None
    seen_later = {file: str(item.get("before", "")) for file, item in _by_file(_settings(later, "settings")).items()}
    seen_later |= {file: str(item.get("now", "")) for file, item in _by_file(_settings(later, "recovered")).items()}
    rows: dict[tuple[str, str, str, str, bool], list[str]] = {}
    for item in _settings(held, "settings"):
        file = str(item.get("file") or "")
        restored, told = _after(item, after, seen_later)
        trouble = not told or item.get("state") == "refused"
        key = (str(item.get("name", "")), _value(item.get("before")), _during(item), restored, trouble)
        rows.setdefault(key, []).append(file)
    return Held(
        str(held.get("time", "")),
        tuple(_notes(held)),
        tuple(
            Row(name, _files(files), before, during, restored, trouble)
            for (name, before, during, restored, trouble), files in rows.items()
        ),
    )


def holder(value: Any) -> str:
    """Who holds or held a lock."""
    told = value if isinstance(value, dict) else {}
    parts = [str(told.get("owner") or "somebody")]
    parts += [f"run {told['run']}"] if told.get("run") else []
    parts += [f"since {words.when(told['since'])}"] if told.get("since") else []
    return ", ".join(parts)


def _notes(held: Json) -> Iterable[str]:
    if held.get("taken_over"):
        yield f"Took over a stale lock: {holder(held['taken_over'])}, whose process was gone."
    removed = held.get("removed")
    if isinstance(removed, list) and removed:
        yield f"Put away first: {'; '.join(map(str, removed))}."
    recovered = _settings(held, "recovered")
    if recovered:
        each = [f"{item.get('name')} {_value(item.get('now'))} ({_ended(item)})" for item in recovered]
        yield f"An earlier run had left settings changed: {', '.join(dict.fromkeys(each))}."


def _settings(event: Json | None, key: str) -> list[Json]:
    items = (event or {}).get(key)
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _by_file(settings: Sequence[Json]) -> dict[tuple[str, str], Json]:
    return {_place(item): item for item in settings}


def _place(item: Json) -> tuple[str, str]:
    return str(item.get("name", "")), str(item.get("file") or "")


def _value(value: Any) -> str:
    return str(value) if value not in (None, "") else words.NOTHING


def _during(item: Json) -> str:
    state, now, problem = str(item.get("state", "")), _value(item.get("now")), str(item.get("problem") or "")
    if state == "absent":
        return "this host does not have it"
    if state == "refused":
        return f"{now}, could not be touched{f': {problem}' if problem else ''}"
    if state == "set":
        return now
    return f"{now}, as wanted already" if state == "kept" else f"{now}{f' ({state})' if state else ''}"


def _after(item: Json, released: dict[tuple[str, str], Json] | None,
           later: dict[tuple[str, str], str]) -> tuple[str, bool]:  # fmt: skip
    """What became of a setting, and whether that is all as it should be."""
    if item.get("state") != "set":
        return words.NOTHING, True
    end = (released or {}).get(_place(item))
    if end is not None:
        return f"{_value(end.get('now'))} ({_ended(end)})", end.get("state") == "restored"
    seen = later.get(_place(item))
    if seen is not None:
        return f"{_value(seen)}, as found when the host was held again", seen == str(item.get("before", ""))
    return NOT_RESTORED, False


def _ended(item: Json) -> str:
    state, problem = str(item.get("state", "")), str(item.get("problem") or "")
    said = {
        "restored": "restored",
        "foreign": "changed by somebody else meanwhile, left alone",
        "refused": "could not be restored",
    }.get(state, state or "unknown")
    return f"{said}: {problem}" if problem else said


def _files(files: Sequence[str]) -> str:
    known = [file for file in files if file]
    more = len(known) - _SHOWN_FILES
    return ", ".join(known[:_SHOWN_FILES]) + (f" and {more} more" if more > 0 else "")
