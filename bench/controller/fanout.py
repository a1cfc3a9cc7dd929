"""The same work on many hosts at once, each in a thread of its own. A host that fails is a value beside the others."""

from __future__ import annotations

import queue
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TypeVar

from bench.errors import BenchError

T = TypeVar("T")
# How late a signal may be heard.
SIGNALS_S = 0.5
# The name of a piece of work that has ended; None is an interrupt.
Events = queue.SimpleQueue[str | None]


class Abandoned(KeyboardInterrupt):
    """The second interrupt: what is at work was told to end at once, and is not waited for."""


def each(
    work: Mapping[str, Callable[[], T]],
    limit: int,
    stop: Callable[[], None],
    leave: Callable[[], None] = lambda: None,
) -> dict[str, T | BenchError]:
    """What each piece of work answered, or the BenchError that it raised, in the order of `work`; `limit` at once.

    On an interrupt what has not begun is dropped, `stop` is called, which must make the rest end soon, and
    KeyboardInterrupt is raised when all have ended. So is any other exception of a piece of work: it is a bug. An
    interrupt after that has `leave` called, which must make the rest end at once, and raises Abandoned.
    """
    events: Events = queue.SimpleQueue()
    pool = ThreadPoolExecutor(max(1, min(limit, len(work))), thread_name_prefix="host")
    with _interrupts_to(events):
        futures: dict[str, Future[T | BenchError]] = {name: pool.submit(piece) for name, piece in work.items()}
        for name, future in futures.items():
            future.add_done_callback(_noting(events, name))
        try:
            cause = _until_all_ended(futures, events, stop, leave)
        finally:
            pool.shutdown(wait=False)
    if cause is not None:
        raise cause
    return {name: _outcome(future) for name, future in futures.items()}


@contextmanager
def _interrupts_to(events: Events) -> Iterator[None]:
    """An interrupt is an event inside.

    As an exception it could come between any two steps, and one in the middle of a lock's or a thread's own code
    leaves that locked for ever. What is ignored, or ends the program without Python's help, stays as it is.
    """
    numbers = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.getsignal(number) for number in numbers}
    mine = {number: handler for number, handler in before.items() if callable(handler)}
    for number in mine:
        signal.signal(number, lambda _number, _frame: events.put(None))
    try:
        yield
    finally:
        for number, handler in mine.items():
            signal.signal(number, handler)


def _noting(events: Events, name: str) -> Callable[[object], None]:
    return lambda _future: events.put(name)


def _until_all_ended(
    futures: Mapping[str, Future[T | BenchError]], events: Events, stop: Callable[[], None], leave: Callable[[], None]
) -> BaseException | None:
    """Why it was stopped, None when it was not. Raises Abandoned."""
    cause: BaseException | None = None
    left = set(futures)
    while left:
        name = _next(events)
        if name is None and cause is not None:
            threading.Thread(target=leave, name="leave").start()
            raise Abandoned from cause
        error = KeyboardInterrupt() if name is None else _bug(futures[name])
        left -= {name or ""}
        if error is not None and cause is None:
            cause = error
            for future in futures.values():
                future.cancel()
            # A connection that is dead may take long to be closed, and a second interrupt must be heard meanwhile.
            threading.Thread(target=stop, name="stop").start()
    return cause


def _next(events: Events) -> str | None:
    while True:
        # The kernel may give a signal to another thread, which does not wake this one; only here its handler runs.
        with suppress(queue.Empty):
            return events.get(timeout=SIGNALS_S)


def _bug(future: Future[T]) -> BaseException | None:
    error = None if future.cancelled() else future.exception()
    return None if isinstance(error, BenchError) else error


def _outcome(future: Future[T | BenchError]) -> T | BenchError:
    error = future.exception()
    if error is None:
        return future.result()
    assert isinstance(error, BenchError)
    return error
