"""Where guests of one job wait for one another: phases that are done, or never will be."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from bench.wire.job import Phase


class Meeting:
    """Keeps what each phase of each guest answered, and lets others wait for it. For one event loop."""

    def __init__(self, guests: int, phases: Iterable[Phase]) -> None:
        self._done = {(phase.guest, phase.name): asyncio.Event() for phase in phases}
        self._results: dict[tuple[int, str], dict[str, Any]] = {}
        self._running = set(range(guests))
        self._over = asyncio.Event()

    def done(self, guest: int, name: str, result: dict[str, Any]) -> None:
        """A phase is done; of a phase that comes again in later iterations the first time counts for those who wait."""
        self._results[guest, name] = result
        self._done[guest, name].set()

    def results(self, guest: int) -> dict[str, dict[str, Any]]:
        """What the phases of one guest answered so far, by their names."""
        return {name: result for (number, name), result in self._results.items() if number == guest}

    def leave(self, guest: int) -> None:
        """A guest has no more phases to come; what it did not do will never be done."""
        for (number, _), event in self._done.items():
            if number == guest:
                event.set()
        self._running.discard(guest)
        if not self._running:
            self._over.set()

    async def wait(self, wanted: Iterable[Any]) -> None:
        """Until each of `wanted`, as (guest, phase), is done or never will be. Raises KeyError for one that is none."""
        for guest, name in wanted:
            await self._done[guest, name].wait()

    async def everybody(self) -> None:
        """Until no guest has a phase to come."""
        await self._over.wait()

    def declines(self, unless: Any) -> bool:
        """Whether a guest is not to be started: `unless` is (guest, phase, key), None for always starting.

        A phase that never happened declines too: the guest before was not started either.
        """
        if unless is None:
            return False
        guest, phase, key = unless
        result = self._results.get((guest, phase))
        return result is None or bool(result.get(key))
