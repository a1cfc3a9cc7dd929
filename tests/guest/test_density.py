"""Several real guests in one memory cgroup, with a swap file that is made here. As root."""

from __future__ import annotations

from pathlib import Path

from guestlab import MEMORY_BYTES, Lab, phases_of

from bench.controller.arms import ARMS
from bench.host.swapfile import swap_file
from bench.wire.job import Cgroup
from bench.wire.units import MIB


def test_guests_are_started_until_what_the_first_ones_freed_has_to_be_swapped_out(lab: Lab, tmp_path: Path) -> None:
    # About 240 MiB of a booted guest and its QEMU, and 256 MiB that it touches: two have no room for that.
    limits = Cgroup(700 * MIB, 1024 * MIB)
    phases = phases_of("density", ARMS["none"], guests=3, hold_s=0.1)
    with swap_file(tmp_path, 1024 * MIB) as told:
        assert "path" in told, told
        job = lab.job(ARMS["none"], phases, cell="density", workload="density", guests=3, cgroup=limits)
        line = lab.boot(job).line(4.5)
    assert (line["status"], line["reason"]) == ("ok", "")
    assert line["values"]["density_guests"] == [1]
    assert line["values"]["swapped_out_bytes"][0] > 32 * MIB
    first, second, third = line["guests"]
    assert first["guest"]["memory_bytes"] < MEMORY_BYTES
    assert second["phases"][-1]["name"] == "sentinel-verify"
    assert "argv" not in third
    assert line["values"]["group_peak_bytes"][0] > 700 * MIB
