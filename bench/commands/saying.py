"""What is told to the user: messages go to stderr, stdout is kept for data."""

from __future__ import annotations

import sys
from contextlib import suppress


def say(text: str) -> None:
    """A message for the user. May be called by any thread."""
    tell(f"bench: {text}\n")


def tell(text: str) -> None:
    """Text to stderr, in one piece: threads must not mix their lines. A run of hours goes on when its reader left."""
    with suppress(OSError):
        sys.stderr.write(text)
        sys.stderr.flush()
