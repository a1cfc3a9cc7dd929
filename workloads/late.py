"""Objects of the agent's that are made, and their modules imported, at the first use: importing is slow in a guest."""

from __future__ import annotations

TYPE_CHECKING = False  # importing typing is slow in an emulated guest
if TYPE_CHECKING:
    from typing import Any


def _listening(root: str) -> Any:
    from workloads.notify import Listening

    return Listening(root)


def _programs(_root: str) -> Any:
    from workloads.programs import Programs

    return Programs()


def _probes(root: str) -> Any:
    from workloads.beside import Probes

    return Probes(root)


def _witness(root: str) -> Any:
    from workloads.witness import Witness

    return Witness(root)


# By kind: from the root where proc and sys are mounted.
LATE = {"programs": _programs, "probes": _probes, "witness": _witness, "listening": _listening}
