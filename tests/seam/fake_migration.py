"""The fake QEMU's migration: state and memory of the guest over a unix socket, as two QEMUs of one host do it.

A word `fake=MODE` among the kernel's arguments chooses what goes wrong; both sides read it:
  migrate-slow     never ends, until it is cancelled     migrate-refuses   fails, and says why
  migrate-dies     the second QEMU ends with status 1 in the middle
  migrate-loses    three pages of region "held" arrive as zero
  migrate-panics   the guest panics where it went, at the first question
  migrate-silent   it answers nothing there              migrate-killed    its QEMU is killed then
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from typing import Any

PAGE = 4096
CHUNK = 256 * PAGE


class Migration:
    """One side of it. ram, guest: of this QEMU. incoming: the socket's path, "" at the source."""

    def __init__(self, ram: Any, guest: Any, mode: str, incoming: str) -> None:
        self._ram = ram
        self._guest = guest
        self._mode = mode
        self.status = "inmigrate" if incoming else "running"
        self.arrived = threading.Event()
        self._found: dict[str, Any] = {}
        self._cancelled = threading.Event()
        if incoming:
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(incoming)
            listener.listen(1)
            threading.Thread(target=self._receive, args=(listener,), daemon=True).start()

    def answer(self, command: str, arguments: dict[str, Any]) -> Any:
        """The answer of a monitor's command; None where it is none of these."""
        if command == "query-status":
            return {"running": self.status == "running", "status": self.status}
        if command == "cont":
            self.status = "running"
            return {}
        if command == "migrate-set-parameters":
            return {}
        if command == "migrate":
            self._found = {"status": "active", "ram": {}}
            threading.Thread(target=self._send, args=(arguments["uri"][len("unix:") :],), daemon=True).start()
            return {}
        if command == "migrate_cancel":
            self._cancelled.set()
            return {}
        return self._found if command == "query-migrate" else None

    def _send(self, path: str) -> None:
        start, normal, zero = time.monotonic(), 0, 0
        if self._mode == "migrate-refuses":
            self._found = {"status": "failed", "error-desc": "the moon is full"}
            return
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(path)
                connection.sendall(json.dumps(self._guest.state()).encode() + b"\n")
                for offset in range(0, self._ram.size, CHUNK):
                    part = os.pread(self._ram.fd, CHUNK, offset)
                    connection.sendall(part)
                    pages = [part[page : page + PAGE].strip(b"\0") for page in range(0, CHUNK, PAGE)]
                    zero += sum(not page for page in pages)
                    normal += sum(bool(page) for page in pages)
                    if self._mode == "migrate-slow":
                        self._found = {"status": "active", "ram": self._counts(normal, zero)}
                        self._cancelled.wait()
                        self._found = {"status": "cancelled"}
                        return
                connection.shutdown(socket.SHUT_WR)
                connection.recv(1)
        except OSError as error:
            self._found = {"status": "failed", "error-desc": f"Unable to write to socket: {error.strerror}"}
            return
        self.status = "postmigrate"
        times = {"total-time": int((time.monotonic() - start) * 1e3), "downtime": 3, "setup-time": 1}
        self._found = {"status": "completed", **times, "ram": self._counts(normal, zero)}

    def _counts(self, normal: int, zero: int) -> dict[str, int]:
        counts = {"normal": normal, "duplicate": zero, "transferred": normal * PAGE + 9 * zero}
        return {**counts, "dirty-sync-count": 2, "total": self._ram.size, "remaining": 0, "page-size": PAGE}

    def _receive(self, listener: socket.socket) -> None:
        connection, _ = listener.accept()
        stream = connection.makefile("rb")
        state = json.loads(stream.readline())
        for offset in range(0, self._ram.size, CHUNK):
            part = stream.read(CHUNK)
            if self._mode == "migrate-dies":
                sys.stderr.write("qemu-system-fake: load of migration failed\n")
                sys.stderr.flush()
                os._exit(1)
            if len(part) < CHUNK:  # cancelled
                os._exit(1)
            for page in range(0, CHUNK, PAGE):
                if part[page : page + PAGE].strip(b"\0"):
                    os.pwrite(self._ram.fd, part[page : page + PAGE], offset + page)
        if self._mode == "migrate-loses":
            os.pwrite(self._ram.fd, bytes(3 * PAGE), state["regions"]["held"][0])
        self._guest.restore(state)
        self.status = "paused"
        self.arrived.set()
        connection.close()
