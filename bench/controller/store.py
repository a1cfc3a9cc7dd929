"""A run's folder: plain files, written as they come, each line flushed, finished lines never rewritten.

A run that was killed at any moment is a valid run of the boots in boots.jsonl: a boot's series and logs are complete
before its line is appended.
"""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import hashlib
import io
import json
import math
import os
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.errors import InputError, LabError
from bench.wire.record import Row
from bench.wire.units import MIB, show_bytes

SCHEMA = 1
# A boot of some minutes leaves about 1 MiB; the page and the exports a few more.
NEEDED_BYTES = 64 * MIB
_FOLDERS = ("series", "log", "pyperf", "hosts")


def check_destination(path: Path) -> None:
    """Raises InputError when a run's folder cannot be made there; changes nothing."""
    if path.exists():
        raise _unwritable(path, "it exists already; resume it with --resume, or name another")
    try:
        base = next(parent for parent in path.absolute().parents if parent.exists())
        free = shutil.disk_usage(base).free
    except OSError as error:
        raise _unwritable(path, str(error.strerror)) from error
    if not base.is_dir() or not os.access(base, os.W_OK | os.X_OK):
        raise _unwritable(path, f"{base} is no folder that can be written; name another")
    if free < NEEDED_BYTES:
        raise _unwritable(path, f"{show_bytes(free)} free on its disk, {show_bytes(NEEDED_BYTES)} are needed")


def _unwritable(path: Path, why: str) -> InputError:
    return InputError(f"--out {path}: {why}")


class StoreError(LabError):
    """The run's folder cannot be written any more: no host's trouble, and the end of the run on all of them."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__("controller", f"{path}: {what}")


class RunFolder:
    """One run under results/. Use `create` or `existing`. Several threads, one a host, may append at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._appending = threading.Lock()

    @classmethod
    def create(cls, path: Path, run: dict[str, Any], plan: str, hosts: str) -> RunFolder:
        """A new folder with run.json, plan.yaml and hosts.yaml. Raises InputError when it cannot be written."""
        check_destination(path)
        try:
            for name in _FOLDERS:
                (path / name).mkdir(parents=True)
        except OSError as error:
            raise _unwritable(path, str(error.strerror)) from error
        folder = cls(path)
        folder.write_json("run.json", run)
        folder.write_text("plan.yaml", plan)
        folder.write_text("hosts.yaml", hosts)
        return folder

    @classmethod
    def existing(cls, path: Path) -> RunFolder:
        """A folder made by `create`. Raises InputError when it is none."""
        folder = cls(path)
        if not (path / "run.json").is_file():
            raise InputError(f"{path}: no run folder (it has no run.json); `bench list runs` shows those there are")
        return folder

    @property
    def run(self) -> dict[str, Any]:
        """run.json."""
        data: dict[str, Any] = json.loads((self.path / "run.json").read_text())
        return data

    def boots(self) -> list[dict[str, Any]]:
        """The finished boots, in the order in which they ended. A line torn by a crash is no finished boot."""
        return self._lines("boots.jsonl")

    def events(self) -> list[dict[str, Any]]:
        """What happened to the hosts besides boots, oldest first (`append_event`)."""
        return self._lines("events.jsonl")

    def host(self, name: str) -> dict[str, Any] | None:
        """hosts/<name>.json: what the host answered when it was first reached; None when it never was."""
        path = self.path / "hosts" / f"{name}.json"
        return json.loads(path.read_text()) if path.exists() else None

    def _lines(self, name: str) -> list[dict[str, Any]]:
        path = self.path / name
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith(b"\n")]

    def append_boot(self, boot: dict[str, Any], rows: Sequence[Row], logs: dict[str, str]) -> None:
        """A finished boot: its series and logs first, then its line. Raises StoreError when the disk is full."""
        try:
            self._write_series(self.path / boot["series"], rows)
            for name, text in logs.items():
                self.write_text(f"log/{boot['boot']}.{name}.txt", text)
            self._append_line("boots.jsonl", boot)
        except OSError as error:
            raise StoreError(self.path, f"boot {boot['boot']} cannot be saved: {error.strerror}") from error

    def append_event(self, host: str, event: str, **facts: Any) -> None:
        """One line of events.jsonl. The kinds are in docs/architecture.md. Raises StoreError when the disk is full."""
        now = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
        try:
            self._append_line("events.jsonl", {"time": now, "host": host, "event": event, **facts})
        except OSError as error:
            raise StoreError(self.path, f"an event cannot be saved: {error.strerror}") from error

    def _append_line(self, name: str, value: dict[str, Any]) -> None:
        line = json.dumps(_finite(value), ensure_ascii=False, allow_nan=False).encode(errors="replace") + b"\n"
        path = self.path / name
        with self._appending, path.open("ab") as file:
            end = file.tell()
            whole = _whole_lines(path)
            if end != whole:
                file.truncate(whole)
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def _write_series(self, path: Path, rows: Sequence[Row]) -> None:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("t_s", "source", "name", "value"))
        writer.writerows((f"{t:.6f}", source, name, f"{value:.12g}") for t, source, name, value in sorted(rows))
        # mtime=0: the same series gives the same bytes.
        _replace(path, gzip.compress(text.getvalue().encode(), compresslevel=6, mtime=0))

    def write_json(self, name: str, value: Any) -> None:
        self.write_text(name, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")

    def write_text(self, name: str, text: str) -> None:
        _replace(self.path / name, text.encode(errors="replace"))

    def seal(self) -> None:
        """manifest.json: run.json's facts and the sha256 of every file. Written last."""
        files = sorted(path for path in self.path.rglob("*") if path.is_file() and path.name != "manifest.json")
        digests = {
            path.relative_to(self.path).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
        }
        self.write_json("manifest.json", {**self.run, "files": digests})


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinity: what is not finite was not measured."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(data)
    temporary.replace(path)


def _whole_lines(path: Path) -> int:
    """Length of the file up to its last newline. Only a file with a torn line is read as a whole."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1))
        if file.read(1) in (b"", b"\n"):
            return size
    return path.read_bytes().rfind(b"\n") + 1
