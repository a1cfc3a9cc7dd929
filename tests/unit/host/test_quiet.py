"""When a host is quiet, over synthetic trees; and the wait for it, with short looks."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from bench.host.quiet import Gauge, wait_quiet
from bench.wire.job import Quiet
from bench.wire.record import Quieted

LOOK_S = 0.02
#             user nice system idle iowait irq softirq steal guest guest_nice
CPU_BEFORE = (100, 10, 50, 1000, 20, 0, 5, 0, 80, 0)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def cpu_times(root: Path, *grown: int) -> None:
    times = [before + more for before, more in zip(CPU_BEFORE, (*grown, *[0] * 10))]
    numbers = " ".join(str(value) for value in times)
    write(root / "proc/stat", f"cpu  {numbers}\ncpu0 1 2 3 4 5 6 7 8 9 0\nintr 99\n")


def load(root: Path, average: float, online: str = "0-3") -> None:
    write(root / "proc/loadavg", f"{average:.2f} 0.18 0.35 1/92 11384\n")
    write(root / "sys/devices/system/cpu/online", f"{online}\n")


def pressure(root: Path, **per_cent: float) -> None:
    for name, value in per_cent.items():
        some = f"some avg10={value:.2f} avg60=2.10 avg300=0.64 total=1559638647\n"
        write(root / "proc/pressure" / name, f"{some}full avg10=99.00 avg60=0.00 avg300=0.00 total=0\n")


def swapped(root: Path, pages_in: int, pages_out: int) -> None:
    write(root / "proc/vmstat", f"nr_free_pages 5\npswpin {pages_in}\npswpout {pages_out}\n")


def wait(root: Path, during: Any = None, look_s: float = LOOK_S, **limits: float) -> Quieted:
    """Waits for these limits; `during` runs beside it."""

    async def run() -> Quieted:
        beside = asyncio.ensure_future(during()) if during else None
        quieted = await wait_quiet(Quiet(**limits), asyncio.Event(), root, look_s)
        if beside:
            await beside
        return quieted

    return asyncio.run(asyncio.wait_for(run(), 20))


def test_without_limits_nothing_is_read_and_no_time_is_lost(tmp_path: Path) -> None:
    (tmp_path / "proc").write_text("a file where a folder should be: whoever looks into it fails")
    before = time.monotonic()
    assert wait(tmp_path, deadline_s=60) == Quieted(0.0, {}, [])
    assert time.monotonic() - before < 1


def test_the_share_that_is_busy_is_what_grew_besides_idle_and_iowait(tmp_path: Path) -> None:
    cpu_times(tmp_path)
    gauge = Gauge(["busy_share"], tmp_path)
    cpu_times(tmp_path, 20, 0, 5, 60, 15, 0, 0, 0, 20)  # guest time is in the user time already
    assert gauge.read() == {"busy_share": 0.25}
    cpu_times(tmp_path, 20, 0, 5, 60, 15, 0, 0, 100, 20)  # all of it was stolen
    assert gauge.read() == {"busy_share": 1.0}


def test_an_iowait_that_counts_backwards_makes_no_share_above_one(tmp_path: Path) -> None:
    cpu_times(tmp_path)
    gauge = Gauge(["busy_share"], tmp_path)
    cpu_times(tmp_path, 50, 0, 0, 0, -10)
    assert gauge.read() == {"busy_share": 1.0}


@pytest.mark.parametrize("text", ["", "cpu  1 2\n", "cpu  1 2 3 x 5 6 7 8\n", "intr 1 2 3 4 5 6 7 8\n"])
def test_a_stat_file_that_is_none_is_no_reading(tmp_path: Path, text: str) -> None:
    write(tmp_path / "proc/stat", text)
    assert Gauge(["busy_share"], tmp_path).read() == {}


def test_times_that_do_not_grow_are_no_reading(tmp_path: Path) -> None:
    cpu_times(tmp_path)
    assert Gauge(["busy_share"], tmp_path).read() == {}


def test_load_is_shared_among_the_cpus_that_are_online(tmp_path: Path) -> None:
    load(tmp_path, 3.0, "0-2,5-7")
    assert Gauge(["load_per_cpu"], tmp_path).read() == {"load_per_cpu": 0.5}


def test_pressure_is_the_largest_of_those_that_can_be_read_as_a_share(tmp_path: Path) -> None:
    pressure(tmp_path, cpu=3.9, memory=12.5)
    assert Gauge(["pressure_share"], tmp_path).read() == {"pressure_share": 0.125}


def test_swapping_is_pages_in_and_out_a_second(tmp_path: Path) -> None:
    swapped(tmp_path, 100, 1000)
    before = time.monotonic()
    gauge = Gauge(["swap_pages_s"], tmp_path)
    time.sleep(0.1)
    swapped(tmp_path, 110, 1090)
    reading = gauge.read()["swap_pages_s"]
    assert 100 / (time.monotonic() - before) <= reading <= 1000


SENSORS: list[tuple[dict[str, str], dict[str, float]]] = [
    ({"class/thermal/thermal_zone0/temp": "41000\n"}, {"temperature_c": 41.0}),
    (
        {"class/thermal/thermal_zone0/temp": "41000\n", "class/hwmon/hwmon1/temp3_input": "63250"},
        {"temperature_c": 63.25},
    ),
    ({"class/thermal/thermal_zone0/temp": "-273150\n", "class/thermal/thermal_zone1/temp": "0\n"}, {}),
    ({"class/hwmon/hwmon0/temp1_input": "127500\n", "class/hwmon/hwmon0/temp2_input": "nonsense"}, {}),
    ({"class/hwmon/hwmon0/temp1_crit": "99000\n", "class/hwmon/hwmon0/fan1_input": "90000\n"}, {}),
]


@pytest.mark.parametrize(("files", "found"), SENSORS)
def test_the_hottest_sensor_that_is_plausible_counts(
    tmp_path: Path, files: dict[str, str], found: dict[str, float]
) -> None:
    for name, text in files.items():
        write(tmp_path / "sys" / name, text)
    assert Gauge(["temperature_c"], tmp_path).read() == found


def test_a_quiet_host_is_not_waited_for(tmp_path: Path) -> None:
    load(tmp_path, 0.4)
    pressure(tmp_path, cpu=1.0, memory=0.0, io=0.0)
    quieted = wait(tmp_path, look_s=300, load_per_cpu=0.25, pressure_share=0.05, deadline_s=600)
    assert (quieted.readings, quieted.over) == ({"load_per_cpu": 0.1, "pressure_share": 0.01}, [])
    assert quieted.waited_s < 10


def test_a_limit_that_is_just_reached_is_met(tmp_path: Path) -> None:
    load(tmp_path, 1.0)
    assert wait(tmp_path, load_per_cpu=0.25).over == []


def test_a_host_that_is_over_at_the_deadline_is_told_with_its_numbers(tmp_path: Path) -> None:
    load(tmp_path, 3.24)
    pressure(tmp_path, cpu=0.0, memory=0.0, io=50.0)
    quieted = wait(tmp_path, load_per_cpu=0.25, pressure_share=0.1, deadline_s=0.2)
    assert quieted.over == ["load_per_cpu 0.81 over 0.25", "pressure_share 0.5 over 0.1"]
    assert quieted.readings == {"load_per_cpu": 0.81, "pressure_share": 0.5}
    assert 0.2 <= quieted.waited_s < 5


def test_without_a_deadline_there_is_one_look(tmp_path: Path) -> None:
    cpu_times(tmp_path)

    async def work() -> None:
        cpu_times(tmp_path, 100)

    assert wait(tmp_path, during=work, busy_share=0.5).over == ["busy_share 1 over 0.5"]


def test_a_host_that_gets_quiet_is_waited_for_no_longer(tmp_path: Path) -> None:
    load(tmp_path, 4.0)

    async def calm_down() -> None:
        await asyncio.sleep(0.1)
        load(tmp_path, 0.0)

    quieted = wait(tmp_path, during=calm_down, load_per_cpu=0.5, deadline_s=60)
    assert (quieted.readings, quieted.over) == ({"load_per_cpu": 0.0}, [])
    assert 0.05 <= quieted.waited_s < 10


@pytest.mark.parametrize("limits", [{"load_per_cpu": 0.5}, {"load_per_cpu": 0.5, "busy_share": 0.5}])
def test_the_wait_ends_at_once_when_nobody_listens_any_more(tmp_path: Path, limits: dict[str, float]) -> None:
    load(tmp_path, 4.0)

    async def run() -> Quieted:
        gone = asyncio.Event()
        asyncio.get_running_loop().call_later(0.05, gone.set)
        return await wait_quiet(Quiet(deadline_s=600, **limits), gone, tmp_path, 300.0)

    before = time.monotonic()
    asyncio.run(asyncio.wait_for(run(), 20))
    assert time.monotonic() - before < 5


def test_what_is_asked_and_cannot_be_read_is_absent_and_never_over(tmp_path: Path) -> None:
    every = {"busy_share": 0.0, "load_per_cpu": 0.0, "pressure_share": 0.0, "swap_pages_s": 0.0, "temperature_c": 0.0}
    quieted = wait(tmp_path, **every, deadline_s=60)
    assert (quieted.readings, quieted.over) == ({}, [])


def test_only_what_has_a_limit_is_read(tmp_path: Path) -> None:
    load(tmp_path, 4.0)
    pressure(tmp_path, cpu=90.0)
    assert wait(tmp_path, pressure_share=0.95).readings == {"pressure_share": 0.9}


def test_on_this_machine_it_reads_something() -> None:
    readings = wait(Path("/"), busy_share=1.0, load_per_cpu=1e9, pressure_share=1.0).readings
    assert 0 <= readings.get("busy_share", 0.0) <= 1
    assert readings["load_per_cpu"] >= 0
