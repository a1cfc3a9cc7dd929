"""The host side's one entry: a request line on stdin, records on stdout and nothing else there, the log on stderr.

    (echo REQUEST; cat) | python3 fpr-host-<sha256>.pyz [--cache FOLDER] [--heartbeat SECONDS]

The first line is a Job, an Ask or a Hold (bench.wire.job). stdin is a pipe or a socket and stays open while the work
lasts; when it closes, the guests end and the host is given back. SIGTERM, SIGINT and SIGHUP do the same, and so does a
stdin that got no byte for SECONDS: a TCP connection that died silently closes nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, Optional, Union

from bench.errors import BenchError, parts
from bench.host.asks import answer
from bench.host.facts import host_facts
from bench.host.keeper import keep
from bench.host.leftovers import clear
from bench.host.presence import watched
from bench.host.runner import Emit, run_job
from bench.wire import codec, record
from bench.wire.cache import cache_folder
from bench.wire.job import Ask, Hold, Job
from bench.wire.record import Hello, Reply

REQUESTS: dict[str, type[Any]] = {"Job": Job, "Ask": Ask, "Hold": Hold}


def main(argv: Optional[Sequence[str]] = None) -> int:
    """0 when the request was answered (a boot that failed is an answer), 1 otherwise."""
    options = _options(argv)
    if options.cache:
        os.environ["BENCH_CACHE"] = options.cache
    out = _own_stdout()
    line = _first_line(options.heartbeat)
    try:
        kind, body = codec.decode(line)
        request: Union[Job, Ask, Hold] = codec.from_json(REQUESTS[kind], body)
    except (codec.WireError, KeyError) as error:
        print(f"host side: not a request: {error}", file=sys.stderr)
        return 1

    def emit(item: record.Record) -> None:
        out.write(record.encode(item))
        out.flush()

    try:
        _serve(request, emit, options)
    except ConnectionError:  # the controller is gone, and what it had asked for is given back
        return 1
    return 0


def _options(argv: Optional[Sequence[str]]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="fpr-host", description="Host side of bench; it is run by the controller.")
    parser.add_argument("--cache", default="", help="the cache folder, instead of $BENCH_CACHE")
    parser.add_argument("--heartbeat", type=float, default=0.0, help="seconds; stdin must get a byte so often (0: no)")
    parser.add_argument(
        "--root", type=Path, default=Path("/"), help="for tests: a tree with sys and proc, for a Hold or tune"
    )
    return parser.parse_args(argv)


def _serve(request: Union[Job, Ask, Hold], emit: Emit, options: argparse.Namespace) -> None:
    become = str(request.args.get("become", "none")) if isinstance(request, Ask) else request.become
    cleared = clear(become, (cache_folder(),), options.root)
    for line in cleared.lines:
        print(f"host side: {line}", file=sys.stderr)
    if isinstance(request, Job):
        boot(request, emit, options.heartbeat)
        return
    try:
        if isinstance(request, Hold):
            asyncio.run(keep(request, emit, options.heartbeat, options.root, cleared.removed))
        else:
            quietly = functools.partial(boot_quietly, heartbeat_s=options.heartbeat)
            emit(Reply(answer(request, quietly, options.root)))
    except BenchError as error:
        emit(Reply({}, parts(error)))


def boot(job: Job, emit: Emit, heartbeat_s: float = 0.0) -> bool:
    """Runs one job to its end; True when every phase was run."""
    emit(Hello(os.getpid(), host_facts()))
    return asyncio.run(_until_gone(job, emit, heartbeat_s))


def boot_quietly(job: Job, emit: Emit, heartbeat_s: float = 0.0) -> bool:
    """A boot whose records go to `emit` only: the canaries of `resolve` and `doctor`."""
    return asyncio.run(_until_gone(job, emit, heartbeat_s))


async def _until_gone(job: Job, emit: Emit, heartbeat_s: float) -> bool:
    gone = asyncio.Event()
    with watched(gone, heartbeat_s):
        return await run_job(job, emit, cache_folder(), gone)


def _first_line(heartbeat_s: float) -> bytes:
    """The request. SIGALRM ends a process that does not get one: its connection is gone, and nothing was done."""
    signal.setitimer(signal.ITIMER_REAL, heartbeat_s)
    line = sys.stdin.buffer.readline()
    signal.setitimer(signal.ITIMER_REAL, 0)
    return line


def _own_stdout() -> BinaryIO:
    """Keeps the real stdout for the protocol; a stray print goes to stderr."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return out


if __name__ == "__main__":
    sys.exit(main())
