"""How much memory a guest is to do without: a decision from what it has available, with hysteresis (pure).

After oVirt's Memory Overcommitment Manager (balloon.rules: a guest keeps a fifth of its memory free, changes of less
than 0.25 % are not worth one) and the auto-ballooning proposals for QEMU (2012, 2013): the guest's own statistics say
what it can do without. Between `low` and `high` nothing happens, so that no balloon swings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

LEAST_CHANGE_SHARE = 0.0025


@dataclass(frozen=True)
class Bounds:
    """Shares of the guest's whole memory. Above `high` available it gives, down to `keep`; below `low` it gets, up to
    `high`. step: what is taken at once, at most.
    """

    low: float = 0.1
    keep: float = 0.2
    high: float = 0.3
    step: float = 0.25


@dataclass(frozen=True)
class Size:
    """Bytes of a guest: its whole memory, what of it is available to its programs, and what it does without by now.

    most: what it can do without by this mechanism.
    """

    whole: int
    available: int
    without: int
    most: int


def decide(size: Size, bounds: Bounds, wanted: bool) -> Optional[int]:
    """What the guest is to do without from now on, bytes; None: as it is. wanted: whether somebody needs memory.

    A guest that is short gets memory whether that is wanted elsewhere or not.
    """
    target = size.without
    if size.available < bounds.low * size.whole:
        target -= int(bounds.high * size.whole) - size.available
    elif wanted and size.available > bounds.high * size.whole:
        target += min(size.available - int(bounds.keep * size.whole), int(bounds.step * size.whole))
    target = max(0, min(size.most, target))
    return target if abs(target - size.without) > LEAST_CHANGE_SHARE * size.whole else None
