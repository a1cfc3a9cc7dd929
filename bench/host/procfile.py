"""Files of /proc and /sys that are read again and again: opened once, a few system calls a reading."""

from __future__ import annotations

import os
import weakref
from pathlib import Path

_CHUNK_BYTES = 32 << 10


class ProcFile:
    """An open file whose content is made anew at every reading. Raises OSError when it cannot be opened or read."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._fd)

    def text(self) -> str:
        """The whole content now. A seq_file may give less than was asked for, so the end is an empty reading."""
        data = os.pread(self._fd, _CHUNK_BYTES, 0)
        while True:
            more = os.pread(self._fd, _CHUNK_BYTES, len(data))
            if not more:
                return data.decode()
            data += more
