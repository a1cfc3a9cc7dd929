"""What must be seen before a gate is believed: all of it measured, a known effect, and none where there is none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from bench.analysis import controls
from bench.analysis.across import asked
from bench.analysis.blocks import Cell, Run, arms_of, by_block, cells, chosen, complete_blocks
from bench.analysis.compare import Comparison, compare
from bench.analysis.entries import adjusted, least_blocks, levels_of, reference_of
from bench.analysis.rules import repeats
from bench.analysis.shown import amount
from bench.analysis.suspicion import changed_files
from bench.analysis.values import Boot, number
from bench.analysis.verdict import decide, default_margin
from bench.wire.metrics import METRICS, Metric

EFFECT_METRIC = "residual_bytes"
# Reasons of invalid boots that say something of the host at that moment, and nothing of what was measured.
OF_THE_HOST = ("the host did not get quiet", "sampler", "clocks were not tied")


def missing(run: Run, boots: Sequence[Boot]) -> list[str]:
    """What the manifest expects and the run does not have: a host, a cell, or complete blocks of one of its arms."""
    found = []
    here = dict.fromkeys(cells(boots))
    expected = (run.get("gate") or {}).get("manifest") or run.get("cells") or dict.fromkeys(name for _, name in here)
    for host in asked(run) or dict.fromkeys(host for host, _ in cells(boots)):
        for name in expected:
            cell = (str(host), str(name))
            if cell not in here:
                found.append(f"{host}, {name}: no boot")
                continue
            found += [f"{host}, {name}: {text}" for text in _short(run, boots, cell)]
    return found


def _short(run: Run, boots: Sequence[Boot], cell: Cell) -> Iterator[str]:
    present = arms_of(run, boots, cell)
    limited = (run.get("cell_arms") or {}).get(cell[1]) or run["arms"]
    for arm in (str(arm) for arm in run["arms"] if arm in limited):
        if arm not in present:
            yield f"arm {arm} was skipped"
        n = len(complete_blocks(run, boots, cell, (arm, reference_of(run, arm))))
        if arm in present and n < least_blocks(run):
            yield f"{n} of at least {least_blocks(run)} complete blocks of {arm}"


def not_believed(boots: Sequence[Boot]) -> list[str]:
    """Boots that are invalid for what they measured; of those that only had a bad moment there may be too few left."""
    lines = [
        f"{boot['boot']}: {boot.get('reason')}"
        for boot in boots
        if boot.get("status") == "invalid" and not str(boot.get("reason", "")).startswith(OF_THE_HOST)
    ]
    return [*lines, *(doubt.text for doubt in changed_files(boots))]


def known_effects(run: Run, boots: Sequence[Boot]) -> list[dict[str, Any]]:
    """The control that must be better, one item a host. None of it where the run has no arms for it."""
    wanted = (run.get("gate") or {}).get("effect") or {}
    metric = METRICS[str(wanted.get("metric") or EFFECT_METRIC)]
    found = []
    for host in dict.fromkeys(host for host, _ in cells(boots)):
        pairs = _effect_pairs(run, boots, str(wanted.get("arm") or ""))
        places = [cell for cell in cells(boots) if cell[0] == host and wanted.get("cell") in (None, "", cell[1])]
        seen = [item for cell in places for pair in pairs for item in _effect(run, boots, cell, pair, metric)]
        found += seen[:1]
    return found


def _effect_pairs(run: Run, boots: Sequence[Boot], named: str) -> list[tuple[str, str]]:
    """(arm, reference) of which the arm must be better: as the plan says, or an arm that reports against one that
    does not. Of base and head it is the base: what the head does is what the gate is asked.
    """
    change, side = run.get("change") or {}, ""
    against, reference = run.get("against") or {}, str(run["reference"])
    arms = [str(arm) for arm in run["arms"]]
    if change:
        side, against, reference = "base-", change.get("against") or {}, str(change.get("reference"))
        arms = [str(arm) for arm in change.get("arms") or []]
    repeated = {**(run.get("same_as") or {}), **(change.get("same_as") or {})}
    reporting = {str(boot["arm"]) for boot in boots if boot.get("must_discard")}
    pairs = [(f"{side}{arm}", f"{side}{against.get(arm) or reference}") for arm in arms if arm not in repeated]
    if named:
        return [(arm, other) for arm, other in pairs if arm.removeprefix(side) == named.removeprefix(side)]
    return [(arm, other) for arm, other in pairs if arm in reporting and other not in reporting and arm != other]


def _effect(
    run: Run, boots: Sequence[Boot], cell: Cell, pair: tuple[str, str], metric: Metric
) -> Iterator[dict[str, Any]]:
    arm, reference = pair
    comparison = pair_of(run, boots, cell, pair, metric)
    if comparison.n == 0:
        return
    margin = number(((run.get("metrics") or {}).get(metric.name) or {}).get("margin"))
    margin = default_margin(metric) if margin is None else margin
    verdict = decide(comparison, metric, margin, comparison.p, least_blocks(run))
    shown = amount(comparison.effect, {"kind": metric.kind, "unit": metric.unit})
    yield {
        "control": "effect",
        "host": cell[0],
        "cell": cell[1],
        "arm": arm,
        "reference": reference,
        "metric": metric.name,
        "verdict": verdict.word,
        "seen": verdict.word == "better",
        "text": f"{metric.name} of {arm} against {reference}: {shown}, {verdict.word}"
        + ("" if verdict.word == "better" else f" ({verdict.why}); it must be better"),
    }


def pair_of(run: Run, boots: Sequence[Boot], cell: Cell, pair: tuple[str, str], metric: Metric) -> Comparison:
    """An arm against another one in one cell, whatever the plan compares."""
    arm, reference = pair
    blocks = complete_blocks(run, boots, cell, (reference, arm))
    good = chosen(boots, run.get("accel"))
    a, b = (by_block(good, cell, name, blocks, metric.name) for name in (reference, arm))
    return compare(a, b, metric, levels_of(run))


def same_arms(run: Run, boots: Sequence[Boot]) -> list[dict[str, Any]]:
    """The A/A controls, one item a host, cell and arm: nothing may be worse or better where nothing differs."""
    found = repeats(run, boots)
    p_values = adjusted([one.entry.comparison.p for one in found], [True] * len(found))
    items: dict[tuple[str, str, str], dict[str, Any]] = {}
    for one, p_holm in zip(found, p_values, strict=True):
        entry = one.entry
        reference = reference_of(run, entry.arm)
        item = items.setdefault(
            (*entry.cell, entry.arm),
            {
                "control": "same",
                "host": entry.cell[0],
                "cell": entry.cell[1],
                "arm": entry.arm,
                "reference": reference,
                "compared": 0,
                "different": [],
            },
        )
        verdict = decide(entry.comparison, entry.metric, entry.margin, p_holm, least_blocks(run))
        item["compared"] += verdict.word != "invalid"
        if verdict.word in ("worse", "better"):
            item["different"].append(entry.metric.name)
    return [_said_of_same(item) for item in items.values()]


def _said_of_same(item: dict[str, Any]) -> dict[str, Any]:
    seen = bool(item["compared"]) and not item["different"]
    what = f"{item['arm']} is {item['reference']} once more: "
    if not item["compared"]:
        what += "nothing could be compared"
    elif item["different"]:
        what += f"{', '.join(item['different'])} differs where nothing does"
    else:
        what += f"none of {item['compared']} metrics differs"
    return {**item, "seen": seen, "text": what}


def nothing_expected(boots: Sequence[Boot]) -> list[dict[str, Any]]:
    """The arms in which reports can do nothing, as far as the run has them."""
    return [
        {
            "control": "nothing",
            **{key: item[key] for key in ("host", "cell", "arm")},
            "seen": item["recognised"] == item["boots"],
            "text": f"reports did nothing in {item['recognised']} of {item['boots']} boots of {item['arm']}",
        }
        for item in controls.controls(boots)
    ]
