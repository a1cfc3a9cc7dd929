"""What a command's exit code says, as its help tells it; `bench.cli` makes the codes from exceptions."""

from __future__ import annotations

EXIT_CODES = """\b
Exit codes: 0 fine, 2 wrong use or a wrong file, 4 invalid (a control failed or the mechanism was not seen working),
5 the lab failed (SSH, host, QEMU), 130 interrupted."""
JUDGING = """\b
Exit codes: 0 fine, 1 a regression is confirmed, 2 wrong use or a wrong file, 3 undecided where that fails, 4 invalid (a
control failed, data are missing, or the mechanism was not seen working), 5 the lab failed, 130 interrupted."""
