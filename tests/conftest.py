"""For all tests: no time limit per example on a busy machine, and never the user's own cache or journal."""

from __future__ import annotations

import sys
from pathlib import Path

import apart
import pytest
from hypothesis import settings

settings.register_profile("bench", deadline=None, max_examples=60)
settings.load_profile("bench")


@pytest.fixture(autouse=True)
def _own_cache(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """$BENCH_CACHE in the test's folder. Tests with real guests use the user's: it holds the guest kernel.

    $BENCH_STATE, where the journal of changed settings lies, always is in the test's folder. There, too, a command
    looks for what killed benches left, but one that is a process of its own in a test with guests: what this machine
    has is other tests', and a command says what it removes.
    """
    monkeypatch.setenv("BENCH_STATE", str(tmp_path / "state"))
    monkeypatch.setattr("bench.commands.tidy.ROOT", tmp_path / "root")
    if request.node.get_closest_marker("guest") is None:
        monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv(apart.VARIABLE, str(tmp_path / "root"))


@pytest.fixture(autouse=True)
def _undrawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """In unit tests figures stand empty, but in those marked as `drawn`: drawing is most of a page's time.

    Where nothing has imported what draws, nothing does: the Python of a lab host has no matplotlib.
    """
    svg = sys.modules.get("reports.svg")
    if svg is None or "unit" not in request.path.parts or request.node.get_closest_marker("drawn"):
        return
    from markupsafe import Markup

    def empty(figure_id: str, kind: str, label: str, *_: object) -> Markup:
        element = '<svg id="{}-{}" viewBox="0 0 1 1" role="img" aria-label="{}" class="{}"></svg>'
        return Markup(element).format(figure_id, kind, label, kind)  # noqa: S704 - `format` escapes what it is given

    monkeypatch.setattr(svg, "_drawing", empty)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache in which image and bundle are built once for all tests of the commands."""
    return tmp_path_factory.mktemp("built")
