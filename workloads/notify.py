"""A guest that is told when its host needs memory: it frees some at once, and says how much that was.

What it frees reaches the host by free page reporting, some seconds later. The host's side is bench.host.policy.notify.
"""

from __future__ import annotations

import os
import threading
import time

from workloads import guestos, jsonlines, policy
from workloads.channel import Channel

TYPE_CHECKING = False  # importing typing is slow in an emulated guest
if TYPE_CHECKING:
    from typing import Any

PORT = "bench.notify"
_JOIN_S = 10.0


class Listening:
    """The operations of one guest. root: where dev, proc and sys are mounted."""

    def __init__(self, root: str = "/") -> None:
        self._root = root
        self._listener: Listener | None = None

    def start(self, how: str = "reclaim", obey: bool = True) -> dict[str, Any]:
        """Begins to listen. how: a kind of policy.FREEING. obey: False for a guest that hears and does nothing.

        Raises guestos.Unsupported where the kernel lacks what `how` needs, TimeoutError where there is no port.
        """
        if self._listener is not None:
            raise ValueError("a listener runs already: stop it first")
        act = policy.freeing(how, self._root)
        port = os.open(guestos.find_port(PORT), os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY)
        self._listener = Listener(port, act, obey, self._root)
        return {"how": how, "obey": obey}

    def stop(self) -> dict[str, Any]:
        """Ends it: as Listener.stop."""
        if self._listener is None:
            raise ValueError("nobody listens: start a listener first")
        listener, self._listener = self._listener, None
        return listener.stop()


class Listener:
    """A thread that waits for messages {"id", "bytes"}, and answers {"id", "freed_bytes", "ns"} if it obeys."""

    def __init__(self, port: int, act: policy.Free, obey: bool, root: str = "/") -> None:
        self._port, self._act, self._obey, self._root = port, act, obey, root
        self._stopping = threading.Event()
        self._heard: list[dict[str, Any]] = []
        self._cpu_ns = 0
        self._error = ""
        self._thread = threading.Thread(target=self._run, name="notify", daemon=True)
        self._thread.start()

    def stop(self) -> dict[str, Any]:
        """What it heard: messages (t_ns, ns, wanted_bytes, freed_bytes), cpu_ns of its thread. The host has closed its
        side before. Raises RuntimeError where the thread failed, TimeoutError where it does not end.
        """
        self._stopping.set()
        self._thread.join(_JOIN_S)
        if self._thread.is_alive():
            raise TimeoutError(f"the listener did not end within {_JOIN_S:g} s: is the host still connected?")
        os.close(self._port)
        if self._error:
            raise RuntimeError(f"the listener ended by itself: {self._error}")
        return {"messages": self._heard, "cpu_ns": self._cpu_ns}

    def _run(self) -> None:
        channel = Channel(self._port, wait_for_peer=True)
        try:
            for line in channel.lines(self._stopping.is_set):
                told = jsonlines.loads(line.decode())
                done = self._once(int(told["bytes"]))
                self._heard.append(done)
                if self._obey:
                    answer = {"id": told["id"], "freed_bytes": done["freed_bytes"], "ns": done["ns"]}
                    channel.send(jsonlines.dumps(answer).encode() + b"\n")
                self._cpu_ns = time.thread_time_ns()
        except Exception as error:  # noqa: BLE001 - told when it is stopped
            self._error = f"{type(error).__name__}: {error}"

    def _once(self, wanted: int) -> dict[str, Any]:
        before, start = policy.in_use(self._root), time.monotonic_ns()
        if self._obey:
            self._act(wanted)
        freed = before - policy.in_use(self._root)
        return {
            "t_ns": start,
            "ns": time.monotonic_ns() - start,
            "wanted_bytes": wanted,
            "freed_bytes": freed if self._obey else 0,
        }
