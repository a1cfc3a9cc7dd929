"""The guest's first process: brings the guest up, says READY over a virtio-serial port, answers until shutdown.

One JSON object a line, each way. Only answers go to the port; what is printed reaches the console.
"""

from __future__ import annotations

import os
import sys
import time

from workloads import guestos, jsonlines
from workloads.channel import Channel
from workloads.ops import Operations

TYPE_CHECKING = False  # importing typing and collections.abc is slow in an emulated guest
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from workloads.ops import Operation


def message(value: Mapping[str, Any]) -> bytes:
    """One line of the protocol. Raises TypeError for what JSON has no form for."""
    return jsonlines.dumps(value).encode() + b"\n"


def answer(line: bytes, operations: Mapping[str, Operation]) -> bytes:
    """The line that answers one request. What goes wrong becomes ok=false with its reason; the traceback is printed."""
    number = None
    try:
        request = jsonlines.loads(line.decode())
        number, name = request["id"], request["op"]
        if name not in operations:
            raise LookupError(f"unknown op {name!r}; known: {', '.join(sorted(operations))}")
        start = time.monotonic_ns()
        result = operations[name](**request.get("args", {}))
        end = time.monotonic_ns()
        return message({"id": number, "ok": True, "start_ns": start, "end_ns": end, "result": result})
    except guestos.Unsupported as lacking:
        return message({"id": number, "ok": False, "unsupported": True, "error": str(lacking)})
    except Exception as error:  # noqa: BLE001 - the agent outlives every bad request
        import traceback

        traceback.print_exc()
        return message({"id": number, "ok": False, "error": traceback.format_exception_only(error)[-1].strip()})


def serve(channel: Channel, operations: Mapping[str, Operation]) -> None:
    """Answers requests until one asks for `shutdown`, or the other side closes."""
    stop = False

    def shutdown() -> dict[str, Any]:
        nonlocal stop
        stop = True
        return {}

    table = {**operations, "shutdown": shutdown}
    for line in channel.lines():
        channel.send(answer(line, table))
        if stop:
            return


def load_memtouch() -> None:
    """Imports memtouch while the host prepares the first phase; what is wrong with it shows at the first use."""
    try:
        import workloads.memtouch  # noqa: F401
    except ImportError as error:
        print(f"agent: {error}", flush=True)


def main() -> None:
    """Runs as process 1 of the guest, and never returns: a failure here is a kernel panic that shows on the console."""
    stages = {"init_s": time.monotonic()}
    guestos.mount_all()
    modules = guestos.load_modules()
    stages["modules_s"] = time.monotonic()
    # Not inherited by memtouch's tasks, and no terminal: nothing but this channel may write to it.
    channel = Channel(os.open(guestos.find_port(), os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY), wait_for_peer=True)
    facts = {**guestos.facts(), "stages": stages, "modules": modules}
    channel.send(message({"event": "ready", "facts": facts}))
    load_memtouch()
    serve(channel, Operations().table())
    sys.stdout.flush()
    guestos.power_off()
