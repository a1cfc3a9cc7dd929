"""The agent's loop over a real socket, with the real operations: none of them needs a guest."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from workloads import guestos, jsonlines
from workloads.agent import answer, message, serve
from workloads.channel import Channel
from workloads.ops import Operations

MIB = 1 << 20


class Host:
    """The other end of the port."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._lines = connection.makefile("rb")
        self._number = 0

    def read(self) -> dict[str, Any]:
        reply: dict[str, Any] = json.loads(self._lines.readline())
        return reply

    def call(self, op: str, **args: Any) -> dict[str, Any]:
        self._number += 1
        self.connection.sendall(json.dumps({"id": self._number, "op": op, "args": args}).encode() + b"\n")
        reply = self.read()
        assert reply["id"] == self._number
        return reply

    def result(self, op: str, **args: Any) -> dict[str, Any]:
        reply = self.call(op, **args)
        assert reply["ok"], reply
        assert reply["start_ns"] <= reply["end_ns"]
        result: dict[str, Any] = reply["result"]
        return result


@pytest.fixture
def host() -> Iterator[Host]:
    ours, theirs = socket.socketpair()
    ours.settimeout(20)
    agent = threading.Thread(target=serve, args=(Channel(theirs.fileno()), Operations().table()), daemon=True)
    agent.start()
    with ours, theirs:
        yield Host(ours)
        ours.shutdown(socket.SHUT_WR)
        agent.join(20)
        assert not agent.is_alive(), "the agent ends when the other side closes"


def test_memory_is_mapped_touched_verified_and_released(host: Host) -> None:
    mapped = host.result("map", region="a", bytes=4 * MIB, mapping="anonymous", thp="never")
    page = mapped["page_bytes"]
    assert mapped["bytes"] == 4 * MIB
    touched = host.result("touch", region="a", mode="write")
    assert (touched["bytes"], touched["pages"], touched["page_bytes"]) == (4 * MIB, 4 * MIB // page, page)
    assert touched["ns"] > 0
    assert "histogram" not in touched
    verified = host.result("verify", region="a", extent="word")
    assert (verified["bad_pages"], verified["first_bad"], verified["bytes"]) == (0, None, 4 * MIB)
    renewed = host.result("renew", region="a", block_bytes=MIB, histogram=True)
    assert (renewed["bytes"], renewed["pages"], renewed["page_bytes"]) == (4 * MIB, 4 * MIB // page, page)
    assert 0 < renewed["p50_ns"] <= renewed["max_ns"] <= renewed["ns"]
    assert host.result("release", region="a", how="munmap")["bytes"] == 4 * MIB
    assert host.result("map", region="a", bytes=page)["bytes"] == page, "the name is free again"


def test_the_histogram_counts_every_page_and_its_quantiles_are_ordered(host: Host) -> None:
    host.result("map", region="a", bytes=2 * MIB, thp="never")
    touched = host.result("touch", region="a", mode="write", histogram=True)
    buckets = touched["histogram"]
    assert sum(count for _, count in buckets) == touched["pages"]
    assert [upper for upper, _ in buckets] == sorted(upper for upper, _ in buckets)
    assert 0 < touched["p50_ns"] <= touched["p99_ns"] <= touched["p999_ns"] <= touched["max_ns"]


def test_verify_finds_a_page_that_lost_its_content(host: Host) -> None:
    host.result("map", region="a", bytes=MIB, thp="never")
    host.result("touch", region="a", mode="fill")
    host.result("release", region="a", how="holes", every=256, block_bytes=4096)
    verified = host.result("verify", region="a", extent="full")
    assert verified["bad_pages"] == 1
    assert (verified["first_bad"]["offset"], verified["first_bad"]["found"]) == (0, 0)
    assert verified["first_bad"]["expected"] != 0


def test_a_region_stays_after_a_release_that_is_no_unmapping(host: Host) -> None:
    host.result("map", region="a", bytes=MIB, thp="never")
    host.result("touch", region="a")
    assert host.result("release", region="a", how="dontneed")["bytes"] == MIB
    assert host.result("touch", region="a")["bytes"] == MIB


def test_throughput_gives_iterations_of_every_task(host: Host) -> None:
    done = host.result("throughput", test="page_fault1", tasks=2, kind="process", seconds=0.1, warmup_s=0, bytes=MIB)
    assert len(done["iterations"]) == 2
    assert done["seconds"] >= 0.1
    assert done["per_second"] == pytest.approx(sum(done["iterations"]) / done["seconds"])


@pytest.mark.parametrize(
    ("op", "args", "wrong"),
    [
        ("dance", {}, "unknown op 'dance'; known: churn, clock, compact, corrupt"),
        ("touch", {"region": "b"}, "region 'b' is not mapped; mapped: none"),
        ("map", {"region": "a", "bytes": 0}, "size"),
        ("map", {"region": "a", "bytes": 4096, "mapping": "paper"}, "'paper' is unknown: one of anonymous"),
        ("map", {"region": "a", "size": 4096}, "unexpected keyword argument 'size'"),
        ("map", {}, "missing 2 required positional arguments"),
        ("map", {"region": "a", "bytes": "many"}, "TypeError"),
        ("release", {"region": "c"}, "region 'c' is not mapped"),
    ],
)
def test_a_bad_request_is_answered_with_its_reason_and_the_agent_lives_on(
    host: Host, op: str, args: dict[str, Any], wrong: str
) -> None:
    reply = host.call(op, **args)
    assert (reply["ok"], "\n" in reply["error"]) == (False, False)
    assert wrong in reply["error"]
    assert host.result("clock")["monotonic_ns"] > 0


def test_a_name_in_use_is_not_mapped_over(host: Host) -> None:
    host.result("map", region="a", bytes=MIB)
    assert "mapped already" in host.call("map", region="a", bytes=MIB)["error"]


@pytest.mark.parametrize(
    "line", [b"not json\n", b"[1, 2]\n", b'"text"\n', b'{"op": "clock"}\n', b"\xff\xfe\n", b"{}{}\n"]
)
def test_a_line_that_is_no_request_is_answered_and_the_next_one_served(host: Host, line: bytes) -> None:
    host.connection.sendall(line)
    reply = host.read()
    assert (reply["ok"], reply["id"]) == (False, None)
    assert host.result("clock")["monotonic_ns"] > 0


def test_requests_in_pieces_and_several_at_once_are_answered_in_order(host: Host) -> None:
    lines = b'{"id":1,"op":"clock"}\n\n{"id":2,"op":"clock","args":{}}\n{"id":3,"op":"clo'
    for place in range(0, len(lines), 7):
        host.connection.sendall(lines[place : place + 7])
        time.sleep(0.002)
    host.connection.sendall(b'ck"}\n')
    assert [host.read()["id"] for _ in range(3)] == [1, 2, 3]


def test_shutdown_is_answered_and_ends_the_loop() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(20)
        ours.sendall(b'{"id":1,"op":"shutdown","args":{}}\n{"id":2,"op":"clock"}\n')
        serve(Channel(theirs.fileno()), {})
        lines = ours.recv(65536).splitlines()
    assert [json.loads(line)["result"] for line in lines] == [{}]


def test_a_long_answer_arrives_whole_through_a_small_buffer() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        line = message({"text": "x" * MIB})
        sender = threading.Thread(target=Channel(theirs.fileno()).send, args=(line,), daemon=True)
        sender.start()
        got = b""
        while len(got) < len(line):
            got += ours.recv(65536)
        sender.join(20)
    assert got == line


def test_a_port_without_a_peer_is_waited_for_and_half_a_line_forgotten(tmp_path: Path) -> None:
    """A file that grows stands for the port: reading at its end gives nothing, as long as nobody is connected."""
    port = tmp_path / "port"
    port.write_bytes(b'{"half a li')
    with port.open("rb", buffering=0) as stream:
        lines = Channel(stream.fileno(), wait_for_peer=True).lines()
        threading.Timer(0.1, lambda: append(port, b'{"id":1}\n')).start()
        assert next(lines) == b'{"id":1}'


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as stream:
        stream.write(data)


def test_an_answer_that_is_no_json_is_an_error_and_not_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    reply = json.loads(answer(b'{"id":7,"op":"odd"}', {"odd": lambda: {"value": object()}}))
    assert (reply["id"], reply["ok"]) == (7, False)
    assert "cannot be written as JSON" in reply["error"]
    assert "Traceback" in capsys.readouterr().err, "the console gets the whole story"


def test_what_an_operation_prints_does_not_reach_the_port() -> None:
    program = (
        "import sys; from workloads.agent import Channel, serve\n"
        "serve(Channel(int(sys.argv[1])), {'talk': lambda: print('stray') or {}})\n"
    )
    ours, theirs = socket.socketpair()
    with ours, theirs:
        argv = [sys.executable, "-c", program, str(theirs.fileno())]
        ours.sendall(b'{"id":1,"op":"talk"}\n{"id":2,"op":"shutdown"}\n')
        done = subprocess.run(argv, pass_fds=[theirs.fileno()], capture_output=True, check=True, timeout=30)
        answers = [json.loads(line) for line in ours.recv(65536).splitlines()]
    assert [reply["id"] for reply in answers] == [1, 2]
    assert done.stdout == b"stray\n"


@pytest.mark.parametrize(
    "value", [{"a": [1, -2.5, None, True, 'é\n"\\']}, {}, [], 2**70, 1e300, "x", {"nested": {"b": [[]]}}]
)
def test_json_without_the_json_module_is_the_same_json(value: object) -> None:
    text = jsonlines.dumps(value)
    assert text == json.dumps(value, separators=(",", ":"))
    assert jsonlines.loads(f" {text}\n") == value
    assert jsonlines.loads(json.dumps(value, indent=2)) == value


@pytest.mark.parametrize("text", ["", "{", "{'a': 1}", "1 2", "nul", '"open'])
def test_what_is_no_json_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        jsonlines.loads(text)


def test_importing_the_agent_stays_cheap() -> None:
    """Each of these costs an emulated guest 0.05 to 0.3 s before READY."""
    heavy = {"re", "enum", "json", "typing", "dataclasses", "inspect", "pathlib", "traceback", "workloads.memtouch"}
    program = "import sys; import workloads.agent; print(*sys.modules)"
    root = Path(guestos.__file__).parents[1]
    argv = [sys.executable, "-S", "-s", "-P", "-c", f"import sys; sys.path.append({str(root)!r}); {program}"]
    loaded = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()
    assert "workloads.agent" in loaded
    assert heavy & set(loaded) == set()
