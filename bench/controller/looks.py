"""`looks:` of a plan: after how many blocks a cell may be decided, and which boots that leaves to be run."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from bench.controller.yamlfile import Document, Problem

DEFAULT = (6, 10, 15, 20, 30)
_RIGHT = "write rising numbers of blocks from 2 to 1000, as in [6, 10, 15, 20, 30], or default for these"


def read_looks(document: Document) -> tuple[tuple[int, ...], list[Problem]]:
    """The looks as written, () for none, and what is wrong with them."""
    given: Any = document.value.get("looks")
    if given is None or given == []:
        return (), []
    if given == "default":
        return DEFAULT, []
    numbers = given if isinstance(given, list) else [given]
    whole = all(isinstance(one, int) and not isinstance(one, bool) and 2 <= one <= 1000 for one in numbers)
    if not whole or any(later <= earlier for earlier, later in pairwise(numbers)):
        return (), [document.problem(("looks",), f"{given!r} are no looks; {_RIGHT}")]
    return tuple(numbers), []


def blocks_of(written: int | None, looks: Sequence[int], default: int) -> dict[str, Any]:
    """The plan's `blocks` and `looks`. A number of blocks that is written (None: none is) is the most there will be:
    the last look is at it, and with no look before it the number is fixed.
    """
    blocks = written if written is not None else (looks[-1] if looks else default)
    before = tuple(look for look in looks if look < blocks)
    return {"blocks": blocks, "looks": (*before, blocks) if before else ()}
