"""A run as a plain-text table for a mail: arms down, cells across, mean and standard deviation of boots, 75 columns.

The deviation is the sample standard deviation over boots (one value a boot), in percent of the mean: the boot is the
unit of replication. The patch series of free page reporting gave the largest difference to its average instead.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from bench.analysis.blocks import Run, boot_values
from bench.analysis.entries import reference_of
from bench.analysis.summary import boot_value
from bench.analysis.values import Boot
from bench.wire.metrics import METRICS
from bench.wire.units import show

WIDTH = 75
NOTHING = "-"
_LEAST_FOR_DEVIATION = 2

Values = dict[tuple[str, str], list[float]]  # (cell, arm) -> one value a boot


def mail_table(run: Run, boots: Sequence[Boot]) -> str:
    """One table a metric of the plan and host, under a head that says what was run."""
    parts = [_head(run)]
    for host in dict.fromkeys(str(boot["host"]) for boot in boots):
        mine = [boot for boot in boots if boot["host"] == host]
        for name in run.get("metrics") or {}:
            found = _values(run, mine, name)
            if found:
                parts.append(_table(run, host, name, found))
    return "\n\n".join(parts) + "\n"


def _head(run: Run) -> str:
    lines = [_cut(f"{run.get('plan')}: {run.get('question')}"), f"accelerator: {run.get('accel')}"]
    if run.get("accel") != "kvm":
        lines.append("guests ran under software emulation (TCG): times are no hardware's")
    return "\n".join(lines)


def _values(run: Run, boots: Sequence[Boot], name: str) -> Values:
    found: Values = {}
    for item in boot_values(run, boots):
        value = boot_value(item.values.get(name) or [])
        if value is not None:
            found.setdefault((item.cell, item.arm), []).append(value)
    return found


def _table(run: Run, host: str, name: str, found: Values) -> str:
    metric = METRICS[name]
    lines = [_cut(f"{host}: {metric.title} ({name}, {metric.unit}); mean, sd in %, difference in %")]
    cells = list(dict.fromkeys(cell for cell, _ in found))
    arms = [str(arm) for arm in run["arms"] if any((cell, arm) in found for cell in cells)]
    left = max(len(arm) for arm in ("arm", *arms))
    for group in _groups(cells, left):
        body = [[arm, *(_entry(run, found, cell, arm, metric.unit) for cell in group)] for arm in arms]
        rows = [["arm", *group], *body]
        widths = [max(len(row[i]) for row in rows) for i in range(len(group) + 1)]
        lines.append("")
        for row in rows:
            padded = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
            lines.append(_cut("  ".join([row[0].ljust(widths[0]), *padded]).rstrip()))
    return "\n".join(lines)


def _groups(cells: Sequence[str], left: int) -> list[Sequence[str]]:
    """So many cells side by side as fit."""
    across = max(1, (WIDTH - left) // 26)
    return [cells[start : start + across] for start in range(0, len(cells), across)]


def _entry(run: Run, found: Values, cell: str, arm: str, unit: str) -> str:
    values = found.get((cell, arm))
    if not values:
        return NOTHING
    mean = statistics.fmean(values)
    sd = statistics.stdev(values) if len(values) >= _LEAST_FOR_DEVIATION else None
    deviation = NOTHING if sd is None or not mean else f"{100 * sd / abs(mean):.2f}%"
    reference = reference_of(run, arm)
    base = found.get((cell, reference))
    change = ""
    if base and arm != reference and statistics.fmean(base):
        change = f"{100 * (mean / statistics.fmean(base) - 1):+.2f}%"
    return " ".join((show(mean, unit), deviation.rjust(6), change.rjust(8)))


def _cut(line: str) -> str:
    return line if len(line) <= WIDTH else line[: WIDTH - 3] + "..."
