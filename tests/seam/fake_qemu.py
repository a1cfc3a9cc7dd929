"""Stands in for QEMU: reads the same argv, holds a memfd of the guest's size, speaks QMP and the agent's protocol.

What the "guest" touches is really written and what it frees is really discarded, in bursts as free page reporting does
it, with a trace line each: so residency moves. Standard library, Python 3.9.

A word `fake=MODE` among the kernel's arguments chooses what goes wrong, from the first touch on unless said otherwise:
  exits        ends at once with status 1, before it makes a socket
  never-ready  the agent says nothing
  dies         ends with status 1                     panics       kernel panic, guest-reset, ends with status 0
  closes-port  closes the agent's port                silent       answers nothing any more
  closes-qmp   closes the monitor's connection
  notify-closes, notify-nonsense, notify-silent: what is at the guest's port for messages, from the second one on
  stubborn     silent, and deaf to SIGTERM            refuses      the op fails
  nonsense     answers no JSON                        half         answers JSON with keys missing
  abrupt       ends without an answer when told to quit
  trace-format prints a discard in an unknown format  long-line    prints 2 MiB of stderr without a line's end
  one-thread   runs all vCPUs in one thread           unbound      binds its memory to no node
Those of a migration are in fake_migration.py.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import mmap
import os
import platform
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

# Started with -I, which leaves this folder out.
sys.path.insert(0, os.path.dirname(__file__))  # noqa: PTH120 - as any path of a file in here
from fake_migration import Migration

MIB = 1 << 20
BOOTED_BYTES = 8 * MIB
BLOCK_BYTES = MIB
BLOCKS_A_PASS = 6
PASS_S = 0.25
PUNCH_HOLE_KEEP_SIZE = 0x03
# Linux: the number of mbind(2), which libc has not, and its policy
MBIND = {"x86_64": 237, "aarch64": 235}
MPOL_BIND = 2
VERSION = {"qemu": {"micro": 0, "minor": 0, "major": 99}, "package": "fake"}
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


def say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


class RefusedError(Exception):
    """An op that the guest cannot do."""


class Ram:
    """The guest's memory: a memfd, written through a mapping as QEMU does it."""

    def __init__(self, size: int) -> None:
        self.fd = os.memfd_create("memory-backend-memfd")
        os.ftruncate(self.fd, size)
        self._map = mmap.mmap(self.fd, size)
        self.size = size

    def bind(self, node: int) -> None:
        """To one NUMA node, as the option host-nodes does it."""
        nodes = ctypes.c_ulong(1 << node)
        start = ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(self._map)))
        rest = (MPOL_BIND, ctypes.byref(nodes), ctypes.c_ulong(64), 0)
        if LIBC.syscall(MBIND[platform.machine()], start, ctypes.c_ulong(self.size), *rest) != 0:
            raise OSError(ctypes.get_errno(), "mbind")

    def write(self, start: int, length: int) -> None:
        self._map[start : start + length] = b"\x5a" * length

    def bad_bytes(self, start: int, length: int) -> int:
        return length - self._map[start : start + length].count(b"\x5a")

    def discard(self, start: int, length: int) -> None:
        if LIBC.fallocate(self.fd, PUNCH_HOLE_KEEP_SIZE, start, length) != 0:
            raise OSError(ctypes.get_errno(), "fallocate")


class Guest:
    """The agent and, behind it, the balloon driver."""

    def __init__(self, ram: Ram, options: dict[str, str], monitor: Monitor) -> None:
        self._ram = ram
        self._monitor = monitor
        self._console = options["console"]
        self._balloon = bool(options["balloon"])
        self._reporting = "free-page-reporting=on" in options["balloon"]
        self._locked = options["locked"] == "yes"
        self._mode = options["mode"]
        self._regions: dict[str, tuple[int, int]] = {}
        self._next = BOOTED_BYTES
        self._incoming = bool(options["incoming"])
        self._stream: Any = None

    def serve(self, listener: socket.socket) -> None:
        self._monitor.vcpu_threads[0] = threading.get_native_id()
        if not self._incoming:
            self._ram.write(0, BOOTED_BYTES)
        connection, _ = listener.accept()
        self._stream = connection.makefile("rwb", buffering=0)
        if self._mode == "never-ready":
            return
        if not self._incoming:  # else it has said so where it came from
            self._send({"event": "ready", "facts": self._facts()})
        for line in self._stream:
            self._answer(json.loads(line), connection)

    def state(self) -> dict[str, Any]:
        """What a migration takes along beside the memory."""
        return {"regions": self._regions, "next": self._next}

    def restore(self, state: dict[str, Any]) -> None:
        self._regions = {name: (start, length) for name, (start, length) in state["regions"].items()}
        self._next = state["next"]

    def _facts(self) -> dict[str, Any]:
        return {
            "kernel": "fake",
            "memory_bytes": self._ram.size,
            "page_bytes": 4096,
            "balloon_features": f"00000{int(self._reporting)}".ljust(64, "0") if self._balloon else None,
            "page_reporting_order": 9 if self._reporting else 11,
        }

    def _answer(self, request: dict[str, Any], connection: socket.socket) -> None:
        if self._incoming:
            self._misbehave_there()
        start = time.monotonic_ns()
        operation = getattr(self, "op_" + request["op"])
        try:
            if request["op"] == "touch":
                self._misbehave(request, connection)
            result = operation(**request["args"])
        except RefusedError as error:
            self._send({"id": request["id"], "ok": False, "error": str(error)})
        else:
            times = {"start_ns": start, "end_ns": time.monotonic_ns()}
            self._send({"id": request["id"], "ok": True, **times, "result": result})

    def _send(self, message: dict[str, Any]) -> None:
        self._stream.write(json.dumps(message).encode() + b"\n")

    def _misbehave(self, request: dict[str, Any], connection: socket.socket) -> None:
        if self._mode == "dies":
            say("qemu-system-fake: error: the far side of the moon")
            os._exit(1)
        if self._mode == "panics":
            with open(self._console, "a") as console:
                console.write("[    9.1] Kernel panic - not syncing: Attempted to kill init!\r\n")
            self._monitor.event("SHUTDOWN", {"guest": True, "reason": "guest-reset"})
            os._exit(0)
        if self._mode == "closes-qmp":
            self._monitor.hang_up()
        if self._mode == "closes-port":
            connection.shutdown(socket.SHUT_RDWR)
            time.sleep(60)
        self._misanswer(request)

    def _misanswer(self, request: dict[str, Any]) -> None:
        if self._mode in ("silent", "stubborn"):
            time.sleep(60)
        if self._mode == "refuses":
            raise RefusedError("Cannot allocate memory")
        if self._mode == "nonsense":
            self._stream.write(b"Segmentation fault\n")
        if self._mode == "half":
            self._send({"id": request["id"]})
        if self._mode == "trace-format":
            say(f"{os.getpid()}@{time.time():.6f}:ram_block_discard_range ram off=0x1000 len=0x1000")
        if self._mode == "long-line":
            sys.stderr.write("x" * 2 * MIB)
            say("")

    def _misbehave_there(self) -> None:
        """Where the guest was migrated to."""
        if self._mode == "migrate-panics":
            with open(self._console, "a") as console:
                console.write("[   12.1] kernel BUG at lib/list_debug.c:56!\r\n[   12.2] Kernel panic\r\n")
            os._exit(0)
        if self._mode == "migrate-killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if self._mode == "migrate-silent":
            time.sleep(60)

    def op_health(self) -> dict[str, Any]:
        return {"tainted": 0, "complaints": [], "oom_kills": 0, "stalls": 0}

    def op_clock(self) -> dict[str, Any]:
        return {"monotonic_ns": time.monotonic_ns()}

    def op_dmesg(self) -> dict[str, Any]:
        return {"text": "[    0.000000] a kernel that is none\n"}

    def op_map(self, region: str, **how: Any) -> dict[str, Any]:
        if self._next + how["bytes"] > self._ram.size:
            raise RefusedError("not that much memory")
        self._regions[region] = (self._next, how["bytes"])
        self._next += how["bytes"]
        return {"bytes": how["bytes"], "page_bytes": 4096}

    def op_touch(self, region: str, **_: Any) -> dict[str, Any]:
        start, length = self._regions[region]
        before = time.monotonic_ns()
        self._ram.write(start, length)
        spent = time.monotonic_ns() - before
        return {"ns": spent, "bytes": length, "pages": length // 4096, "page_bytes": 4096, "p50_ns": 900}

    def op_verify(self, region: str, **_: Any) -> dict[str, Any]:
        start, length = self._regions[region]
        bad = -(-self._ram.bad_bytes(start, length) // 4096)
        return {"ns": 1000, "bytes": length, "bad_pages": bad, "first_bad": None}

    def op_release(self, region: str, **_: Any) -> dict[str, Any]:
        start, length = self._regions.pop(region)
        if self._reporting:
            threading.Thread(target=self._report, args=(start, length), daemon=True).start()
        return {"ns": 1000, "bytes": length}

    def _report(self, start: int, length: int) -> None:
        for index, offset in enumerate(range(start, start + length, BLOCK_BYTES)):
            if index % BLOCKS_A_PASS == 0:
                time.sleep(PASS_S)
            if self._locked:
                now = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
                say(f"{now}.000000Z fake: Failed to discard range ram:{offset:x} +{BLOCK_BYTES:x} (-22)")
            else:
                self._ram.discard(offset, BLOCK_BYTES)
                prefix = f"{os.getpid()}@{time.time():.6f}:ram_block_discard_range"
                say(f"{prefix} ram@0x{0x7FB42DA00000 + offset:x} + 0x{BLOCK_BYTES:x}: madvise: 1 fallocate: 1 ret: 0")


def objects(connection: socket.socket) -> Iterator[dict[str, Any]]:
    """JSON objects of a stream; QMP clients need not end them with a newline."""
    text = ""
    while True:
        part = connection.recv(65536).decode()
        if not part:
            return
        text += part
        with contextlib.suppress(ValueError):
            while text:
                value, end = json.JSONDecoder().raw_decode(text)
                text = text[end:].lstrip()
                yield value


def serve_messages(listener: socket.socket, mode: str) -> None:
    """The guest's listener for messages of its host: it frees what it is asked for, or so it says."""
    connection, _ = listener.accept()
    stream = connection.makefile("rwb", buffering=0)
    for number, line in enumerate(stream):
        message = json.loads(line)
        if number and mode == "notify-closes":
            connection.shutdown(socket.SHUT_RDWR)
        elif number and mode == "notify-nonsense":
            stream.write(b"Segmentation fault\n")
        elif not (number and mode == "notify-silent"):
            stream.write(json.dumps({"id": message["id"], "freed_bytes": message["bytes"]}).encode() + b"\n")


class Monitor:
    """QMP over one connection: the commands that the suite uses; others are unknown, as in an older QEMU."""

    def __init__(self, abrupt: bool) -> None:
        self.vcpu_threads: dict[int, int] = {}
        self.abrupt = abrupt
        self.migration: Any = None
        self._stream: Any = None
        self._connection: Any = None
        self._lock = threading.Lock()

    def hang_up(self) -> None:
        self._connection.shutdown(socket.SHUT_RDWR)

    def serve(self, listener: socket.socket) -> None:
        connection, _ = listener.accept()
        self._connection = connection
        self._stream = connection.makefile("rwb", buffering=0)
        self._send({"QMP": {"version": VERSION, "capabilities": ["oob"]}})
        for request in objects(connection):
            if request["execute"] == "quit" and self.abrupt:
                os._exit(0)
            answer = self._answer(request["execute"], request.get("arguments", {}))
            if "id" in request:
                answer["id"] = request["id"]
            self._send(answer)
            if request["execute"] == "quit":
                self.event("SHUTDOWN", {"guest": False, "reason": "host-qmp-quit"})
                os._exit(0)

    def event(self, name: str, data: dict[str, Any]) -> None:
        seconds, part = divmod(time.time(), 1)
        self._send(
            {"event": name, "data": data, "timestamp": {"seconds": int(seconds), "microseconds": int(part * 1e6)}}
        )

    def _answer(self, command: str, arguments: dict[str, Any]) -> dict[str, Any]:
        found = self.migration.answer(command, arguments) if self.migration else None
        if found is not None:
            return {"return": found}
        status = {"running": True, "singlestep": False, "status": "running"}
        known: dict[str, Any] = {
            "qmp_capabilities": {},
            "query-cpus-fast": [
                {"cpu-index": index, "thread-id": thread} for index, thread in sorted(self.vcpu_threads.items())
            ],
            "query-status": status,
            "query-balloon": {"actual": 1},
            "qom-set": {},
            "quit": {},
        }
        if command in known:
            return {"return": known[command]}
        return {"error": {"class": "CommandNotFound", "desc": f"The command {command} has not been found"}}

    def _send(self, message: dict[str, Any]) -> None:
        with self._lock:
            self._stream.write(json.dumps(message).encode() + b"\r\n")


def read_argv(argv: list[str]) -> dict[str, str]:
    """What the fake needs to know of QEMU's options."""
    line = "\n".join(argv)

    def found(pattern: str) -> str:
        match = re.search(pattern, line)
        return match.group(1).replace(",,", ",") if match else ""

    return {
        "qmp": found(r"socket,id=qmp,path=((?:[^,\n]|,,)*)"),
        "agent": found(r"socket,id=agent,path=((?:[^,\n]|,,)*)"),
        "notify": found(r"socket,id=notify,path=((?:[^,\n]|,,)*)"),
        "console": found(r"file,id=console,path=((?:[^,\n]|,,)*)"),
        "bytes": found(r"-m\n(\d+)B"),
        "balloon": found(r"(virtio-balloon-pci.*)"),
        "vcpus": found(r"-smp\n(\d+)"),
        "node": found(r"host-nodes=(\d+),policy=bind"),
        "locked": "yes" if "mem-lock=on" in line else "",
        "mode": found(r"\bfake=(\S+)"),
        "incoming": found(r"-incoming\nunix:(.*)"),
    }


def listen(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(1)
    return listener


def run_vcpus(guest: Guest, monitor: Monitor, options: dict[str, str]) -> None:
    """A thread a vCPU: the first is the agent's, the others idle. Returns when all have said who they are."""

    def idle(index: int) -> None:
        monitor.vcpu_threads[index] = threading.get_native_id()
        threading.Event().wait()

    count = int(options["vcpus"])
    threading.Thread(target=guest.serve, args=(listen(options["agent"]),), daemon=True).start()
    if options["mode"] != "one-thread":
        for index in range(1, count):
            threading.Thread(target=idle, args=(index,), daemon=True).start()
    while len(monitor.vcpu_threads) < (1 if options["mode"] == "one-thread" else count):
        time.sleep(0.001)
    if options["mode"] == "one-thread":
        monitor.vcpu_threads = dict.fromkeys(range(count), monitor.vcpu_threads[0])


def main(argv: list[str]) -> None:
    options = read_argv(argv)
    if options["mode"] == "exits":
        say("qemu-system-fake: Could not access KVM kernel module: No such file or directory")
        sys.exit(1)
    if options["mode"] == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with open(options["console"], "w") as console:
        console.write("fake console: booting\r\n")
    ram, monitor = Ram(int(options["bytes"])), Monitor(options["mode"] == "abrupt")
    if options["node"] and options["mode"] != "unbound":
        ram.bind(int(options["node"]))
    if options["notify"]:
        threading.Thread(target=serve_messages, args=(listen(options["notify"]), options["mode"]), daemon=True).start()
    guest = Guest(ram, options, monitor)  # its port is open as long as it is there
    monitor.migration = Migration(ram, guest, options["mode"], options["incoming"])
    run_vcpus(guest, monitor, options)
    with contextlib.suppress(OSError):
        monitor.serve(listen(options["qmp"]))
    time.sleep(60)  # nobody listens to the monitor any more: as QEMU, stay until told otherwise


if __name__ == "__main__":
    main(sys.argv[1:])
