"""The host's end of the guest link, against an agent on a real socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from bench.host.guest import EXCHANGES, LINE_LIMIT_BYTES, Answer, GuestError, GuestLink, open_link

T = TypeVar("T")
Script = Callable[[dict[str, Any]], bytes]


def with_agent(tmp_path: Path, script: Script, use: Callable[[GuestLink], Awaitable[T]], first: bytes = b"") -> T:
    """Runs `use` over a link whose agent says `first` and then answers each request with script(request).

    After an answer that is no whole line the agent closes its port.
    """

    async def agent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        async for line in reader:
            answer = script(json.loads(line))
            writer.write(answer)
            if not answer.endswith(b"\n"):
                break
        writer.close()

    async def talk() -> T:
        server = await asyncio.start_unix_server(agent, str(tmp_path / "agent"))
        link = await open_link(tmp_path / "agent", 1.0)
        try:
            return await use(link)
        finally:
            link.close()
            server.close()
            await server.wait_closed()

    return asyncio.run(asyncio.wait_for(talk(), 20))


def said(**message: Any) -> bytes:
    return json.dumps(message).encode() + b"\n"


def done(request: dict[str, Any], **result: Any) -> bytes:
    return said(id=request["id"], ok=True, start_ns=5, end_ns=9, result=result)


def test_ready_gives_the_guests_facts(tmp_path: Path) -> None:
    first = said(event="ready", facts={"kernel": "6.1"})
    assert with_agent(tmp_path, done, lambda link: link.ready(), first) == {"kernel": "6.1"}


def test_an_op_is_asked_with_its_arguments_and_answered_with_the_guests_times(tmp_path: Path) -> None:
    asked = []

    def script(request: dict[str, Any]) -> bytes:
        asked.append(request)
        return done(request, bytes=4096)

    answer = with_agent(tmp_path, script, lambda link: link.call("touch", region="work", mode="write"))
    assert answer == Answer(5, 9, {"bytes": 4096})
    assert asked == [{"id": 1, "op": "touch", "args": {"region": "work", "mode": "write"}}]


def test_requests_are_numbered_one_after_another(tmp_path: Path) -> None:
    async def twice(link: GuestLink) -> list[Answer]:
        return [await link.call("clock"), await link.call("clock")]

    numbers = [answer.result["n"] for answer in with_agent(tmp_path, lambda r: done(r, n=r["id"]), twice)]
    assert numbers == [1, 2]


def test_the_agents_own_words_are_the_error(tmp_path: Path) -> None:
    with pytest.raises(GuestError, match=r"op map: Cannot allocate memory"):
        with_agent(
            tmp_path,
            lambda r: said(id=r["id"], ok=False, error="Cannot allocate memory"),
            lambda link: link.call("map"),
        )


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"Segmentation fault\n", "not a line of the agent: b'Segmentation fault"),
        (b"\xff\xfe\n", "not a line of the agent"),
        (b"[1, 2]\n", "not a message of the agent"),
        (b"", "port was closed"),
        (b'{"id": 1, "ok": tr', "port was closed"),
        (b'{"id": 7, "ok": true}\n', "answer to request 7, but 1 was asked"),
        (b'{"ok": true}\n', "answer to request None, but 1 was asked"),
        (b'{"id": 1}\n', "'ok' is missing"),
        (b'{"id": 1, "ok": true, "start_ns": 1}\n', "'end_ns' is missing"),
        (b'{"id": 1, "ok": false}\n', "'error' is missing"),
        (b"x" * (LINE_LIMIT_BYTES + 1), "a line of more than"),
    ],
)
def test_what_is_no_answer_is_told_as_what_it_is(tmp_path: Path, answer: bytes, words: str) -> None:
    with pytest.raises(GuestError, match=words):
        with_agent(tmp_path, lambda _: answer, lambda link: link.call("clock"))


@pytest.mark.parametrize("first", [said(event="hello"), said(event="ready"), b"login:\n"])
def test_a_guest_that_says_something_else_is_not_ready(tmp_path: Path, first: bytes) -> None:
    with pytest.raises(GuestError):
        with_agent(tmp_path, done, lambda link: link.ready(), first)


def test_clocks_are_tied_by_the_exchange_with_the_shortest_round_trip(tmp_path: Path) -> None:
    trips = [0.9, 0.5, 0.04, 0.7, 0.3, 0.2, 0.6, 0.8]
    assert len(trips) == EXCHANGES
    times = [float(number) for number in range(len(trips))]
    readings = iter([t for start, trip in zip(times, trips) for t in (start, start + trip)])
    # The guest reads its clock, 100 s behind the host's, in the middle of each exchange - but late in all but the best.
    late = [0.4, 0.2, 0.0, 0.3, 0.1, 0.1, 0.2, 0.3]
    guest = iter([int((start + trip / 2 + add - 100) * 1e9) for start, trip, add in zip(times, trips, late)])
    tie = with_agent(
        tmp_path, lambda r: done(r, monotonic_ns=next(guest)), lambda link: link.tie_clocks(lambda: next(readings))
    )
    assert tie.error_s == pytest.approx(0.02)
    assert tie.offset_s == pytest.approx(100.0)


def test_a_socket_that_comes_later_is_waited_for(tmp_path: Path) -> None:
    async def late() -> None:
        opening = asyncio.ensure_future(open_link(tmp_path / "agent", 5.0))
        await asyncio.sleep(0.1)
        server = await asyncio.start_unix_server(lambda _reader, writer: writer.close(), str(tmp_path / "agent"))
        (await opening).close()
        server.close()
        await server.wait_closed()

    asyncio.run(late())


def test_a_socket_that_never_comes_is_told_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(TimeoutError, match="QEMU made no socket agent within 0 s"):
        asyncio.run(open_link(tmp_path / "agent", 0.05))
