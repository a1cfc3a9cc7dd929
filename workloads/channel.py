"""Lines over a virtio-serial port, or any other file descriptor."""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False  # importing typing and collections.abc is slow in an emulated guest
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Channel:
    """Lines over a file descriptor.

    wait_for_peer: an empty read means that nobody has opened the other side (virtio-serial), not that it ended.
    """

    def __init__(self, fd: int, wait_for_peer: bool = False) -> None:
        self._fd = fd
        self._wait_for_peer = wait_for_peer

    def lines(self, ending: Callable[[], bool] = lambda: False) -> Iterator[bytes]:
        """Complete lines without their ends, until the other side closes; and until `ending` while there is none."""
        buffer = b""
        while True:
            part = os.read(self._fd, 65536)
            if part:
                *whole, buffer = (buffer + part).split(b"\n")
                yield from (line for line in whole if line.strip())
            elif self._wait_for_peer and not ending():
                buffer = b""  # what one peer left unfinished is no start of the next one's line
                time.sleep(0.01)  # poll() says "hung up" at once here: there is no event to wait for
            else:
                return

    def send(self, line: bytes) -> None:
        """The whole line. Blocks until the host has opened its side."""
        rest = memoryview(line)
        while rest:
            rest = rest[os.write(self._fd, rest) :]
