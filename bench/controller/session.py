"""A conversation with one host: a request goes down, records come up as they happen.

Every request is a process of its own on the host (the bundle), over the host's transport; the local machine takes the
same road as a remote one. Closing stdin is how the controller says "end your guests", or "give the host back".
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing, suppress
from typing import Any

from bench.controller.keeper import Keeper
from bench.controller.stopping import Stopping
from bench.controller.transport import Conversation, Transport
from bench.errors import BenchError, Interrupted, LabError, last_lines, rebuilt
from bench.wire import codec, record
from bench.wire.job import Ask, Hold, Job
from bench.wire.record import End, Record, Reply, Waiting

# Ending a guest takes the host side at most its KILL_AFTER_S twice; after that it is killed, and QEMU with it.
END_DEADLINE_S = 10.0
# So many heartbeats may be missed before the host side takes the connection for gone.
MISSED_BEATS = 3


class Session:
    """The host side of one host. One boot or question at a time; `stop` may be called by any thread.

    bundle: its path on the host. cache: the host's folder for what is kept there, "" for its own choice. stopping: of
    all that is done over this connection.
    """

    def __init__(self, transport: Transport, bundle: str, cache: str = "", stopping: Stopping | None = None) -> None:
        self.transport = transport
        self.name = transport.name
        self.log = ""
        self._argv = [transport.python, bundle, *(("--cache", cache) if cache else ())]
        if transport.heartbeat_s:
            self._argv += ["--heartbeat", f"{MISSED_BEATS * transport.heartbeat_s:g}"]
        self._stopping = stopping or Stopping()

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called: nothing is to be begun any more."""
        return self._stopping.asked

    def stop(self, *, now: bool = False) -> None:
        """Ends the request that is being answered, in order (now: at once); the next one is not begun. Raises nothing.

        A boot or a hold that does not end by itself is ended after END_DEADLINE_S; a question is not, for it may be
        installing packages.
        """
        self._stopping.stop(now=now)

    def boot(self, job: Job, on_record: Callable[[Record], None]) -> End:
        """Runs a job; every record goes to `on_record` as it comes.

        Raises LabError when the host side died, Interrupted when that was after a stop.
        """
        with closing(self._records("Job", job)) as items:
            for item in items:
                on_record(item)
                if isinstance(item, End):
                    return item
        raise self._died("the host side ended without a result")

    def ask(self, what: str, **args: Any) -> dict[str, Any]:
        """The reply to a question. Raises what the host side raised, LabError when it died, Interrupted if stopped."""
        with closing(self._records("Ask", Ask(what, args))) as items:
            for item in items:
                if isinstance(item, Reply):
                    if item.error:
                        raise rebuilt(self.name, item.error)
                    return item.data
        raise self._died("the host side ended without an answer")

    def hold(self, request: Hold, on_waiting: Callable[[Waiting], None]) -> Keeper:
        """Takes the host; it is held until `release`.

        Raises LabError: somebody else has it, or the host side died; Interrupted after a stop.
        """
        keeper = Keeper(self._start("Hold", request), self.name, self._argv)
        try:
            keeper.wait_until_held(on_waiting)
        except BaseException as error:
            keeper.release()
            if isinstance(error, LabError) and (self.stopped or not self.transport.connected):
                raise self._died(error.message, error.evidence) from error
            raise
        finally:
            self._stopping.ended()
        return keeper

    def _start(self, kind: str, request: Job | Ask | Hold) -> Conversation:
        if self.stopped:
            raise self._interrupted()
        running = self.transport.start(self._argv, beat=True)
        self._stopping.begun(running, None if kind == "Ask" else END_DEADLINE_S)
        # What a process that is gone already left on stderr says why, better than a broken pipe.
        with suppress(OSError):
            running.send(codec.encode(kind, request))
        return running

    def _records(self, kind: str, request: Job | Ask) -> Generator[Record, None, None]:
        running = self._start(kind, request)
        try:
            for line in running.lines():
                yield record.decode(line)
        except codec.WireError as error:
            self._end(running)
            raise self._died(f"the conversation broke: {error}") from error
        finally:
            self._end(running)

    def _end(self, running: Conversation) -> None:
        running.end(END_DEADLINE_S)
        self._stopping.ended()
        self.log = running.log

    def _died(self, message: str, evidence: Sequence[str] | None = None) -> BenchError:
        if self.stopped:
            return self._interrupted()
        if not self.transport.connected:
            message = "the connection was lost"
        return LabError(self.name, message, self._argv, last_lines(self.log) if evidence is None else evidence)

    def _interrupted(self) -> Interrupted:
        return Interrupted(f"host {self.name}: stopped")
