"""What the guest says of zones and CPU time, from synthetic files."""

from __future__ import annotations

from pathlib import Path

import pytest

from workloads import guestos, usage

ZONEINFO = """Node 0, zone      DMA
  per-node stats
      nr_inactive_anon 1
  pages free     3840
        boost    0
        min      177
        low      221
        high     265
        spanned  4095
        present  3998
        managed  3840
  pagesets
    cpu: 0
              count:    11
              high:     13
    cpu: 1
              count:    2
Node 0, zone   Normal
  pages free     0
        min      0
        low      0
        managed  0
"""


def tree(root: Path, **files: str) -> str:
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(root)


def test_zones_with_memory_have_their_free_pages_and_low_watermark(tmp_path: Path) -> None:
    root = tree(tmp_path, proc__zoneinfo=ZONEINFO)
    assert usage.zones(root, 4096) == [{"name": "DMA", "free_bytes": 3840 * 4096, "low_bytes": 221 * 4096}]
    assert usage.zones(str(tmp_path / "none")) == []


def test_pages_in_lists_of_single_cpus_are_counted(tmp_path: Path) -> None:
    assert usage.percpu_bytes(tree(tmp_path, proc__zoneinfo=ZONEINFO), 4096) == 13 * 4096
    assert usage.percpu_bytes(str(tmp_path / "none")) is None


def test_busy_time_leaves_out_idle_and_waiting(tmp_path: Path) -> None:
    root = tree(tmp_path, proc__stat="cpu  100 2 30 9999 8888 4 5 7 0 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n")
    assert usage.cpu_busy_ns(root) == 141 * 10_000_000
    assert usage.cpu_busy_ns(str(tmp_path / "none")) is None


def test_the_time_of_threads_is_summed_by_the_start_of_their_name(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        proc__7__comm="kworker/0:1\n",
        proc__7__schedstat="500 1 2\n",
        proc__8__comm="kworker/1:0\n",
        proc__8__schedstat="70 1 2\n",
        proc__9__comm="kswapd0\n",
        proc__9__schedstat="9000 1 2\n",
    )
    assert usage.threads_ns("kworker", root) == 570
    assert usage.threads_ns("kdamond", root) == 0


def test_a_parameter_that_the_kernel_lacks_or_changes_is_not_claimed(tmp_path: Path) -> None:
    root = tree(tmp_path, sys__module__page_reporting__parameters__page_reporting_order="9")
    guestos.set_reporting_parameter("page_reporting_order", 5, root)
    assert guestos.page_reporting_order(root) == 5
    with pytest.raises(guestos.Unsupported, match="no parameter page_reporting_delay: page_reporting_order"):
        guestos.set_reporting_parameter("page_reporting_delay", 500, root)
    with pytest.raises(guestos.Unsupported, match="no parameter page_reporting_order: none"):
        guestos.set_reporting_parameter("page_reporting_order", 5, str(tmp_path / "none"))
