"""What a host's doctor found: made on the host, shown by the controller."""

from __future__ import annotations

from dataclasses import dataclass

ORDER = ("error", "warn", "info", "ok")
# The value of a finding about what this host does not let itself be asked.
UNKNOWN = "not readable here"


@dataclass(frozen=True)
class Finding:
    """severity: one of ORDER. value: as seen. command: exactly what mends it, "" where no one command does.

    evidence: lines that prove it, too many for a table.
    """

    severity: str
    what: str
    value: str
    advice: str = ""
    command: str = ""
    evidence: tuple[str, ...] = ()
