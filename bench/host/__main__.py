"""The host side's one entry: a request line on stdin, records on stdout and nothing else there, the log on stderr.

    (echo REQUEST; cat) | python3 fpr-host-<sha256>.pyz

The first line is a Job or an Ask (bench.wire.job). stdin is a pipe or a socket and stays open while the work lasts;
when it closes, the guests end. SIGTERM, SIGINT and SIGHUP do the same.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any, BinaryIO, Union

from bench.errors import BenchError
from bench.host.asks import answer
from bench.host.facts import host_facts
from bench.host.runner import Emit, run_job
from bench.wire import codec, record
from bench.wire.cache import cache_folder
from bench.wire.job import Ask, Job
from bench.wire.record import Hello, Reply

REQUESTS: dict[str, type[Any]] = {"Job": Job, "Ask": Ask}


def main() -> int:
    """0 when the request was answered (a boot that failed is an answer), 1 otherwise."""
    out = _own_stdout()
    line = sys.stdin.buffer.readline()
    try:
        kind, body = codec.decode(line)
        request: Union[Job, Ask] = codec.from_json(REQUESTS[kind], body)
    except (codec.WireError, KeyError) as error:
        print(f"host side: not a request: {error}", file=sys.stderr)
        return 1

    def emit(item: record.Record) -> None:
        out.write(record.encode(item))
        out.flush()

    try:
        if isinstance(request, Ask):
            _reply(request, emit)
        else:
            boot(request, emit)
    except BrokenPipeError:
        return 1
    return 0


def boot(job: Job, emit: Emit) -> bool:
    """Runs one job to its end; True when every phase was run."""
    emit(Hello(os.getpid(), host_facts()))
    return asyncio.run(_until_gone(job, emit))


def _reply(ask: Ask, emit: Emit) -> None:
    try:
        emit(Reply(answer(ask, boot_quietly)))
    except BenchError as error:
        emit(Reply({}, {"kind": type(error).__name__, "message": str(error), "key": getattr(error, "key", "")}))


def boot_quietly(job: Job, emit: Emit) -> bool:
    """A boot whose records go to `emit` only: the canaries of `resolve` and `doctor`."""
    return asyncio.run(_until_gone(job, emit))


async def _until_gone(job: Job, emit: Emit) -> bool:
    gone = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, gone.set)
    loop.add_reader(0, _on_stdin, gone, loop)
    try:
        return await run_job(job, emit, cache_folder(), gone)
    finally:
        loop.remove_reader(0)


def _on_stdin(gone: asyncio.Event, loop: asyncio.AbstractEventLoop) -> None:
    if not os.read(0, 4096):
        loop.remove_reader(0)
        gone.set()


def _own_stdout() -> BinaryIO:
    """Keeps the real stdout for the protocol; a stray print goes to stderr."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return out


if __name__ == "__main__":
    sys.exit(main())
