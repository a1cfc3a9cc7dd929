"""A run as plain-text tables for a mail, ASCII, at most 75 columns.

Of plans of page faults: arms down, tests across, as the patch series of free page reporting had it. Of all others, each
arm beside its reference, base and head: mean, %stddev and %change, as memory-management developers know it from the
kernel test robot.

The deviation is the sample standard deviation over boots (one value a boot), in percent of the mean: the boot is the
unit of replication. The patch series of free page reporting gave the largest difference to its average instead.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from bench.analysis.blocks import Run, boot_values
from bench.analysis.entries import Entry, adjusted, entries, least_blocks, reference_of
from bench.analysis.kinds import workload_of
from bench.analysis.summary import boot_value
from bench.analysis.unpaired_tables import MAIL_HEAD, mail_line, to_ascii
from bench.analysis.values import Boot
from bench.analysis.verdict import decide
from bench.wire.metrics import METRICS
from bench.wire.units import show

WIDTH = 75
# Of which a table has arms and tasks.
TASKS = "faults"
NOTHING = "-"
_LEAST_FOR_DEVIATION = 2

Values = dict[tuple[str, str], list[float]]  # (cell, arm) -> one value a boot


def mail_table(run: Run, boots: Sequence[Boot]) -> str:
    """Under a head that says what was run: one table a metric and host, or one a pair of arms, cell and host."""
    parts = [to_ascii(_head(run))]
    if any(workload_of(boot) != TASKS for boot in boots):
        return "\n\n".join([*parts, *_pairs(run, boots)]) + "\n"
    for host in dict.fromkeys(str(boot["host"]) for boot in boots):
        mine = [boot for boot in boots if boot["host"] == host]
        for name in run.get("metrics") or {}:
            found = _values(run, mine, name)
            if found:
                parts.append(_table(run, host, name, found))
    return "\n\n".join(parts) + "\n"


def _pairs(run: Run, boots: Sequence[Boot]) -> Iterator[str]:
    """base is the reference and head the arm; the metrics of the plan come first, then all others."""
    found: dict[tuple[str, str, str], list[Entry]] = {}
    for entry in entries(run, boots):
        found.setdefault((*entry.cell, entry.arm), []).append(entry)
    wanted = list(run.get("metrics") or {})
    p_values = dict(zip(*_adjusted(found), strict=True))
    for (host, cell, arm), mine in found.items():
        shown = [one for one in mine if any(v is not None for v in (*one.reference_blocks, *one.arm_blocks))]
        shown.sort(key=lambda one: wanted.index(one.metric.name) if one.metric.name in wanted else len(wanted))
        lines = [f"{host}, {cell}: base {reference_of(run, arm)}, head {arm}", MAIL_HEAD]
        for one in shown:
            verdict = decide(one.comparison, one.metric, one.margin, p_values[id(one)], least_blocks(run))
            about = {"metric": one.metric.name, "unit": one.metric.unit, "kind": one.metric.kind}
            values = {"base_boots": one.reference_blocks, "head_boots": one.arm_blocks}
            lines.append(mail_line({**about, **values, "effect": one.comparison.effect, "verdict": verdict.word}))
        yield "\n".join(_cut(to_ascii(line).rstrip()) for line in lines)


def _adjusted(found: dict[tuple[str, str, str], list[Entry]]) -> tuple[list[int], list[float | None]]:
    """Every comparison's identity, and its p among all of its family."""
    every = [entry for mine in found.values() for entry in mine]
    p_values = adjusted([entry.comparison.p for entry in every], [entry.blocking for entry in every])
    return [id(entry) for entry in every], p_values


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
