"""Which boots count: the last good attempt of each (host, cell, arm, block), and the blocks that are complete."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.analysis.summary import Values, boot_value
from bench.analysis.values import Boot

Run = dict[str, Any]
Cell = tuple[str, str]  # host, cell
Key = tuple[str, str, str, int]  # host, cell, arm, block


@dataclass(frozen=True)
class BootValues:
    """One boot that counts, for exporters. complete: its block is complete. values, warmups: as in the boot line."""

    boot: str
    host: str
    cell: str
    arm: str
    block: int
    complete: bool
    values: Values
    warmups: Values


def key(boot: Boot) -> Key:
    return str(boot["host"]), str(boot["cell"]), str(boot["arm"]), int(boot["block"])


def chosen(boots: Sequence[Boot], accel: str | None = None) -> dict[Key, Boot]:
    """The boot of each key that counts: status "ok", the last attempt; only of accelerator `accel` if one is named."""
    best: dict[Key, Boot] = {}
    for boot in boots:
        if boot.get("status") != "ok" or (accel and boot.get("accel", accel) != accel):
            continue
        held = best.get(key(boot))
        if held is None or attempt(boot) >= attempt(held):
            best[key(boot)] = boot
    return best


def attempt(boot: Boot) -> int:
    return int(boot.get("attempt", 1))


def cells(boots: Sequence[Boot]) -> list[Cell]:
    """Every (host, cell) in the order of its first boot, failed boots too: a cell that is missing must be seen."""
    return list(dict.fromkeys((str(boot["host"]), str(boot["cell"])) for boot in boots))


def arms_of(run: Run, boots: Sequence[Boot], cell: Cell) -> list[str]:
    """The arms that a cell should have, in the run's order: not those that its host can do nothing with (skipped)."""
    statuses: dict[str, set[str]] = {}
    for boot in boots:
        if (boot["host"], boot["cell"]) == cell:
            statuses.setdefault(str(boot["arm"]), set()).add(str(boot.get("status")))
    limited = (run.get("cell_arms") or {}).get(cell[1]) or run["arms"]
    return [str(arm) for arm in run["arms"] if arm in limited and statuses.get(str(arm)) != {"skipped"}]


def complete_blocks(run: Run, boots: Sequence[Boot], cell: Cell, pair: Sequence[str] = ()) -> list[int]:
    """Blocks in which both arms of a pair have a boot that counts, rising; without a pair: every arm of the cell."""
    good = chosen(boots, run.get("accel"))
    arms = pair or arms_of(run, boots, cell)
    seen = sorted({block for host, name, _, block in good if (host, name) == cell})
    return [block for block in seen if all((*cell, arm, block) in good for arm in arms)]


def boot_values(run: Run, boots: Sequence[Boot]) -> list[BootValues]:
    """Every boot that counts, by cell, arm (in the run's order) and block: what the pyperf files are made of."""
    good = chosen(boots, run.get("accel"))
    complete = {(cell, block) for cell in cells(boots) for block in complete_blocks(run, boots, cell)}
    order = {str(arm): index for index, arm in enumerate(run["arms"])}
    return [
        BootValues(
            str(boot["boot"]),
            host,
            cell,
            arm,
            block,
            ((host, cell), block) in complete,
            boot.get("values") or {},
            boot.get("warmups") or {},
        )
        for (host, cell, arm, block), boot in sorted(
            good.items(), key=lambda item: (item[0][:2], order.get(item[0][2], len(order)), item[0][3])
        )
    ]


def by_block(boots: dict[Key, Boot], cell: Cell, arm: str, blocks: Sequence[int], metric: str) -> list[float | None]:
    """The boot summaries of one metric, one a block; None where it was not measured."""
    found = (boots.get((*cell, arm, block)) for block in blocks)
    return [boot_value((boot.get("values") or {}).get(metric) or []) if boot else None for boot in found]
