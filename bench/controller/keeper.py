"""The conversation that holds a host for a run: the lock and the settings stay as long as it stays open."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence

from bench.controller.transport import Conversation
from bench.errors import LabError, last_lines, rebuilt
from bench.wire import codec, record
from bench.wire.record import Held, Record, Released, Reply, Waiting

# Restoring settings may take a sudo for each; a keeper that is killed meanwhile leaves the rest to its journal.
RELEASE_DEADLINE_S = 20.0


class Keeper:
    """A host that is being held. A thread reads what comes, so that a keeper that dies is noticed at once."""

    def __init__(self, running: Conversation, host: str, argv: Sequence[str]) -> None:
        self.held = Held()
        self._running = running
        self._host, self._argv = host, tuple(argv)
        self._records: queue.Queue[Record | None] = queue.Queue()
        self._gone = threading.Event()
        self._broke = ""
        self._reader = threading.Thread(target=self._read, name=f"keeper of {host}", daemon=True)
        self._reader.start()

    @property
    def gone(self) -> bool:
        """Whether the host side that holds the host has ended."""
        return self._gone.is_set()

    def wait_until_held(self, on_waiting: Callable[[Waiting], None]) -> None:
        """Returns when the host is held. Raises LabError with the holder's name, or what else went wrong there."""
        while True:
            item = self._records.get()
            if isinstance(item, Held):
                self.held = item
                return
            if isinstance(item, Waiting):
                on_waiting(item)
            elif isinstance(item, Reply) and item.error:
                raise rebuilt(self._host, item.error)
            else:
                raise self.died()

    def release(self, deadline_s: float = RELEASE_DEADLINE_S) -> Released | None:
        """Gives the host back; what its settings are then, None when the host side could not say."""
        self._running.close_input()
        self._reader.join(deadline_s)
        self._running.end(deadline_s)
        released = None
        while not self._records.empty():
            item = self._records.get()
            released = item if isinstance(item, Released) else released
        return released

    def died(self) -> LabError:
        """What to raise when `gone` was seen before `release`."""
        evidence = [*last_lines(self._running.log), *([self._broke] if self._broke else [])]
        return LabError(self._host, "what holds the lock and the settings of this host has ended", self._argv, evidence)

    def _read(self) -> None:
        try:
            for line in self._running.lines():
                self._records.put(record.decode(line))
        except (codec.WireError, OSError, ValueError) as error:
            self._broke = f"the conversation broke: {error}"
        finally:
            self._gone.set()
            self._records.put(None)
