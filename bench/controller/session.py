"""A conversation with one host: a request goes down, records come up as they happen.

The local machine takes the same road as a remote one: the bundle runs as a child process over pipes. Closing its stdin
is how the controller says "end your guests"; a controller that is killed closes it too.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any

from bench import errors
from bench.errors import LabError
from bench.wire import codec, record
from bench.wire.job import Ask, Job
from bench.wire.record import End, Record, Reply

# Ending a guest takes the host side at most its KILL_AFTER_S twice; after that it is killed, and QEMU with it.
END_DEADLINE_S = 10.0
EVIDENCE_LINES = 20


class LocalSession:
    """The host side on this machine. Not reentrant: one request at a time."""

    def __init__(self, name: str, bundle: Path, python: str = sys.executable) -> None:
        self.name = name
        self._argv = [python, str(bundle)]
        self.log = ""

    def boot(self, job: Job, on_record: Callable[[Record], None]) -> End:
        """Runs a job; every record goes to `on_record` as it comes. Raises LabError when the host side died."""
        with closing(self._records("Job", job)) as items:
            for item in items:
                on_record(item)
                if isinstance(item, End):
                    return item
        raise self._died("the host side ended without a result")

    def ask(self, what: str, **args: Any) -> dict[str, Any]:
        """The reply to a question. Raises what the host side raised, or LabError when it died."""
        with closing(self._records("Ask", Ask(what, args))) as items:
            for item in items:
                if isinstance(item, Reply):
                    if item.error:
                        raise _rebuilt(item.error)
                    return item.data
        raise self._died("the host side ended without an answer")

    def _died(self, message: str) -> LabError:
        return LabError(self.name, message, self._argv, self.log.splitlines()[-EVIDENCE_LINES:])

    def _records(self, kind: str, request: Job | Ask) -> Generator[Record, None, None]:
        with tempfile.TemporaryFile() as log, self._child(log) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            try:
                child.stdin.write(codec.encode(kind, request))
                child.stdin.flush()
                for line in child.stdout:
                    yield record.decode(line)
            except (BrokenPipeError, codec.WireError) as error:
                self._keep(log)
                raise self._died(f"the conversation broke: {error}") from error
            finally:
                self._keep(log)

    @contextmanager
    def _child(self, log: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
        # A session of its own: Ctrl-C reaches the controller only, which then ends the guests in order.
        child = subprocess.Popen(
            self._argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True
        )
        try:
            yield child
        finally:
            _end(child)

    def _keep(self, log: IO[bytes]) -> None:
        log.seek(0)
        self.log = log.read().decode(errors="replace")


def _end(child: subprocess.Popen[bytes]) -> None:
    """Closes the child's stdin, reads what is left, and waits; kills it when it does not end."""
    try:
        child.communicate(timeout=END_DEADLINE_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()
    except (BrokenPipeError, ValueError):
        child.wait()


def _rebuilt(error: dict[str, str]) -> errors.BenchError:
    """The host side's own exception, with its message as it stood there."""
    kind = getattr(errors, error["kind"], errors.BenchError)
    rebuilt: errors.BenchError = kind.__new__(kind)
    Exception.__init__(rebuilt, error["message"])
    if isinstance(rebuilt, errors.InputError):
        rebuilt.key = error["key"]
    return rebuilt
