"""What a plan asks of a host: `tune:` names the settings to make quiet, `quiet:` what to wait for before each boot."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

from pydantic import Field

from bench.controller.quantities import Seconds, Share, Size
from bench.controller.yamlfile import Document, Problem, Strict, valid_names
from bench.wire.job import Quiet
from bench.wire.setting import NAMES, ONLY_BY_NAME
from bench.wire.units import MIB

TUNE_ALL = tuple(name for name in NAMES if name not in ONLY_BY_NAME)
_TUNE = "write true, false, or a list of names, as in [governor, thp]"


class QuietModel(Strict):
    """`quiet:` of a plan: a host must be at or below every limit before a boot; null: not asked.

    The defaults must hold within the deadline on any machine that does nothing else, a small one included whose last
    guest was emulated, or which has just run a test suite: the 1-minute load average falls by a factor of e in 60 s, so
    7 per CPU may be left behind; pressure over 10 s is gone sooner. A fault reads in up to 8 pages of swap around
    its own (vm.page-cluster). No limit on temperature: the hottest sensor may be a network card, always at 90 °C.
    """

    busy: Share | None = Field(default=0.25, description="a share of the CPU time of all CPUs, as in 25%, or null")
    load: float | None = Field(
        default=1.0, ge=0, le=1000, description="a number, the 1-minute load average per CPU, as in 1.0, or null"
    )
    pressure: Share | None = Field(
        default=0.2, description="a share of time that something waits for CPU, memory or disk, as in 20%, or null"
    )
    swap: float | None = Field(
        default=100.0, ge=0, le=1e9, description="a number of pages swapped in and out a second, as in 0, or null"
    )
    temperature: float | None = Field(
        default=None, ge=1, le=200, description="a number of degrees Celsius from 1 to 200, as in 80, or null"
    )
    deadline_s: Seconds = Field(default=120.0, le=86400, description="seconds to wait for it, at most 86400, as in 60")


class SwapModel(Strict):
    """`swap:` of a plan. Without a file the hosts' own swap is used, where they have any."""

    file: Annotated[Size, Field(ge=64 * MIB, multiple_of=MIB)] | None = Field(
        default=None, description="a size of 64M or more, of a swap file to be made for the run, as in 2G, or null"
    )


def quiet_of(model: QuietModel) -> Quiet:
    """The limits in base units, for the host."""
    return Quiet(model.busy, model.load, model.pressure, model.swap, model.temperature, model.deadline_s)


QUIET = quiet_of(QuietModel())


def quiet_entry(quiet: Quiet) -> dict[str, float | None]:
    """The limits as a mapping of a plan, all written."""
    return dict(zip(QuietModel.model_fields, dataclasses.astuple(quiet), strict=True))


def read_tune(document: Document) -> tuple[tuple[str, ...], list[Problem]]:
    """The names of settings that a plan's `tune:` means, and what is wrong with it."""
    given = document.value.get("tune", False)
    if isinstance(given, bool):
        return (TUNE_ALL if given else ()), []
    if not isinstance(given, list):
        return (), [document.problem(("tune",), f"{given!r} is neither true nor false; {_TUNE}")]
    problems = [
        document.problem(("tune", index), message)
        for index, name in enumerate(given)
        if (message := _wrong_name(name, given[:index]))
    ]
    return tuple(str(name) for name in given), problems


def _wrong_name(name: Any, before: list[Any]) -> str:
    if name not in NAMES:
        return f"unknown setting {name!r}; {valid_names(str(name), NAMES)}"
    return f"{name!r} is written twice; keep one" if name in before else ""
