"""A guest that is told, over a real socket: messages that are lost, answers that are late, and none at all."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, Callable, Optional

import pytest
from jobs import job

from bench.host.policy import kinds
from bench.host.policy.headroom import headroom
from bench.host.policy.pressure import Alarm
from bench.host.scene import Scene
from bench.wire.job import Arm, Policy
from bench.wire.units import MIB

FAST = {"period_s": 0.01, "answer_s": 0.1, "pause_s": 0.0, "tries": 2}
Answer = Callable[[dict[str, Any]], Optional[dict[str, Any]]]


class Nobody:
    async def call(self, command: str, **arguments: Any) -> Any:
        raise AssertionError(f"this loop asks QEMU nothing, and asked {command} {arguments}")


def host_with(root: Path, available: int) -> None:
    (root / "proc").mkdir()
    (root / "proc/meminfo").write_text(f"MemTotal: {1000 * 1024} kB\nMemAvailable: {available * 1024} kB\n")


def run(root: Path, answer: Answer, seconds: float = 0.5, **params: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What the loop answers after so long, and what reached the guest. answer: what that says, None for nothing."""
    heard: list[dict[str, Any]] = []

    async def guest(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            heard.append(json.loads(line))
            said = answer(heard[-1])
            if said is not None:
                writer.write(json.dumps(said).encode() + b"\n")
        writer.close()

    async def ran() -> dict[str, Any]:
        server = await asyncio.start_unix_server(guest, str(root / "notify"))
        arm = Arm("told", balloon=True, reporting=True, policy=Policy("notify"))
        scene = Scene(job(arm), 1, Nobody(), root=root, folder=root)
        loop = kinds.start(scene, "notify", {**FAST, **params})
        try:
            await asyncio.sleep(seconds)
            return await loop.stop() if not loop.error else {"error": loop.error}
        finally:
            await loop.abandon()
            await asyncio.sleep(0.05)
            server.close()

    return asyncio.run(ran()), heard


def freed(message: dict[str, Any]) -> dict[str, Any]:
    return {"id": message["id"], "freed_bytes": message["bytes"] // 2, "ns": 1}


def test_what_the_host_is_short_of_is_asked_for_and_what_the_guest_says_is_kept(tmp_path: Path) -> None:
    host_with(tmp_path, 100)
    done, heard = run(tmp_path, freed, headroom=0.2)
    assert heard[0] == {"id": 1, "bytes": 100 * MIB}
    first = done["actions"][0]
    assert (first["wanted_bytes"], first["bytes"], first["reached"]) == (100 * MIB, 50 * MIB, True)
    assert (first["messages"], first["lost"], first["headroom_bytes"]) == (1, 0, 100 * MIB)


def test_a_guest_is_left_alone_while_the_host_has_memory_and_between_two_messages(tmp_path: Path) -> None:
    host_with(tmp_path, 900)
    done, heard = run(tmp_path, freed)
    assert (done["actions"], heard) == ([], [])
    (tmp_path / "proc/meminfo").write_text("MemTotal: 1000 kB\nMemAvailable: 0 kB\n")
    # Python 3.13 removes the socket with its server.
    (tmp_path / "notify").unlink(missing_ok=True)
    done, heard = run(tmp_path, freed, pause_s=60.0)
    assert len(heard) == done["count"] == 1
    # Little is not worth a message.
    assert heard[0]["bytes"] == 16 * MIB


def test_a_message_that_is_lost_is_sent_again_and_told_as_lost(tmp_path: Path) -> None:
    host_with(tmp_path, 0)
    done, heard = run(tmp_path, freed, lose_every=2)
    assert {action["reached"] for action in done["actions"]} == {True}
    assert any((action["messages"], action["lost"]) == (2, 1) for action in done["actions"])
    assert all(message["id"] % 2 for message in heard)


def test_a_guest_that_does_not_obey_is_asked_so_often_and_gave_nothing(tmp_path: Path) -> None:
    host_with(tmp_path, 0)
    done, heard = run(tmp_path, lambda _message: None)
    assert [message["id"] for message in heard][:2] == [1, 2]
    first = done["actions"][0]
    assert (first["bytes"], first["reached"], first["messages"]) == (0, False, 2)


def test_an_answer_to_an_earlier_message_is_not_taken_for_one_to_this(tmp_path: Path) -> None:
    host_with(tmp_path, 0)
    done, _ = run(tmp_path, lambda message: {**freed(message), "id": message["id"] - 1})
    assert {action["reached"] for action in done["actions"]} == {False}


def test_nonsense_ends_the_loop_and_says_what_it_was(tmp_path: Path) -> None:
    host_with(tmp_path, 0)
    done, _ = run(tmp_path, lambda _message: {"hello": 1})
    assert "not an answer of the guest's listener: b'{\"hello\": 1}" in done["error"]


def test_parameters_that_nobody_knows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown parameters of notify: volume"):
        kinds.start(Scene(job(), 1, Nobody(), folder=tmp_path), "notify", {"volume": 11})


def test_without_a_limit_it_is_the_hosts_own_memory_that_counts(tmp_path: Path) -> None:
    host_with(tmp_path, 250)
    assert headroom(Scene(job(), 1, Nobody(), root=tmp_path)) == (250 * MIB, 1000 * MIB)


def test_an_alarm_is_set_where_the_kernel_takes_it_and_never_rings_elsewhere(tmp_path: Path) -> None:
    alarm = Alarm(Scene(job(), 1, Nobody(), root=tmp_path))
    alarm.begin()
    assert (alarm.trigger, alarm.rang()) == ("", False)
    alarm.end()
    if not Path("/proc/pressure/memory").exists():
        return
    alarm = Alarm(Scene(job(), 1, Nobody()))
    alarm.begin()
    assert alarm.trigger.startswith("/proc/pressure/memory: some ")
    alarm.end()
    alarm.end()
