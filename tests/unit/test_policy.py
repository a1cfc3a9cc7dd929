"""Loops of the guest's agent on a synthetic tree: what they write, what they record, what they find missing."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from workloads import damon, policy
from workloads.guestos import Unsupported

LRU = """\
memcg     1 /
 node     0
          0      20000          0       6543
          1      10000          5          0
          2       5000          5          0
memcg    27 /work
 node     0
          4        100          0          9
          5         50          0          1
 node     1
          7         50          0          1
"""


def tree(root: Path, *files: str) -> str:
    for name, text in {"proc/meminfo": "MemFree:  100 kB\n", **dict.fromkeys(files, "")}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return str(root)


def wait_for_actions(loop: policy.Loop, count: int) -> None:
    end = time.monotonic() + 20
    while len(loop._actions) < count and time.monotonic() < end:
        time.sleep(0.005)


@pytest.mark.parametrize(("kind", "file"), [("compact", "compact_memory"), ("drop-caches", "drop_caches")])
def test_a_loop_acts_until_it_is_stopped_and_says_what_it_did(kind: str, file: str, tmp_path: Path) -> None:
    loop = policy.start(kind, {"period_s": 0.01}, tree(tmp_path, f"proc/sys/vm/{file}"))
    wait_for_actions(loop, 3)
    done = loop.stop()
    assert (tmp_path / f"proc/sys/vm/{file}").read_text() == "1"
    assert done["count"] == len(done["actions"]) >= 3
    assert done["bytes"] == 0
    assert done["cpu_ns"] > 0
    assert all(set(action) == {"t_ns", "ns", "bytes"} for action in done["actions"])


def test_what_was_freed_is_what_went_from_memory_in_use_whatever_is_being_reported(tmp_path: Path) -> None:
    root = tree(tmp_path)
    (tmp_path / "proc/meminfo").write_text("MemFree: 9 kB\nBuffers: 300 kB\nCached: 50 kB\nAnonPages: 10 kB\n")

    def act() -> None:
        (tmp_path / "proc/meminfo").write_text("MemFree: 1 kB\nBuffers: 100 kB\nCached: 50 kB\nAnonPages: 10 kB\n")

    loop = policy.Loop("drop-caches", act, 0.01, root)
    wait_for_actions(loop, 2)
    assert [action["bytes"] for action in loop.stop()["actions"]][:2] == [200 << 10, 0]


def test_an_action_that_the_kernel_refuses_is_recorded_and_the_loop_goes_on(tmp_path: Path) -> None:
    def refuse() -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    loop = policy.Loop("reclaim", refuse, 0.01, tree(tmp_path))
    wait_for_actions(loop, 2)
    errors = [action["error"] for action in loop.stop()["actions"]]
    assert len(errors) >= 2
    assert errors[0] == "BlockingIOError: Resource temporarily unavailable"


@pytest.mark.parametrize(
    ("params", "memory", "asked"),
    [
        ({"target_bytes": 4096, "swappiness": 0}, "Inactive(file): 100 kB", "4096 swappiness=0"),
        ({"target_bytes": 1 << 20}, "Inactive(file): 100 kB", str(100 << 10)),
        ({"target_bytes": 1 << 20}, "Inactive(file): 100 kB\nInactive(anon): 50 kB\nSwapFree: 0 kB", str(100 << 10)),
        ({"target_bytes": 1 << 20}, "Inactive(file): 100 kB\nInactive(anon): 50 kB\nSwapFree: 9 kB", str(150 << 10)),
        ({}, "Inactive(file): 100 kB\nMemTotal: 640 kB", str(40 << 10)),
        ({"target_bytes": 4096}, "Inactive(file): 0 kB", ""),
    ],
)
def test_reclaim_asks_for_its_target_and_never_for_more_than_is_inactive(
    params: dict[str, int], memory: str, asked: str, tmp_path: Path
) -> None:
    root = tree(tmp_path, "tmp/cgroup/memory.reclaim")
    (tmp_path / "proc/meminfo").write_text(f"{memory}\n")
    loop = policy.start("reclaim", {"period_s": 0.01, **params}, root)
    wait_for_actions(loop, 1)
    assert loop.stop()["bytes"] == 0
    assert (tmp_path / "tmp/cgroup/memory.reclaim").read_text() == asked


@pytest.mark.parametrize(
    ("kind", "lacks"), [("compact", "compaction"), ("drop-caches", "drop_caches"), ("mglru", "LRU"), ("damon", "DAMON")]
)
def test_a_kernel_without_it_says_what_it_lacks(kind: str, lacks: str, tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match=lacks):
        policy.start(kind, {}, tree(tmp_path))


DAMON = "sys/kernel/mm/damon/admin/kdamonds"
SCHEME = f"{DAMON}/0/contexts/0/schemes/0"
IOMEM = """\
00000000-00000fff : Reserved
00001000-0009fbff : System RAM
00100000-27fdcfff : System RAM
  21e00000-22dfffff : Kernel code
28000000-afffffff : PCI Bus 0000:00
"""


def damon_tree(root: Path) -> str:
    """The files that DAMON shows once it was told of one kdamond, context, target and scheme, and two regions."""
    context, pattern = f"{DAMON}/0/contexts/0", f"{SCHEME}/access_pattern"
    names = [f"{DAMON}/nr_kdamonds", f"{DAMON}/0/state", f"{DAMON}/0/contexts/nr_contexts", f"{context}/operations"]
    names += [f"{context}/monitoring_attrs/intervals/{name}" for name in ("sample_us", "aggr_us")]
    names += [f"{context}/targets/nr_targets", f"{context}/targets/0/regions/nr_regions"]
    names += [f"{context}/targets/0/regions/{number}/{edge}" for number in (0, 1) for edge in ("start", "end")]
    names += [f"{context}/schemes/nr_schemes", f"{SCHEME}/action"]
    names += [f"{pattern}/{what}/{edge}" for what in ("sz", "nr_accesses", "age") for edge in ("min", "max")]
    names += [f"{SCHEME}/quotas/{name}" for name in ("ms", "bytes", "reset_interval_ms", "weights/age_permil")]
    found = tree(root, *names, f"{context}/avail_operations", f"{SCHEME}/stats/sz_applied")
    (root / "proc/iomem").write_text(IOMEM)
    (root / context / "avail_operations").write_text("vaddr\nfvaddr\npaddr\n")
    (root / SCHEME / "stats/sz_applied").write_text("0\n")
    return found


def test_damon_pages_out_all_memory_that_is_old_within_its_quota_until_it_is_stopped(tmp_path: Path) -> None:
    root = damon_tree(tmp_path)
    loop = policy.start("damon", {"min_age_s": 1.5, "quota_bytes": 4096, "period_s": 0.01}, root)

    def read(path: str) -> str:
        return (tmp_path / path).read_text()

    regions = f"{DAMON}/0/contexts/0/targets/0/regions"
    assert [read(f"{regions}/{number}/{edge}") for number in (0, 1) for edge in ("start", "end")] == [
        str(address) for address in (0x1000, 0x9F000, 0x100000, 0x27FDD000)
    ]
    assert (read(f"{regions}/nr_regions"), read(f"{SCHEME}/action")) == ("2", "pageout")
    assert (read(f"{SCHEME}/access_pattern/age/min"), read(f"{SCHEME}/access_pattern/nr_accesses/max")) == ("15", "0")
    assert (read(f"{SCHEME}/quotas/bytes"), read(f"{SCHEME}/quotas/ms")) == ("4096", "0")
    (tmp_path / SCHEME / "stats/sz_applied").write_text("8192\n")
    wait_for_actions(loop, 2)
    assert read(f"{DAMON}/0/state") == "update_schemes_stats"
    assert loop.stop()["bytes"] == 8192
    assert (read(f"{DAMON}/0/state"), read(f"{DAMON}/nr_kdamonds")) == ("off", "0")


def test_damon_that_knows_processes_only_is_not_enough(tmp_path: Path) -> None:
    root = damon_tree(tmp_path)
    (tmp_path / DAMON / "0/contexts/0/avail_operations").write_text("vaddr\n")
    with pytest.raises(Unsupported, match="CONFIG_DAMON_PADDR"):
        policy.start("damon", {}, root)


def test_a_guest_that_shows_none_of_its_memory_is_not_guessed_at() -> None:
    with pytest.raises(ValueError, match="no System RAM"):
        damon.system_ram("00100000-27fdcfff : Reserved\n")


def test_the_time_of_a_kernel_thread_counts_also_when_it_is_gone_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread = tmp_path / "proc/77"
    root = tree(tmp_path, "proc/77/comm", "proc/77/schedstat")
    (thread / "comm").write_text("kdamond.0\n")
    (thread / "schedstat").write_text("1000000000 5 9\n")
    monkeypatch.setitem(policy._ENDS, "damon", lambda _root: thread.rename(tmp_path / "gone"))
    loop = policy.Loop("damon", lambda: 0, 3600.0, root)
    (thread / "schedstat").write_text("3000000000 5 9\n")
    assert loop.stop()["cpu_ns"] == 2 * 10**9


def test_the_generations_of_every_lru_are_found() -> None:
    assert policy.lru_generations(LRU) == [(1, 0, 0, 2), (27, 0, 4, 5), (27, 1, 7, 7)]
    assert policy.lru_generations("") == []


def test_an_unknown_kind_is_named_with_those_that_are_known(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown policy 'prayer'; known: drop-caches"):
        policy.start("prayer", {}, tree(tmp_path))
