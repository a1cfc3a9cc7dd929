"""The exceptions of the suite; each branch has one exit code and says whose fault it is.

    BenchError
    ├── InputError      2    a file or an option is wrong: "file:line: key: what is wrong, what would be right"
    ├── MissingError    2    this machine lacks something; carries the exact command that mends it
    ├── RegressionError 1    something became worse, and stayed so when it was measured again
    ├── UndecidedError  3    what was asked cannot be told from what was measured
    ├── InvalidError    4    a control failed, data are missing, or the mechanism was not seen working
    ├── LabError        5    a host, QEMU or the connection failed; carries host, command and last lines
    └── Interrupted   130    the user asked to stop

Only `bench.cli` turns an exception into an exit code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

EVIDENCE_LINES = 20


class BenchError(Exception):
    """Base of everything that ends a command with a message instead of a traceback."""

    exit_code = 1


class InputError(BenchError):
    """A file or an option is wrong. `str()` is one line a problem: `file:line: key: wrong, right`.

    key: set where only the host could tell that a value is wrong (a kernel that is no kernel); who knows the file then
    puts `file:line:` before it.
    """

    exit_code = 2

    def __init__(self, message: str, key: str = "") -> None:
        super().__init__(message)
        self.key = key


class MissingError(BenchError):
    """Something must be installed or allowed first; `command` is what an administrator should run."""

    exit_code = 2

    def __init__(self, message: str, command: str = "") -> None:
        super().__init__(f"{message}\n  run: {command}" if command else message)
        self.message = message
        self.command = command


class RegressionError(BenchError):
    """A blocking comparison is worse, and was worse again with fresh boots."""

    exit_code = 1


class UndecidedError(BenchError):
    """What was asked cannot be told from what was measured."""

    exit_code = 3


class InvalidError(BenchError):
    """The measurement happened but cannot be believed; the reason names the control or the boot."""

    exit_code = 4


class LabError(BenchError):
    """The lab failed, not the thing under test. Shows host, command and the last lines seen."""

    exit_code = 5

    def __init__(self, host: str, message: str, command: Sequence[str] = (), evidence: Sequence[str] = ()) -> None:
        lines = [f"host {host}: {message}"]
        if command:
            lines.append("  command: " + " ".join(command))
        lines += [f"  | {line}" for line in evidence]
        super().__init__("\n".join(lines))
        self.host = host
        self.message = message
        self.command = tuple(command)
        self.evidence = tuple(evidence)


class Interrupted(BenchError):  # noqa: N818 - an interruption is not an error
    """Ctrl-C or SIGTERM; everything finished so far is on disk."""

    exit_code = 130


def last_lines(log: str) -> tuple[str, ...]:
    """The end of a log, as evidence."""
    return tuple(log.splitlines()[-EVIDENCE_LINES:])


def reason_of(error: BenchError) -> tuple[str, tuple[str, ...]]:
    """Reason and evidence; the host's name is put before them by who shows them."""
    return (error.message, error.evidence) if isinstance(error, LabError) else (str(error), ())


def parts(error: BenchError) -> dict[str, Any]:
    """An exception as plain JSON, to be carried from a host to the controller."""
    return {
        "kind": type(error).__name__,
        "message": getattr(error, "message", str(error)),
        "key": getattr(error, "key", ""),
        "command": getattr(error, "command", ""),
        "evidence": list(getattr(error, "evidence", ())),
    }


def rebuilt(host: str, told: Mapping[str, Any]) -> BenchError:
    """The exception that `parts` was made of, raised on `host`: a host does not know what the controller calls it."""
    kind, message = told["kind"], told["message"]
    if kind == "InputError":
        return InputError(message, told["key"])
    if kind == "MissingError":
        return MissingError(f"host {host}: {message}", told["command"])
    if kind == "LabError":
        return LabError(host, message, told["command"], told["evidence"])
    return {"InvalidError": InvalidError, "Interrupted": Interrupted}.get(kind, BenchError)(f"host {host}: {message}")
