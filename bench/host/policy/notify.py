"""A loop that tells a guest when its host needs memory; the guest frees some, and free page reporting returns it.

Messages are JSON lines over a virtio-serial port of their own: the guest's agent may be busy with its load. A message
may be lost (on purpose, every `lose_every`-th) and a guest may not obey: who gets no answer asks again, then gives up
until the next look. The guest's side is workloads/notify.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any, Optional

from bench.host.policy.headroom import headroom
from bench.host.policy.loop import Action, PolicyError
from bench.host.policy.pressure import Alarm
from bench.host.scene import Scene

_CONNECT_S = 10.0


class Notifying:
    """One guest's loop."""

    def __init__(self, scene: Scene, params: dict[str, Any]) -> None:
        """params: headroom (acts when a smaller share of what the host has is left, or when PSI says that somebody
        was stalled on memory), least_bytes (asked for at least), pause_s (after an answer, for reporting to return
        it), answer_s and tries (waits so long for an answer, and asks so often), lose_every (0: no message is lost).
        """
        given = {"headroom": 0.2, "least_bytes": 16 << 20, "pause_s": 2.5, "answer_s": 2.0, "tries": 3, "lose_every": 0}
        unknown = params.keys() - given.keys()
        if unknown:
            raise ValueError(f"unknown parameters of notify: {', '.join(sorted(unknown))}")
        self._given: dict[str, Any] = {**given, **params}
        self._scene = scene
        self._alarm = Alarm(scene)
        self._number = 0
        self._rest_until_s = 0.0
        self._reader: Optional[asyncio.StreamReader] = None
        self._writer: Optional[asyncio.StreamWriter] = None

    async def begin(self) -> None:
        path = str(self._scene.folder / "notify")
        connecting = asyncio.open_unix_connection(path)
        self._reader, self._writer = await asyncio.wait_for(connecting, _CONNECT_S)
        self._alarm.begin()

    async def end(self) -> None:
        """Nothing: what the guest freed is its own to use again."""

    def close(self) -> None:
        self._alarm.end()
        if self._writer is not None:
            self._writer.close()

    async def step(self) -> Action:
        """One look at the host; a message, and what the guest says to it, where the host needs memory."""
        saw_s, given = self._scene.now(), self._given
        left, whole = headroom(self._scene)
        stalled = self._alarm.rang()
        short = int(given["headroom"] * whole) - left
        if saw_s < self._rest_until_s or (short <= 0 and not stalled):
            return None
        wanted = max(int(given["least_bytes"]), short // self._scene.job.guests)
        seen = {"t_s": saw_s, "headroom_bytes": left, "stalled": stalled}
        asked_s = self._scene.now()
        told = await self._asked(wanted)
        done_s = self._scene.now()
        self._rest_until_s = done_s + given["pause_s"]
        return {**seen, "asked_s": asked_s, "done_s": done_s, "wanted_bytes": wanted, **told}

    async def _asked(self, wanted: int) -> dict[str, Any]:
        """bytes that the guest says it freed, reached (whether it answered), messages, and how many were lost."""
        lost = 0
        for attempt in range(1, self._given["tries"] + 1):
            self._number += 1
            every = self._given["lose_every"]
            if every and self._number % every == 0:
                lost += 1
            else:
                await self._send({"id": self._number, "bytes": wanted})
            answer = await self._answer()
            if answer is not None:
                return {"bytes": int(answer["freed_bytes"]), "reached": True, "messages": attempt, "lost": lost}
        return {"bytes": 0, "reached": False, "messages": self._given["tries"], "lost": lost}

    async def _send(self, message: dict[str, Any]) -> None:
        assert self._writer is not None
        self._writer.write(json.dumps(message).encode() + b"\n")
        # A guest that does not read fills its port: that is no answer.
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._writer.drain(), self._given["answer_s"])

    async def _answer(self) -> Optional[dict[str, Any]]:
        """The answer to the last message, None where none came in time; late ones to earlier messages are passed by."""
        end = self._scene.now() + self._given["answer_s"]
        while True:
            assert self._reader is not None
            try:
                line = await asyncio.wait_for(self._reader.readline(), max(0.0, end - self._scene.now()))
            except asyncio.TimeoutError:
                return None
            if not line:
                raise PolicyError("the guest's port for messages was closed")
            try:
                answer: dict[str, Any] = json.loads(line)
                if answer["id"] == self._number:
                    return {"freed_bytes": int(answer["freed_bytes"])}
            except (ValueError, KeyError, TypeError) as error:
                raise PolicyError(f"not an answer of the guest's listener: {line[:200]!r}") from error
