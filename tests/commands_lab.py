"""What the tests of the commands share: a plan of one block, a folder to work in, and Ctrl-C at a chosen moment."""

from __future__ import annotations

import functools
import os
import signal
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from fake_lab import FakeLab

from bench.commands import running
from bench.commands.running import How
from bench.controller.bundle import build_bundle
from bench.controller.image import build_image
from bench.controller.plan import Options
from bench.controller.programs import Found
from bench.controller.store import RunFolder

PLAN = """\
name: short
question: q?
reference: none
arms: [none, reporting]
workloads: [{workload: cycle, window_s: 5}]
guest: {memory: 640M, vcpus: 1}
blocks: 1
min_blocks: 1
retries: 0
seed: 1
metrics: {residual_bytes: {margin: 5%}}
"""


class Here:
    """The working folder of one user, with a plan and a hosts.yaml of the lab's machines."""

    def __init__(self, lab: FakeLab, folder: Path) -> None:
        self.lab = lab
        self.out = folder / "out"
        (folder / "plan.yaml").write_text(PLAN)
        (folder / "hosts.yaml").write_text(lab.hosts_file)

    def how(self, **changes: Any) -> How:
        return How(connect=self.lab.connect, **changes)

    def run(self, *, sets: tuple[str, ...] = (), **changes: Any) -> None:
        running.run("plan.yaml", Options(sets=sets), self.how(**{"out": self.out, **changes}))

    def resume(self, **changes: Any) -> None:
        running.resume(self.out, self.how(**changes))

    @property
    def folder(self) -> RunFolder:
        return RunFolder.existing(self.out)

    def boots(self) -> dict[str, str]:
        return {boot["boot"]: boot["status"] for boot in self.folder.boots()}

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.folder.events() if event["event"] == kind]


# Nothing in them changes while tests run, so one look at the sources is enough.
build_bundle_once = functools.lru_cache(build_bundle)
build_plain_once = functools.lru_cache(build_image)


def quicken(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """Bundle and image are built once, in `cache`, and no page is drawn."""
    monkeypatch.setenv("BENCH_CACHE", str(cache))
    monkeypatch.setattr("bench.controller.cargo.build_bundle", build_bundle_once)
    monkeypatch.setattr("bench.controller.cargo.build_image", build_image_once)
    monkeypatch.setattr("reports.page.render", quick_page)


def quick_page(folder: Path) -> Path:
    """In place of the page, which takes seconds to draw."""
    (folder / "report.html").write_text("page")
    return folder / "report.html"


def build_image_once(cache: Path, programs: Mapping[str, Found]) -> Path:
    """The image without programs is the same for all tests."""
    return build_image(cache, programs) if programs else build_plain_once(cache)


def ctrl_c(*moments: Callable[[], object]) -> threading.Thread:
    """Interrupts this process as Ctrl-C does, after each of the moments."""

    def press() -> None:
        for moment in moments:
            moment()
            os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press, daemon=True)
    thread.start()
    return thread
