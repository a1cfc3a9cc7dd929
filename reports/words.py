"""Numbers as people read them: values with units, effects, intervals, and the words of a verdict."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from bench.wire.metrics import METRICS, Metric
from bench.wire.metrics_cost import STATES
from bench.wire.units import show

NOTHING = "–"
GROUPS = (
    ("Memory on the host", ("residual_bytes", "returned_share", "returned_bytes", "resident_peak_bytes",
                            "footprint_byte_s", "footprint_guest_share", "held_free_bytes", "stuck_free_bytes",
                            "below_order_growth_bytes", "percpu_growth_bytes", "held_unexplained_bytes",
                            "filled_resident_bytes",
                            "working_resident_bytes", "idle_resident_bytes", "idle_returned_bytes",
                            "busy_resident_bytes", "again_resident_bytes", "after_resident_bytes",
                            "cache_footprint_byte_s", "cache_resident_bytes", "cache_returned_share",
                            "cache_returned_bytes", "cache_unreturned_bytes", "cache_kept_bytes",
                            "shrunk_share", "shrunk_bytes")),
    ("A day of work", ("day_footprint_byte_s", "day_resident_bytes", "day_guest_share", "day_peak_bytes",
                       "day_idle_bytes", "day_cleaned_bytes", "day_dropped_bytes", "day_growth_bytes", "day_work_s",
                       "day_disk_bytes", "day_qemu_main_cpu_s", "day_kworker_cpu_s")),
    ("Days of several guests", ("days_peak_bytes", "days_peak_share", "days_resident_bytes", "days_end_bytes",
                                "days_footprint_byte_s", "days_work_s")),
    ("A crowd of guests", ("density_guests", "swapped_out_bytes", "swapped_in_bytes", "group_peak_bytes",
                           "group_mean_bytes", "group_end_bytes", "crowd_major_faults", "pressure_some_s",
                           "pressure_full_s", "crowd_touch_s_per_gib", "crowd_touch_max_s_per_gib")),
    ("Memory that arrives", ("arrival_swapped_bytes", "arrival_swapped_in_bytes", "arrival_s", "arrival_half_s",
                             "arrival_had_share", "arrival_reaction_s", "given_bytes", "giver_p99_s",
                             "giver_reread_bytes", "giver_refaults", "giver_hot_disk_share")),
    ("Time until it came back", ("t50_s", "t90_s", "t99_s", "cache_t50_s")),
    ("Taking and giving", ("shrink_touched_bytes_per_s", "shrink_untouched_bytes_per_s", "grow_bytes_per_s",
                           "grow_touch_bytes_per_s")),
    ("Throughput", ("faults_per_s", "busy_ops_per_s", "again_ops_per_s", "busy_p99_s", "again_p99_s", "busy_job_s",
                    "again_job_s", "slowdown_share")),
    ("A page, by the state it was in", (
        *(f"{state}_{what}" for what in ("s_per_gib", "p50_s", "p99_s", "p999_s") for state in STATES),
        "break_even_s", "break_even_swap_share")),
    ("Who uses the page cache", ("reader_p50_s", "reader_p99_s", "reader_p999_s", "cache_reread_bytes",
                                 "cache_refaults", "warm_hot_s_per_gib", "warm_hot_disk_share", "warm_s_per_gib",
                                 "warm_disk_share", "cold_s_per_gib")),
    ("Moving the guest", tuple(f"migration_{what}" for what in (
        "normal_pages", "sent_bytes", "zero_pages", "different_pages", "emptied_pages", "s", "down_s", "setup_s",
        "syncs", "source_bytes", "destination_bytes", "growth_bytes", "source_growth_bytes", "settled_bytes", "sound",
        "wrong_pages", "writer_gap_s", "stalls", "oom_kills"))),
    ("Others in the guest", ("probe_work_share", "probe_p1_share", "probe_p50_share", "probe_p99_share",
                             "probe_quiet_p1_share", "probe_longest_s", "probe_again_share")),
    ("A guest that wants to hurt", ("neighbour_work_share", "neighbour_p1_share", "neighbour_longest_s",
                                    "storm_qmp_p99_s", "storm_qmp_max_s", "storm_main_cpu_share", "storm_cpu_share",
                                    "storm_discarded_bytes_per_s", "storm_cycled_bytes_per_s")),
    ("What it costs", ("refault_s_per_gib", "refault_p50_s", "refault_p99_s", "refault_p999_s", "first_touch_s_per_gib",
                       "first_touch_p50_s", "first_touch_p99_s", "first_touch_p999_s", "free_s_per_gib", "qemu_cpu_s",
                       "qemu_main_cpu_s", "guest_cpu_s", "guest_kworker_cpu_s", "policy_cpu_s",
                       "policy_reaction_s", "qmp_round_trip_p50_s",
                       "qmp_round_trip_max_s", "ready_s", "give_s_per_gib", "grow_s_per_gib")),
    ("The mechanism", ("discarded_bytes", "discards", "discard_mean_bytes", "discard_gap_bytes", "failed_discards",
                       "host_thp_splits", "host_thp_faults",
                       "kept_discarded_share", "verified_bytes", "churn_cycles", "given_share", "policy_actions",
                       "policy_taken_bytes", "policy_returned_bytes")),
)  # fmt: skip
OTHER = "Other"
VERDICTS = {
    "better": "▲ better",
    "worse": "▼ worse",
    "equivalent": "≈ equivalent",
    "undecided": "? undecided",
    "invalid": "✕ invalid",
}


def group_of(metric: str) -> str:
    """Heading under which a metric stands in the table."""
    return next((title for title, names in GROUPS if metric in names), OTHER)


def place(metric: str) -> tuple[int, int]:
    """Where a metric stands in the table, as a sort key; unknown ones come last."""
    for index, (_, names) in enumerate(GROUPS):
        if metric in names:
            return index, names.index(metric)
    return len(GROUPS), 0


def title(metric: str) -> str:
    """A metric in words; its own name where there are none."""
    known = METRICS.get(metric)
    return (known.title if known else metric).replace(" %", "\N{NO-BREAK SPACE}%")


def definition(metric: str) -> str:
    known: Metric | None = METRICS.get(metric)
    return known.definition if known else ""


def label(row: Mapping[str, Any]) -> str:
    """The verdict as a badge; a dash where neither direction is better: "undecided" would read like missing data."""
    word = str(row.get("verdict", ""))
    if row.get("direction") == "none" and word == "undecided":
        return NOTHING
    return VERDICTS.get(word, word or NOTHING)


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def number(value: Any, unit: str) -> str:
    """A value with its unit, or a dash where there is none."""
    return show(float(value), unit) if is_number(value) else NOTHING


def ratio(value: Any) -> str:
    """A factor: "×0.21"; no more digits than can be believed."""
    if not is_number(value):
        return NOTHING
    return f"×{value:.2f}" if 0.095 <= abs(value) < 9.95 else f"×{value:.3g}" if abs(value) < 0.095 else f"×{value:.1f}"


def percent_change(value: Any) -> str:
    """What a factor means in words: "79 % less"; "" where nothing changed or nothing is known."""
    if not is_number(value) or value <= 0:
        return ""
    if value >= 1.995:
        return f"{value:.1f} times as much"
    change = round(100 * (value - 1), 0 if abs(value - 1) >= 0.0995 else 1)
    return "" if change == 0 else f"{abs(change):g} % {'more' if change > 0 else 'less'}"


def signed(value: Any, unit: str) -> str:
    """A difference with its sign; shares in percentage points."""
    if not is_number(value):
        return NOTHING
    sign = "−" if value < 0 else "+" if value > 0 else "±"
    text = show(abs(float(value)), unit)
    return sign + (text.replace(" %", " points") if unit == "share" else text)


def effect(row: Mapping[str, Any], key: str = "effect") -> str:
    """The effect (or an end of its interval) of one row of analysis.json, in the words of its kind."""
    if row.get("kind") == "ratio":
        return ratio(row.get(key))
    if row.get("kind") == "difference":
        return signed(row.get(key), str(row.get("unit", "")))
    return number(row.get(key), str(row.get("unit", "")))


def interval(row: Mapping[str, Any]) -> str:
    """The 95 % interval of one row: "×0.19 to ×0.23", or a dash."""
    if not (is_number(row.get("low")) and is_number(row.get("high"))):
        return NOTHING
    low, high = effect(row, "low"), effect(row, "high")
    amount, _, unit = low.partition(" ")
    return f"{amount if high.endswith(f' {unit}') else low} to {high}"


def margin(row: Mapping[str, Any]) -> str:
    """The margin of one row of analysis.json that has one."""
    return (
        f"{100 * row['margin']:g} %" if row.get("kind") == "ratio" else number(row["margin"], str(row.get("unit", "")))
    )


def probability(p: float) -> str:
    """A p value with its sign: "= 0.013", or "< 0.0001"."""
    return "< 0.0001" if p < 1e-4 else f"= {p:.2g}"


def fact(name: str, value: Any) -> str:
    """A fact about a host or a guest as text; names that end in a unit are shown with it."""
    if value is None:
        return "not there"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if is_number(value) and name.endswith("_bytes"):
        return show(float(value), "byte")
    if is_number(value) and re.search(r"_s$", name):
        return show(float(value), "second")
    if isinstance(value, list):
        return ", ".join(fact("", item) for item in value) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {fact(str(key), item)}" for key, item in value.items()) or "none"
    return str(value)


def when(value: Any) -> str:
    """A point in time as "2026-02-03 10:15 UTC", whatever its zone; text that is none comes back as it is."""
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return str(value)
    if moment.tzinfo is None:
        return f"{moment:%Y-%m-%d %H:%M}"
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
