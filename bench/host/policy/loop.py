"""What every loop is: a task that takes steps, its log of actions, its CPU time, and the error that ended it."""

from __future__ import annotations

import asyncio
import functools
import json
import time
from collections.abc import Coroutine, Generator
from typing import Any, Callable, Optional, Protocol

# One thing that was done, for the log; None where a look found nothing to do.
Action = Optional[dict[str, Any]]


class PolicyError(Exception):
    """A loop ended by itself: from then on the boot was not what its arm says."""


class Policy(Protocol):
    """What a loop runs. step: looks once, acts if need be, within a deadline of its own. end: undoes what it did.
    close: lets go of what it holds, whatever ended it.
    """

    async def begin(self) -> None: ...

    async def step(self) -> Action: ...

    async def end(self) -> None: ...

    def close(self) -> None: ...


class Metered:
    """Awaits a coroutine, and counts the CPU time that this thread spends in it, not in what it waits for."""

    def __init__(self, begin: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """begin: makes the coroutine, once it is awaited; one that nobody ever began would be complained of."""
        self._begin = begin
        self.cpu_ns = 0

    def __await__(self) -> Generator[Any, Any, None]:
        work = self._begin()
        step: Callable[[], Any] = functools.partial(work.send, None)
        while True:
            begin = time.thread_time_ns()
            try:
                waiting = step()
            except StopIteration:
                return
            finally:
                self.cpu_ns += time.thread_time_ns() - begin
            try:
                yield waiting
                step = functools.partial(work.send, None)
            except BaseException as error:  # noqa: BLE001 - the coroutine's to handle: a cancellation, mostly
                step = functools.partial(work.throw, error)


class Loop:
    """A policy at work until `stop`. Make it in an event loop; `error` says why it ended before its time."""

    def __init__(self, kind: str, policy: Policy, period_s: float) -> None:
        self.kind, self._policy, self._period_s = kind, policy, period_s
        self.actions: list[dict[str, Any]] = []
        self.looks = 0
        self._stopping = asyncio.Event()
        self._metered = Metered(self._run)
        self._task = asyncio.ensure_future(_awaited(self._metered))

    @property
    def error(self) -> str:
        """Why it ended although nobody stopped it; "" while it runs, or after `stop`."""
        if self._stopping.is_set() or not self._task.done() or self._task.cancelled():
            return ""
        problem = self._task.exception()
        return f"the loop {self.kind} of the host side ended by itself: {problem or type(problem).__name__}"

    async def stop(self) -> dict[str, Any]:
        """Ends it behind its present step. -> kind, looks, actions, count, bytes (that were taken), cpu_ns.

        cpu_ns: of the loop's own steps; QEMU's answers are read by the monitor for all who ask. Raises PolicyError.
        """
        if self.error:
            raise PolicyError(self.error)
        self._stopping.set()
        try:
            await self._task
        except Exception as problem:
            raise PolicyError(f"the loop {self.kind} of the host side failed: {problem}") from problem
        return {
            "kind": self.kind,
            "looks": self.looks,
            "actions": self.actions,
            "count": len(self.actions),
            "bytes": sum(max(0, action["bytes"]) for action in self.actions),
            "cpu_ns": self._metered.cpu_ns,
        }

    def log(self) -> str:
        """What it did so far, a JSON line an action, and the error that ended it: what is left of a loop that died."""
        lines = [json.dumps(action) for action in self.actions]
        return "\n".join([*lines, self.error] if self.error else lines)

    async def abandon(self) -> None:
        """It is gone, whatever it was doing. Harmless when repeated."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        try:
            await self._policy.begin()
            while not self._stopping.is_set():
                self.looks += 1
                action = await self._policy.step()
                if action is not None:
                    self.actions.append(action)
                await self._pause()
            # Not where it failed or was abandoned: nobody measures then, and QEMU may be gone.
            await self._policy.end()
        finally:
            self._policy.close()

    async def _pause(self) -> None:
        waiting = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait({waiting}, timeout=self._period_s)
        waiting.cancel()


async def _awaited(metered: Metered) -> None:
    await metered
