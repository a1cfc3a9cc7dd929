"""What was changed on this host and has to be put back: a file that outlives the process which changed it.

An entry is on disk before its setting is written, so whoever comes after a process that was killed can restore. The
file is replaced atomically. It is a JSON list with one entry a line, so that of a damaged one every whole line counts.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Optional

from bench.errors import LabError
from bench.wire import codec

COMMAND = "command"
FILE = "tuned.json"


@dataclass(frozen=True)
class Entry:
    """A file that was written: what to write back, and how to see that it still is as it was left.

    by: COMMAND for a change that the user asked for, else the run's name. when: UTC, ISO. boot_id: of the host's boot,
    "" where it is not readable. left: what was read after writing; None where the process died before it could tell.
    """

    name: str
    file: str
    before: str
    wanted: str
    by: str
    when: str
    boot_id: str
    left: Optional[str] = None


def default_path() -> Path:
    """$BENCH_STATE/tuned.json, else fpr-bench/HOST/tuned.json in $XDG_STATE_HOME, else in ~/.local/state.

    No cache: who empties that must not lose this. The host's name is in it because several may share a home folder.
    """
    named = os.environ.get("BENCH_STATE")
    if named:
        return Path(named) / FILE
    base = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state")
    return base / "fpr-bench" / (platform.node() or "host") / FILE


class Journal:
    """The entries of a file, in the order in which settings were changed. Its one writer is who has the host's lock.

    problems: what is wrong with the file; the entries are what could be read of it. Raises LabError when it cannot be
    read at all.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            text = ""
        except OSError as error:
            right = "name another folder in BENCH_STATE, or make it readable"
            raise LabError("", f"the journal {path} cannot be read: {error.strerror}; {right}") from error
        self.entries, bad = _parse(text)
        self.problems = [f"{path}: {bad}; {len(self.entries)} whole entries count"] if bad else []
        self._damaged = bool(bad)

    def mend(self) -> None:
        """Keeps a damaged file aside, under a name of its own, and goes on with what could be read. Raises OSError."""
        if not self._damaged:
            return
        when = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S")
        aside = self.path.with_name(f"{self.path.name}.bad-{when}-{os.getpid()}")
        os.link(self.path, aside)  # a second name first: at no moment are the contents without one
        self._write(self.entries)
        self._damaged = False
        self.problems.append(f"the damaged file is kept as {aside}")

    def change(self, put: Sequence[Entry] = (), drop: Iterable[str] = ()) -> None:
        """Adds entries, one of a file that is known in that one's place, and drops those of the files in `drop`.

        On disk when it returns. Raises OSError, and then nothing has changed.
        """
        self.mend()
        gone = set(drop)
        entries = {entry.file: entry for entry in (*self.entries, *put)}
        kept = [entry for file, entry in entries.items() if file not in gone]
        if kept != self.entries:
            self._write(kept)
            self.entries = kept

    def of(self, file: str) -> Entry | None:
        """The entry of a file."""
        return next((entry for entry in self.entries if entry.file == file), None)

    def _write(self, entries: Sequence[Entry]) -> None:
        folder = self.path.parent
        if not entries:
            self.path.unlink(missing_ok=True)
        else:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            temp = folder / f".{self.path.name}.new"
            lines = [json.dumps(codec.to_json(entry), ensure_ascii=False) for entry in entries]
            _write_synced(temp, "[\n" + ",\n".join(lines) + "\n]\n")
            temp.replace(self.path)
        _sync_folder(folder)


def _write_synced(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)


def _sync_folder(folder: Path) -> None:
    if folder.is_dir():
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _parse(text: str) -> tuple[list[Entry], str]:
    """The entries, and what is wrong with the text ("" when nothing is)."""
    lines = text.splitlines()
    found = [_entry(line) for line in lines if line not in ("[", "]")]
    entries = {entry.file: entry for entry in found if entry}
    wrong = found.count(None)
    if wrong:
        return list(entries.values()), f"{wrong} of {len(lines)} lines are no entry"
    if text and (lines[0], lines[-1]) != ("[", "]"):
        return list(entries.values()), "the file is cut off"
    return list(entries.values()), ""


def _entry(line: str) -> Entry | None:
    try:
        entry = codec.from_json(Entry, json.loads(line.rstrip(",")))
    except (ValueError, RecursionError):  # a WireError is a ValueError
        return None
    return entry if _is_text(entry) else None


def _is_text(entry: Entry) -> bool:
    texts = (entry.name, entry.file, entry.before, entry.wanted, entry.by, entry.when, entry.boot_id)
    return all(isinstance(text, str) for text in texts) and (entry.left is None or isinstance(entry.left, str))
