"""How short of memory the host of a group is."""

from __future__ import annotations

from pathlib import Path

from bench.host.strain import counters, strain
from bench.wire.units import MIB


def host(root: Path, out_pages: int, stalled_us: int | None) -> Path:
    (root / "proc/pressure").mkdir(parents=True, exist_ok=True)
    (root / "proc/vmstat").write_text(f"nr_free_pages 5\npswpin 3\npswpout {out_pages}\n")
    if stalled_us is not None:
        (root / "proc/pressure/memory").write_text(f"some avg10=0.00 avg60=0.00 avg300=0.00 total={stalled_us}\n")
    return root


def test_the_first_look_has_only_counters(tmp_path: Path) -> None:
    now = counters(1.0, "no group", host(tmp_path, 10, 500_000))
    assert now["swapped_out_bytes"] == 40960
    assert now["stalled_s"] == 0.5
    assert now["group_bytes"] is None
    assert strain(now, None, 0, 1) == {"counters": now}


def test_the_host_is_full_when_more_than_the_limit_was_swapped_out(tmp_path: Path) -> None:
    before = counters(0.0, "", host(tmp_path, 10, 0))
    for pages, full in ((10, False), (266, False), (267, True)):
        found = strain(counters(10.0, "", host(tmp_path, pages, 0)), before, MIB, 0.5)
        assert (found["out_bytes"], found["full"]) == ((pages - 10) * 4096, full)


def test_the_host_is_full_when_somebody_was_stalled_for_too_long(tmp_path: Path) -> None:
    before = counters(0.0, "", host(tmp_path, 10, 0))
    found = strain(counters(10.0, "", host(tmp_path, 10, 2_000_000)), before, MIB, 0.1)
    assert (found["stalled_share"], found["full"]) == (0.2, True)


def test_a_host_without_psi_has_no_stalls_rather_than_none_seen(tmp_path: Path) -> None:
    before = counters(0.0, "", host(tmp_path, 10, None))
    found = strain(counters(10.0, "", host(tmp_path, 10, None)), before, MIB, 0.1)
    assert (found["stalled_share"], found["full"]) == (None, False)
