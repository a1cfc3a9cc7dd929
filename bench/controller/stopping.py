"""How the work on a host is told to end: by any thread, at any moment, and also where the host side hangs."""

from __future__ import annotations

import threading

from bench.controller.transport import Conversation


class Stopping:
    """Whether the work on one host is to end, and the conversation that has to be ended for it.

    One thread works, and says what runs by `begun` and `ended`; `stop` may be called by any.
    """

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._changing = threading.Lock()
        self._running: Conversation | None = None
        self._patience_s: float | None = None
        self._patience: threading.Timer | None = None

    @property
    def asked(self) -> bool:
        """Whether `stop` was called: nothing is to be begun any more."""
        return self._asked.is_set()

    def stop(self, *, now: bool = False) -> None:
        """Ends what runs, in order; now: at once. May take as long as a dead connection takes to be noticed."""
        self._asked.set()
        with self._changing:
            running = self._running
        if running is None:
            return
        if now:
            running.end(0.0)
        else:
            self._close(running)

    def begun(self, running: Conversation, patience_s: float | None = None) -> None:
        """This runs now. patience_s: after a stop it is ended by force when it did not end by itself; None: never."""
        with self._changing:
            self._running, self._patience_s = running, patience_s
        if self.asked:
            self._close(running)

    def ended(self) -> None:
        """Nothing runs now."""
        with self._changing:
            self._running = None
            patience, self._patience = self._patience, None
        if patience is not None:
            patience.cancel()

    def _close(self, running: Conversation) -> None:
        with self._changing:
            if self._running is running and self._patience is None and self._patience_s is not None:
                self._patience = threading.Timer(self._patience_s, running.end, (0.0,))
                self._patience.daemon = True
                self._patience.start()
        running.close_input()
