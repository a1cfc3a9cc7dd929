"""Progress as lines: for people where there is no terminal, and for programs as JSON."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO

from bench.controller.collect import Collected
from bench.controller.progress_events import Event, Telling, in_words
from bench.wire.codec import to_json
from bench.wire.job import Job
from bench.wire.record import PhaseDone, Record


class LineWriter:
    """Whole lines, each flushed, until one cannot be written: a run of hours does not end because its onlooker left."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._broken = False

    def write(self, text: str) -> str:
        """Why nothing can be written from now on; "" when it was written, or when this has been said before."""
        if self._broken:
            return ""
        try:
            self._stream.write(text + "\n")
            self._stream.flush()
        except OSError as error:
            self._broken = True
            return error.strerror or str(error)
        return ""


@dataclass
class PlainProgress(Telling):
    """A line at the end of each boot and of each host, and one for each note.

    A run of one host also has a line at the start of a boot, and none for a host that is done.
    """

    out: LineWriter

    def boot_goes_on(self, job: Job, seen: Collected, record: Record) -> None:
        """Nothing: a log is read afterwards."""

    def _show(self, event: Event) -> None:
        alone = len(self._tally.hosts) == 1
        hidden = event.status == "done" if alone else event.event == "boot-start"
        if event.event != "host-start" and not hidden:
            self.out.write(in_words(event, alone=alone))


def _utc() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


@dataclass
class JsonProgress(Telling):
    """Every event as a JSON object on a line of `out`: "time" (UTC, ISO 8601 with ms), then the fields of Event.

    `problems` gets a line for people about each boot that is not ok and each lost host, and nothing else.
    """

    out: LineWriter
    problems: LineWriter
    utc: Callable[[], dt.datetime] = _utc

    def boot_goes_on(self, job: Job, seen: Collected, record: Record) -> None:
        if isinstance(record, PhaseDone):
            self._phase_done(job, seen, record)

    def _show(self, event: Event) -> None:
        fields = {field.name: getattr(event, field.name) for field in dataclasses.fields(event)}
        known = {name: _rounded(value) for name, value in fields.items() if value is not None}
        time = self.utc().isoformat(timespec="milliseconds")
        # What a note tells may be anything that has a text, as a Path.
        problem = self.out.write(json.dumps({"time": time, **to_json(known)}, default=str))
        if problem:
            self.problems.write(f"bench: progress cannot be written to stdout: {problem}; the run goes on without it")
        if is_problem(event):
            self.problems.write(in_words(event, alone=False))


def is_problem(event: Event) -> bool:
    """A boot that is not ok, or a host that was lost."""
    return event.status != "ok" if event.event == "boot-end" else event.status == "lost"


def _rounded(value: object) -> object:
    """Milliseconds are enough, and short."""
    return round(value, 3) if isinstance(value, float) else value
