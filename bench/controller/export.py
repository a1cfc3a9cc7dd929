"""pyperf files of a run: what `python -m pyperf stats|check|hist|compare_to` read. Only pyperf's public API is used.

Two files an arm of a host (docs/method.md, "pyperf files"):

* `<host>.<arm>.json`: one Run a usable boot, its iterations as values, warm-ups kept. `compare_to` on two of these
  pools the iterations of a boot, which are not independent: do not believe its significance.
* `<host>.<arm>.boot.json`: one value a boot (the median of its iterations), complete blocks only, so that both arms
  have the same number of values from the same blocks. Made for `compare_to`.

pyperf knows seconds, bytes and integers, wants values above zero and takes lower for better; the rest is left out.
"""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import pyperf

from bench.wire.metrics import METRICS, Metric

Json = dict[str, Any]
Key = tuple[str, str, str, int]  # host, cell, arm, block
FOLDER = "pyperf"
LONGEST_NAME = 80
_UNITS = {"byte": "byte", "second": "second", "second/GiB": "second", "count": "integer"}
# Exported as the mean residency over the window, in bytes: pyperf has no byte-seconds.
_FOOTPRINT, _FOOTPRINT_NAME = "footprint_byte_s", "footprint_mean_bytes"


@dataclass(frozen=True)
class _Boot:
    """A usable boot. values, warmups: exported name -> values above zero, in pyperf's units."""

    line: Json
    values: Mapping[str, Sequence[float]]
    warmups: Mapping[str, Sequence[float]]


def export_pyperf(run_dir: Path) -> list[Path]:
    """Writes pyperf/*.json of a run folder and answers the paths, sorted. An arm without any value gets no file.

    Reads run.json and boots.jsonl; half a last line (a run that was killed) is left out. Raises OSError when a file
    cannot be read or written.
    """
    run = json.loads((run_dir / "run.json").read_text(encoding="utf-8"))
    boots = _usable(_lines(run_dir / "boots.jsonl"))
    (run_dir / FOLDER).mkdir(exist_ok=True)
    arms = [str(name) for name in run.get("arms") or sorted({key[2] for key in boots})]
    paths = []
    for host, arm in sorted({(key[0], key[2]) for key in boots}):
        own = {key: boot for key, boot in boots.items() if (key[0], key[2]) == (host, arm)}
        paired = _one_value_a_boot(boots, own, arms)
        for suffix, suite in ((".json", _suite(own)), (".boot.json", _suite(paired))):
            if suite is not None:
                paths.append(_write(suite, run_dir / FOLDER / f"{_file_name(host)}.{_file_name(arm)}{suffix}"))
    return sorted(paths)


def _lines(path: Path) -> Iterable[Json]:
    for line in path.read_bytes().splitlines() if path.exists() else []:
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            yield value


def _usable(lines: Iterable[Json]) -> dict[Key, _Boot]:
    """The boots with status ok; the last attempt of a block counts."""
    return {
        (str(line["host"]), str(line["cell"]), str(line["arm"]), int(line["block"])): _Boot(
            line, _converted(line, "values"), _converted(line, "warmups")
        )
        for line in lines
        if line.get("status") == "ok"
    }


def _converted(line: Json, field: str) -> dict[str, list[float]]:
    """Every metric that pyperf can hold, under its exported name, with the values that it takes; perhaps none."""
    result = {}
    for metric in METRICS.values():
        name, factor = _exported(metric, line)
        if name:
            values = (line.get(field) or {}).get(metric.name) or []
            result[name] = [value * factor for value in values if _is_good(value, factor)]
    return result


def _exported(metric: Metric, line: Json) -> tuple[str, float]:
    """The name under which a metric is exported ("" if it is not) and what its values are multiplied with."""
    window = line.get("window_s")
    if metric.name == _FOOTPRINT:
        return (_FOOTPRINT_NAME, 1 / window) if window else ("", 0.0)
    return (metric.name, 1.0) if metric.direction == "lower" and metric.unit in _UNITS else ("", 0.0)


def _is_good(value: Any, factor: float) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value) and value * factor > 0


def _one_value_a_boot(boots: Mapping[Key, _Boot], own: Mapping[Key, _Boot], arms: Sequence[str]) -> dict[Key, _Boot]:
    """The boots of complete blocks with the median as their one value.

    A metric that an arm of the cell never has is exported for the others all the same; one that is missing in some
    blocks only is left out of these blocks in every arm, so that counts stay equal.
    """
    result = {}
    for key, boot in own.items():
        host, cell, _, block = key
        siblings = [boots.get((host, cell, arm, block)) for arm in arms]
        if all(siblings):
            has = {arm: _names_of(boots, host, cell, arm) for arm in arms}
            values = {
                name: [median(values)]
                for name, values in boot.values.items()
                if values
                and all(s and s.values.get(name) for a, s in zip(arms, siblings, strict=True) if name in has[a])
            }
            result[key] = _Boot(boot.line, values, {})
    return result


def _names_of(boots: Mapping[Key, _Boot], host: str, cell: str, arm: str) -> set[str]:
    """Names of which this arm of a cell has a value in any boot."""
    lists = (boot.values for key, boot in boots.items() if key[:3] == (host, cell, arm))
    return {name for values in lists for name, items in values.items() if items}


def _suite(boots: Mapping[Key, _Boot]) -> pyperf.BenchmarkSuite | None:
    """One benchmark a cell and metric, named "cell.metric"; None if there is not one."""
    runs: dict[str, list[pyperf.Run]] = {}
    for (_, cell, _, _), boot in sorted(boots.items(), key=lambda item: item[0]):
        for name, values in boot.values.items():
            if values:
                runs.setdefault(f"{cell}.{name}", []).append(_run(boot, f"{cell}.{name}", name))
    return pyperf.BenchmarkSuite([pyperf.Benchmark(items) for items in runs.values()]) if runs else None


def _run(boot: _Boot, benchmark: str, name: str) -> pyperf.Run:
    return pyperf.Run(
        boot.values[name],
        warmups=[(1, value) for value in boot.warmups.get(name, [])],
        metadata=_metadata(boot.line, benchmark, name),
        collect_metadata=False,
    )


def _metadata(line: Json, benchmark: str, name: str) -> dict[str, Any]:
    """What pyperf shows beside the values. `hostname` and `unit` must be the same in all runs of a benchmark.

    duration: of the boot. Without it pyperf adds up the values, which makes no sense for bytes.
    """
    metric = METRICS.get(name)
    unit = _UNITS[metric.unit] if metric else "byte"
    guest, facts = line.get("guest") or {}, line.get("host_facts") or {}
    ends = [phase["end_s"] for phase in line.get("phases") or [] if phase.get("end_s") is not None]
    optional = {
        "date": _date(line.get("started")),
        "job": line.get("job"),
        "guest_kernel": guest.get("kernel"),
        "host_kernel": facts.get("kernel"),
        "qemu_version": facts.get("qemu_version") or facts.get("qemu"),
        "description": metric.definition if metric else "mean residency over the plan's window after the free",
    }
    texts = {key: _one_line(value) for key, value in optional.items() if value}
    return {
        "name": benchmark,
        "unit": unit,
        "hostname": _one_line(line["host"]),
        "arm": _one_line(line["arm"]),
        "accel": _one_line(line.get("accel") or "unknown"),
        "boot": _one_line(line.get("boot") or "unknown"),
        "block": int(line["block"]),
        "order": int(line.get("order") or 0),
        "attempt": int(line.get("attempt") or 1),
        "guest_memory_bytes": int(line.get("guest_memory_bytes") or 0),
        "duration": float(max(ends, default=0.0)),
        **{key: text for key, text in texts.items() if text},
    }


def _date(started: Any) -> str:
    """UTC without a zone, as pyperf compares dates; "" for what is no date, on which `pyperf stats` would stop."""
    try:
        moment = datetime.fromisoformat(str(started))
    except ValueError:
        return ""
    return (moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment).isoformat(" ")


def _file_name(name: str) -> str:
    """A host's or an arm's name as part of a file name: two of them and a suffix have 255 bytes."""
    plain = re.sub(r"[^A-Za-z0-9_.-]", "_", name)
    digest = f"{zlib.crc32(name.encode('utf-8', 'backslashreplace')):08x}"
    return plain if len(plain) <= LONGEST_NAME else f"{plain[:LONGEST_NAME]}-{digest}"


def _one_line(value: Any) -> str:
    """Text as pyperf accepts it in metadata: one line, not empty, encodable."""
    text = " ".join(str(value).encode("utf-8", "backslashreplace").decode().split())
    return text or "unknown"


def _write(suite: pyperf.BenchmarkSuite, path: Path) -> Path:
    """The whole file or none."""
    part = path.with_name(f".{path.name}.part")
    suite.dump(str(part), replace=True)
    return part.replace(path)
