"""`bench` for tests, without its imports: a process that has imported all of it, and forks for each command.

As a program it is that process. What it forks is a real process, with streams, environment and folder of its own, that
may be interrupted and killed; but not a new Python. Importing takes longer than most commands that tests ask for.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import sys
import threading
import time
from typing import Any, NoReturn

import apart

PACKAGES = ("bench.command_line", "bench.commands")
# An answer is far smaller; a request holds an environment.
MOST_BYTES = 1 << 20
MOST_FILES = 256


def main(number: int) -> None:
    """Serves until the other side of the socket is gone; what was started goes on. number: of the socket's file."""
    _import_everything()
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=number) as client:
        asked = _serve(client)
    if asked is not None:
        _command(*asked)


def _serve(client: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Returns in each forked process with what was asked for, and with None at the end."""
    woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    client.send(b"{}")
    while True:
        ready, _, _ = select.select([client.fileno(), woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            _tell_ends(client)
        if client.fileno() in ready:
            request, files, _, _ = socket.recv_fds(client, MOST_BYTES, 2)
            if not request:
                return None
            pid = os.fork()
            if not pid:
                return json.loads(request), files
            for file in files:
                os.close(file)
            client.send(json.dumps({"began": pid}).encode())


def _import_everything() -> None:
    for package in PACKAGES:
        for module in pkgutil.iter_modules(importlib.import_module(package).__path__, f"{package}."):
            importlib.import_module(module.name)
    importlib.import_module("reports.page")


def _tell_ends(client: socket.socket) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        client.send(json.dumps({"ended": pid, "status": os.waitstatus_to_exitcode(status)}).encode())


def _command(request: dict[str, Any], files: list[int]) -> NoReturn:
    """In a session of its own, with nothing of the process that forked but its modules."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.setsid()
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    time.tzset()
    for target, file in enumerate((os.open(os.devnull, os.O_RDONLY), *files)):
        os.dup2(file, target)
    os.closerange(3, MOST_FILES)
    sys.argv = ["bench", *request["argv"]]
    apart.move()
    try:
        code = importlib.import_module("bench.cli").main()
    except BaseException:  # noqa: BLE001 - an interpreter says it and goes on to its end
        sys.excepthook(*sys.exc_info())
        code = 1
    # What an interpreter does at its end, but for the destruction of every module, which takes half a second.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    main(int(sys.argv[1]))
