"""The monitor, over a real socket: patience at the start, no hanging, nothing of the end lost."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from qemu.qmp import ExecuteError

from bench.host import qmp

T = TypeVar("T")
GREETING = {"QMP": {"version": {"qemu": {"micro": 0, "minor": 2, "major": 7}, "package": ""}, "capabilities": []}}
RESET = {"event": "SHUTDOWN", "timestamp": {"seconds": 1, "microseconds": 2}, "data": {"reason": "guest-reset"}}


class Monitor:
    """The far side: answers known commands, knows no others. last: what it says when asked to `die`."""

    def __init__(self, answers: dict[str, Any], last: list[dict[str, Any]]) -> None:
        self.answers = {"qmp_capabilities": {}, **answers}
        self.last = last
        self.asked: list[dict[str, Any]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(json.dumps(GREETING).encode() + b"\n")
        while part := await reader.read(65536):
            request = json.loads(part)
            self.asked.append(request)
            if request["execute"] in ("die", "quit"):
                writer.write(b"".join(json.dumps(message).encode() + b"\n" for message in self.last))
                break
            writer.write(self._answer(request))
        writer.close()

    def _answer(self, request: dict[str, Any]) -> bytes:
        command = request["execute"]
        same = {"id": request["id"]} if "id" in request else {}  # the first command has none
        unknown = {"error": {"class": "CommandNotFound", "desc": f"The command {command} has not been found"}}
        answer = {"return": self.answers[command]} if command in self.answers else unknown
        return json.dumps({**answer, **same}).encode() + b"\n"


def with_monitor(tmp_path: Path, monitor: Monitor, use: Callable[[qmp.Qmp], Awaitable[T]]) -> T:
    async def talk() -> T:
        server = await asyncio.start_unix_server(monitor.serve, str(tmp_path / "qmp"))
        try:
            async with qmp.connect(tmp_path / "qmp", 5.0) as connected:
                return await use(connected)
        finally:
            server.close()
            await server.wait_closed()

    return asyncio.run(asyncio.wait_for(talk(), 20))


def test_the_threads_of_the_vcpus_are_numbers(tmp_path: Path) -> None:
    cpus = [{"cpu-index": 0, "thread-id": 71}, {"cpu-index": 1, "thread-id": 72}]
    assert with_monitor(tmp_path, Monitor({"query-cpus-fast": cpus}, []), lambda m: m.vcpu_threads()) == [71, 72]


def test_an_unknown_command_is_an_error_with_qemus_words(tmp_path: Path) -> None:
    with pytest.raises(ExecuteError, match="query-nothing has not been found"):
        with_monitor(tmp_path, Monitor({}, []), lambda m: m.call("query-nothing"))


def test_facts_that_this_qemu_does_not_have_are_absent(tmp_path: Path) -> None:
    monitor = Monitor({"query-status": {"status": "running"}}, [])
    assert with_monitor(tmp_path, monitor, lambda m: m.facts()) == {"status": {"status": "running"}}


def test_guest_statistics_are_asked_of_the_balloon_and_a_guest_without_one_is_no_error(tmp_path: Path) -> None:
    monitor = Monitor({}, [])
    with_monitor(tmp_path, monitor, lambda m: m.start_guest_stats())
    assert monitor.asked[-1]["arguments"] == {
        "path": "/machine/peripheral/balloon",
        "property": "guest-stats-polling-interval",
        "value": qmp.STATS_INTERVAL_S,
    }


def test_a_qemu_that_is_gone_before_it_answers_has_quit(tmp_path: Path) -> None:
    monitor = Monitor({}, [])
    with_monitor(tmp_path, monitor, lambda m: m.quit())
    assert monitor.asked[-1]["execute"] == "quit"


def test_the_last_event_of_a_dying_qemu_is_not_lost(tmp_path: Path) -> None:
    seen: list[qmp.Qmp] = []

    async def die(monitor: qmp.Qmp) -> None:
        seen.append(monitor)
        asking = asyncio.ensure_future(monitor.call("die"))
        await asyncio.sleep(0)
        asking.add_done_callback(lambda done: done.cancelled() or done.exception())
        raise RuntimeError("the agent's port was closed")

    with pytest.raises(RuntimeError):
        with_monitor(tmp_path, Monitor({}, [RESET]), die)
    assert [event["data"]["reason"] for event in seen[0].events] == ["guest-reset"]


def test_a_socket_that_nobody_listens_on_yet_is_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "qmp"

    async def begin_to_listen(bound: socket.socket) -> asyncio.AbstractServer:
        await asyncio.sleep(0.1)
        return await asyncio.start_unix_server(Monitor({"query-cpus-fast": []}, []).serve, sock=bound)

    async def late() -> list[int]:
        bound = socket.socket(socket.AF_UNIX)
        bound.bind(str(path))  # as QEMU for a moment: the file is there, listen() has not been called
        server = asyncio.ensure_future(begin_to_listen(bound))
        async with qmp.connect(path, 5.0) as monitor:
            assert server.done()
            threads = await monitor.vcpu_threads()
        server.result().close()
        return threads

    assert asyncio.run(asyncio.wait_for(late(), 20)) == []


async def entered(path: Path, deadline_s: float) -> None:
    async with qmp.connect(path, deadline_s):
        pass


def test_a_socket_that_never_comes_is_a_timeout(tmp_path: Path) -> None:
    with pytest.raises(TimeoutError, match="did not answer within 0 s"):
        asyncio.run(asyncio.wait_for(entered(tmp_path / "qmp", 0.1), 20))


def test_a_qemu_that_listens_but_says_nothing_is_a_timeout(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "qmp"))
        silent.listen(1)
        with pytest.raises(TimeoutError, match="did not answer within 0 s"):
            asyncio.run(asyncio.wait_for(entered(tmp_path / "qmp", 0.2), 20))
