"""A command line that any login shell understands alike, and how it is told where the program's own output begins.

sshd hands one text to the user's login shell (sshd(8), LOGIN PROCESS). bash reads .bashrc before it runs that, and many
a .bashrc prints something; csh, tcsh and fish quote otherwise than sh does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

# A line of stdout: what comes before it was printed by the login shell's own files.
MARK = b"fpr-bench begins"
_PLAIN = re.compile(r"[A-Za-z0-9_./:,@+-]+")
# Inside single quotes fish takes a backslash for an escape, csh an exclamation mark for history; before the closing
# quote of sh. Outside of them a backslash means the same to all.
_SPECIAL = re.compile(r"(['\\!])")


def command_line(argv: Sequence[str]) -> bytes:
    """Runs `argv` behind a line with MARK.

    For sh, bash, rbash, zsh, fish, csh and tcsh; csh takes no newline in a word. No `exec`, which rbash refuses.
    Raises UnicodeError for text that is no file name anywhere.
    """
    words = ["echo", f"{quoted(MARK.decode())};", *map(quoted, argv)]
    return " ".join(words).encode(errors="surrogateescape")


def quoted(word: str) -> str:
    """One word for any shell."""
    return word if _PLAIN.fullmatch(word) else "'" + _SPECIAL.sub(r"'\\\1'", word) + "'"
