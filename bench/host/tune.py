"""Settings of the host are read, set, read back, and restored to what was read, whatever happened in between.

Nothing is written whose former value is not in the journal, on disk. What cannot be written is "refused" with its
reason, and the rest goes on: a host that is half quiet is told to be so.
"""

from __future__ import annotations

import dataclasses
import errno
import itertools
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path

from bench.errors import InputError
from bench.host.journal import COMMAND, Entry, Journal
from bench.host.knobs import KNOBS, Knob, KnobFile, read_text, smt_problem
from bench.host.settingfile import LATE, Write, read
from bench.wire.setting import NAMES, ONLY_BY_NAME, Setting

HELD_ELSEWHERE = "cpu_latency"  # a device that is held open during each boot
_KNOBS = {knob.name: knob for knob in KNOBS}


def ordered(names: Sequence[str]) -> list[str]:
    """The names, each once, in the order in which they are applied: SMT first, because CPUs vanish with it.

    Raises InputError for a name that is none.
    """
    unknown = sorted(set(names) - set(NAMES))
    if unknown:
        raise InputError(f"unknown setting {', '.join(map(repr, unknown))}; known: {', '.join(NAMES)}", "tune")
    return sorted(set(names), key=lambda name: (name != "smt", NAMES.index(name)))


def show(names: Sequence[str], root: Path = Path("/")) -> list[Setting]:
    """The settings as they are, state "found" or "absent", one a file. No names: all. Raises InputError."""
    everything = [name for name in NAMES if name != HELD_ELSEWHERE]
    shown = [item for name in ordered(names or everything) for item in _look(name, root)]
    return [item if item.state == "absent" else dataclasses.replace(item, state="found") for item in shown]


def apply(names: Sequence[str], journal: Journal, by: str, write: Write, root: Path = Path("/")) -> list[Setting]:
    """Sets the quiet values; "kept", "set", "refused" or "absent". No names: all that are not ONLY_BY_NAME.

    `by` goes into the journal. What COMMAND has in it stays its own: the user wants it, and restores it. Raises
    InputError before anything is written.
    """
    everything = [name for name in NAMES if name != HELD_ELSEWHERE and name not in ONLY_BY_NAME]
    done: list[Setting] = []
    # All are read before the first is written; but which CPUs there are is known only behind SMT.
    for _, group in itertools.groupby(ordered(names or everything), lambda name: name == "smt"):
        found = [item for name in group for item in _look(name, root)]
        todo = [item for item in found if item.state == "found"]
        changed = {item.file: item for item in _change(todo, journal, by, write, root)}
        done += [changed.get(item.file, item) for item in found]
    return done


def recover(journal: Journal, write: Write, root: Path = Path("/")) -> list[Setting]:
    """Restores what runs left that did not end; whoever has the host's lock knows that they are dead."""
    return _restore([entry for entry in journal.entries if entry.by != COMMAND], journal, write, root)


def restore(
    journal: Journal, write: Write, root: Path = Path("/"), by: str | None = None, names: Sequence[str] = ()
) -> list[Setting]:
    """Puts back what the journal has (of `by` and of these names, or all), the last change first, and drops it.

    "restored"; "foreign" where somebody else changed it meanwhile: left alone, and dropped; "refused" and "absent"
    (the file is gone, as with a CPU that is offline): the entry stays. Raises OSError when the journal cannot be
    rewritten, after every setting was restored.
    """
    entries = [entry for entry in journal.entries if by in (None, entry.by) and (not names or entry.name in names)]
    return _restore(entries, journal, write, root)


# -- there ---------------------------------------------------------------------------------------------------------


def _look(name: str, root: Path) -> list[Setting]:
    """The files of a knob, judged: "kept", "refused" (it cannot be read, or put back), "absent", or "found"."""
    if name == HELD_ELSEWHERE:
        problem = "held open during each boot; nothing to set beforehand"
        return [Setting(name, "", "", "", "", "absent", problem)]
    target = _KNOBS[name].target(root)
    settings = [] if target is None else _judged(_KNOBS[name], *target)
    if name == "smt":
        settings = [_smt_judged(item, root) for item in settings]
    return settings or [Setting(name, "", "", "", "", "absent")]


def _judged(knob: Knob, setting: KnobFile, paths: Sequence[Path]) -> list[Setting]:
    found = []
    for path in paths:
        value, number, problem = read(path)
        if number == errno.EBUSY:
            continue  # what cpufreq answers for a CPU that is offline, and has no clock
        if problem:
            found.append(Setting(knob.name, str(path), "", setting.set_to, "", "refused", problem))
        elif value in setting.quiet:
            found.append(Setting(knob.name, str(path), value, value, value, "kept"))
        else:
            found.append(Setting(knob.name, str(path), value, setting.set_to, value, "found"))
    return found


def _smt_judged(item: Setting, root: Path) -> Setting:
    quiet, problem = smt_problem(root)
    if item.state != "found" or not problem:
        return item
    return dataclasses.replace(item, state="kept" if quiet else "refused", problem=problem)


def _change(todo: Sequence[Setting], journal: Journal, by: str, write: Write, root: Path) -> list[Setting]:
    """Journal, write, read back, journal what was left."""
    boot_id = _boot_id(root)
    entries = [_entry(item, journal, by, boot_id) for item in (*_besides(todo, root), *todo)]
    known = {entry.file for entry in journal.entries}
    try:
        journal.change(put=entries)
    except OSError as error:
        problem = f"not written, because the journal {journal.path} cannot be: {error.strerror}"
        return [dataclasses.replace(item, state="refused", problem=problem) for item in todo]
    done = _set([(item, item.wanted) for item in todo], "set", write)
    now = {item.file: item.now for item in done}
    left = [
        dataclasses.replace(entry, left=now.get(entry.file, read(Path(entry.file))[0]) or None) for entry in entries
    ]
    changed = {item.name for item in done if item.now != item.before}
    same = {item.file for item in done if item.now == item.before}
    drop = {entry.file for entry in entries if entry.file in same or entry.name not in changed} - known
    try:
        journal.change(put=left, drop=drop)
    except OSError as error:  # the entries of before restore as well
        problem = f"the journal {journal.path} cannot be written: {error.strerror}"
        return [dataclasses.replace(item, problem=item.problem or problem) for item in done]
    return done


def _besides(todo: Sequence[Setting], root: Path) -> list[Setting]:
    """What may change with these settings, as it is; nothing is wanted of it."""
    found = []
    for name in dict.fromkeys(item.name for item in todo):
        for path in _KNOBS[name].beside(root):
            value, _, problem = read(path)
            if not problem and not value.startswith("<"):  # "<unsupported>"
                found.append(Setting(name, str(path), value, "", value, "found"))
    return found


def _entry(item: Setting, journal: Journal, by: str, boot_id: str) -> Entry:
    when = datetime.now(timezone.utc).isoformat(timespec="seconds")
    entry = Entry(item.name, item.file, item.before, item.wanted, by, when, boot_id)
    earlier = journal.of(item.file)
    if earlier is None or earlier.boot_id != boot_id or _is_foreign(earlier, item.before):
        return entry
    # The first value that was read is the one to restore, and what the user asked for stays so.
    return dataclasses.replace(entry, before=earlier.before, by=earlier.by if earlier.by == COMMAND else by)


def _is_foreign(entry: Entry, now: str) -> bool:
    """Whether somebody else wrote this value. Who died before reading back left whatever is there, for all we know."""
    return entry.left is not None and now not in (entry.before, entry.wanted, entry.left)


def _set(todo: Sequence[tuple[Setting, str]], state: str, write: Write) -> list[Setting]:
    """Each written to its value, then read back: in `state`, or "refused"."""
    problems: list[str] = []
    for value, group in itertools.groupby(todo, lambda pair: pair[1]):
        problems += write([Path(item.file) for item, _ in group], value)
    return [_read_back(item, value, state, problem) for (item, value), problem in zip(todo, problems)]


def _read_back(item: Setting, value: str, state: str, refusal: str) -> Setting:
    now, _, problem = read(Path(item.file))
    if not problem and now == value:
        return dataclasses.replace(item, now=now, state=state)
    if refusal == LATE:
        now = ""
    # A write that failed explains more than what is read after it.
    problem = refusal or problem or f"{value} was written, but {now} is read back"
    return dataclasses.replace(item, now=now, state="refused", problem=problem)


def _boot_id(root: Path) -> str:
    return read_text(root / "proc/sys/kernel/random/boot_id") or ""


# -- back ----------------------------------------------------------------------------------------------------------


def _restore(entries: Sequence[Entry], journal: Journal, write: Write, root: Path) -> list[Setting]:
    """What is only besides a setting (nothing was wanted of it) is judged before, and put back after the settings."""
    boot_id = _boot_id(root)
    besides = [entry for entry in reversed(entries) if not entry.wanted]
    ours = [entry for entry in besides if _judged_back(entry, root, boot_id).state != "foreign"]
    with suppress(OSError):  # who is killed below must not take for foreign what the kernel changes now
        journal.change(put=[dataclasses.replace(entry, left=None) for entry in ours])
    done: list[Setting] = []
    # Files of CPUs come back with SMT.
    for _, group in itertools.groupby((e for e in reversed(entries) if e.wanted), lambda entry: entry.name == "smt"):
        done += _put_back(list(group), write, root, boot_id)
    mains = {item.name for item in done}
    back = {item.name for item in done if item.state == "restored"}
    waiting = {item.name for item in done if item.state in ("refused", "absent")}
    beside = _put_back([entry for entry in ours if entry.name in back or entry.name not in mains], write, root, boot_id)
    gone = {item.file for item in (*done, *beside) if item.state in ("restored", "foreign")}
    # Where the settings are somebody else's now, so is what is besides them.
    over = {entry.file for entry in besides if entry not in ours or entry.name in mains - back - waiting}
    journal.change(drop=gone | over)
    return done + [item for item in beside if item.state != "restored"]


def _put_back(entries: Sequence[Entry], write: Write, root: Path, boot_id: str) -> list[Setting]:
    judged = [_judged_back(entry, root, boot_id) for entry in entries]
    todo = [(item, item.before) for item in judged if item.state == "found"]
    written = {item.file: item for item in _set(todo, "restored", write)}
    return [written.get(item.file, item) for item in judged]


def _judged_back(entry: Entry, root: Path, boot_id: str) -> Setting:
    """ "restored" already, "foreign", "absent", "refused" (not readable), or "found": to be written."""
    path = Path(entry.file)
    item = Setting(entry.name, entry.file, entry.before, entry.wanted, "", "foreign")
    if not _is_setting(path, root):
        return dataclasses.replace(item, problem="no file of /sys or /proc/sys; left alone")
    now, number, problem = read(path)
    item = dataclasses.replace(item, now=now)
    if now == entry.before:
        return dataclasses.replace(item, state="restored")
    if boot_id and entry.boot_id and boot_id != entry.boot_id:
        return dataclasses.replace(item, problem=f"the host was started again since; {now or 'it'} is left alone")
    if number in (errno.ENOENT, errno.EBUSY):
        missing = "the file is gone, or its CPU is offline; it is restored when it is back"
        return dataclasses.replace(item, state="absent", problem=missing)
    if number:
        return dataclasses.replace(item, state="refused", problem=problem)
    if _is_foreign(entry, now):
        return dataclasses.replace(item, problem=f"somebody else changed it to {now}; left alone")
    return dataclasses.replace(item, state="found")


def _is_setting(path: Path, root: Path) -> bool:
    """Whether tuning may write such a file at all: somebody's hand may have been in the journal."""
    base = root.resolve()
    return ".." not in path.parts and any(base / top in path.parents for top in ("sys", "proc/sys"))
