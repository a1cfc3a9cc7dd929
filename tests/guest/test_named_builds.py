"""The kernels and the QEMU that `bench prepare --backports --standard-kernel` brings, in one real boot each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from guestlab import Lab, cycle_phases, phases_of

from bench.controller.arms import ARMS
from bench.errors import MissingError
from bench.host import named
from bench.wire.cache import cache_folder
from bench.wire.job import Arm, Policy
from bench.wire.units import MIB
from workloads.catalog import WORKLOADS

pytestmark = pytest.mark.guest

# Below this the guest's kernel has no transparent huge pages.
ROOMY = 640 * MIB
WINDOW_S = 11.0
SHORT: dict[str, Any] = {"drain_min_s": 0.5, "settle_min_s": 4.5, "window_s": 4.5}


def named_lab(lab: Lab, **names: str) -> Lab:
    """The lab with what is called so; skips, and says why, where this machine could not get it."""
    given = {"qemu": lab.paths.qemu, "kernel": lab.paths.kernel, "modules": lab.paths.modules}
    # A named kernel has modules of its own.
    asked = {**given, **names, **({"modules": ""} if "kernel" in names else {})}
    try:
        found = named.resolved(asked, cache_folder())
    except MissingError as error:
        pytest.skip(f"{error.message}: its source was not reached when this environment was prepared; {error.command}")
    return replace(lab, paths=replace(lab.paths, **{key: found[key] for key in given}))


def test_a_guest_under_the_newer_qemu_reports_and_every_discard_is_seen(lab: Lab) -> None:
    newer = named_lab(lab, qemu="named:backports")
    line = newer.boot(newer.job(ARMS["reporting"], cycle_phases(**SHORT))).line(4.5)
    assert line["status"] == "ok", (line["reason"], line["evidence"])
    assert line["values"]["returned_share"][0] > 0.5
    assert line["values"]["discarded_bytes"][0] > 32 * MIB
    # The binary that runs, not the script that was started.
    assert line["argv"][0] == newer.paths.qemu
    assert line["files"]["qemu"].startswith(str(cache_folder() / "named/backports/qemu/usr/bin/qemu-system-"))


def test_poisoned_pages_are_a_control_that_is_understood(lab: Lab) -> None:
    standard = named_lab(lab, kernel="named:standard")
    arm = Arm("poisoned", balloon=True, reporting=True, kernel_args=("page_poison=1",), expect="nothing")
    line = standard.boot(standard.job(arm, cycle_phases(**SHORT))).line(4.5)
    assert line["status"] == "ok", (line["reason"], line["evidence"])
    assert "poisons freed pages" in line["condition"][0]
    assert line["values"]["discarded_bytes"] == [0.0]


def test_damon_pages_out_the_cold_part_of_the_page_cache_and_the_host_gets_it(lab: Lab) -> None:
    newer = named_lab(lab, kernel="named:backports")
    arm = replace(ARMS["reporting-damon"], policy=Policy("damon", {"period_s": 1.0, "min_age_s": 1.0}))
    cache = WORKLOADS["cache"]
    job = newer.job(arm, phases_of("cache", arm, ROOMY, window_s=WINDOW_S), workload="cache")
    guest = replace(job.guest, memory_bytes=ROOMY)
    line = newer.boot(replace(job, guest=guest, disk_bytes=cache.disk(cache.defaults(), ROOMY))).line(WINDOW_S)
    assert line["status"] == "ok", (line["reason"], line["evidence"])
    done = next(phase["result"] for phase in line["phases"] if phase["name"] == "policy-end")
    assert done["bytes"] > 32 * MIB
    assert done["cpu_ns"] > 10**7, "kdamond looks at pages two hundred times a second"
    assert line["values"]["cache_returned_bytes"][0] > 16 * MIB
