"""Whole boots over a fake QEMU: the real host side as a child process over pipes, real sockets, a real memfd."""

from __future__ import annotations

import dataclasses
import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from host_side import HostSide, fake_job, fake_paths, gone_within, host_side, run_to_end
from jobs import IDLE, LOCKED, NONE, REPORTING, cycle, guest_op, settle

from bench.host.cpulist import parse_cpus, show_cpus
from bench.wire.job import Arm, Job, Phase, Placement, Quiet
from bench.wire.record import End, Files, Hello, LogPart, PhaseDone, Placed, Quieted, Ready, Samples, Started
from bench.wire.units import MIB

TOUCHED = 16 * MIB
BOOTED = 8 * MIB
NAMES = ["map", "touch", "hold", "verify", "free", "settle"]
Run = tuple[HostSide, End, dict[str, PhaseDone]]
CPUS = tuple(sorted(os.sched_getaffinity(0)))
# No host is below these.
NEVER = {"load_per_cpu": -1.0}


def misbehaving(mode: str, arm: Arm = NONE) -> Arm:
    return dataclasses.replace(arm, kernel_args=(f"fake={mode}",))


def left_behind(folder: Path) -> list[str]:
    """What the boots left in their temporary folder."""
    return sorted(path.name for path in (folder / "t").iterdir())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("r")


@pytest.fixture(scope="module")
def reported(folder: Path) -> Run:
    """One whole boot of the arm `reporting`, which several tests look at."""
    host, end = run_to_end(folder, fake_job(folder, cycle(TOUCHED), REPORTING))
    return host, end, {phase.name: phase for phase in host.all_of(PhaseDone)}


def test_a_boot_whose_host_has_not_what_its_arm_names_is_skipped_with_the_command(folder: Path) -> None:
    job = fake_job(folder, cycle(TOUCHED), REPORTING)
    job = dataclasses.replace(job, paths=dataclasses.replace(job.paths, kernel="named:backports", modules=""))
    host, end = run_to_end(folder, job)
    assert (end.status, end.reason) == (
        "skipped",
        "kernel named:backports is not on this host; run: bench prepare local --backports",
    )
    assert host.all_of(Started) == []


def test_a_boot_tells_its_story_in_order_and_ends(reported: Run) -> None:
    host, end, phases = reported
    assert (end.status, end.reason, end.evidence) == ("ok", "", [])
    kinds = [type(item) for item in host.records if not isinstance(item, Samples)]
    assert kinds == [Hello, Quieted, Started, Placed, Files, Ready, *[PhaseDone] * len(NAMES), *[LogPart] * 3, End]
    assert list(phases) == NAMES
    assert host.process.returncode == 0
    assert host.log() == ""


def test_nothing_is_left_of_a_boot(reported: Run, folder: Path) -> None:
    assert gone_within(reported[0].all_of(Started)[0].qemu_pid, 0)
    assert left_behind(folder) == []


def test_what_started_is_what_the_job_says(reported: Run, folder: Path) -> None:
    host, _, _ = reported
    (started,), (ready,) = host.all_of(Started), host.all_of(Ready)
    assert started.argv[0] == fake_paths(folder).qemu
    assert "virtio-balloon-pci,id=balloon,free-page-reporting=on" in started.argv
    assert ready.facts["kernel"] == "fake"
    assert 0 < ready.ready_s < 10


def test_phases_follow_each_other_and_carry_their_answers(reported: Run) -> None:
    phases = reported[2]
    times = [t for phase in phases.values() for t in (phase.start_s, phase.end_s)]
    assert times == sorted(times)
    assert phases["touch"].result["bytes"] == TOUCHED
    assert phases["verify"].result["bad_pages"] == 0
    assert phases["settle"].result == {"settled": True}
    # Other tests may have the CPU when it is over.
    assert 0.2 <= phases["hold"].end_s - phases["hold"].start_s < 2
    assert phases["hold"].guest_start_ns is None
    assert phases["touch"].smaps["Rss"] > TOUCHED


def test_the_discards_add_up_to_what_came_back_and_happen_when_it_did(reported: Run) -> None:
    host, _, phases = reported
    discards = host.rows("discard", "bytes")
    assert sum(value for _, value in discards) == TOUCHED
    assert all(phases["free"].start_s < t < phases["settle"].end_s for t, _ in discards)
    assert host.rows("discard", "failed_bytes") == []


def test_the_sampler_and_the_clocks_say_how_good_they_were(reported: Run) -> None:
    host, end, phases = reported
    assert end.sampler["error"] == ""
    assert end.sampler["hz"] == 20.0
    assert end.sampler["ticks"] == len(host.rows("ram", "resident_bytes"))
    assert 0 <= end.clock["error_s"] < 1
    start, stop = phases["touch"].guest_start_ns, phases["touch"].guest_end_ns
    assert start is not None
    assert stop is not None
    assert start < stop
    assert start / 1e9 + end.clock["offset_s"] == pytest.approx(phases["touch"].start_s, abs=1)


def test_what_qemu_says_at_the_end_is_kept_and_what_it_lacks_is_absent(reported: Run) -> None:
    _, end, _ = reported
    assert end.qmp["status"]["status"] == "running"
    assert "kvm" not in end.qmp
    # The event of its own end may come too late to be seen.
    assert {event["data"]["reason"] for event in end.qmp["events"]} <= {"host-qmp-quit"}


def test_processor_time_is_told_apart_by_thread(reported: Run) -> None:
    host, _, _ = reported
    assert host.rows("qemu", "cpu_vcpu_s")[-1][1] > 0
    assert host.rows("qemu", "cpu_main_s")[-1][1] > 0


def residency(rows: list[tuple[float, float]], t: float) -> float:
    return [value for when, value in rows if when <= t][-1]


@pytest.mark.parametrize(("arm", "returned"), [(NONE, 0), (IDLE, 0), (REPORTING, TOUCHED)])
def test_residency_falls_where_the_guest_reports_and_nowhere_else(tmp_path: Path, arm: Arm, returned: int) -> None:
    host, end = run_to_end(tmp_path, fake_job(tmp_path, cycle(TOUCHED), arm))
    assert end.status == "ok"
    phases = {phase.name: phase for phase in host.all_of(PhaseDone)}
    ram = host.rows("ram", "resident_bytes")
    assert residency(ram, phases["map"].end_s) == BOOTED
    assert residency(ram, phases["free"].start_s) == BOOTED + TOUCHED
    assert residency(ram, phases["settle"].end_s) == BOOTED + TOUCHED - returned


def test_discards_that_fail_are_counted_apart_and_logged(tmp_path: Path) -> None:
    host, _ = run_to_end(tmp_path, fake_job(tmp_path, cycle(4 * MIB), LOCKED))
    assert host.rows("discard", "bytes") == []
    assert sum(value for _, value in host.rows("discard", "failed_bytes")) == 4 * MIB
    assert any("Failed to discard range" in part.text for part in host.all_of(LogPart) if part.name == "qemu")


def test_a_guest_that_keeps_moving_ends_its_settle_phase_at_the_latest_time(tmp_path: Path) -> None:
    phases = [*cycle(TOUCHED)[:-1], settle(min_s=0.1, max_s=0.4, window_s=10)]
    host, end = run_to_end(tmp_path, fake_job(tmp_path, phases, REPORTING))
    assert end.status == "ok"
    assert host.all_of(PhaseDone)[-1].result == {"settled": False}


@pytest.mark.parametrize("attempt", range(3))
def test_a_qemu_that_ends_faster_than_it_answers_ends_a_good_boot(tmp_path: Path, attempt: int) -> None:
    host, end = run_to_end(tmp_path, fake_job(tmp_path, cycle(MIB)[:3], misbehaving("abrupt")))
    assert (end.status, end.reason) == ("ok", "")
    assert end.sampler["error"] == ""
    assert host.rows("ram", "resident_bytes")[-1][1] == BOOTED + MIB


def test_a_line_of_megabytes_on_stderr_stops_nothing(tmp_path: Path) -> None:
    host, end = run_to_end(tmp_path, fake_job(tmp_path, cycle(MIB), misbehaving("long-line", REPORTING)))
    assert (end.status, end.reason) == ("ok", "")
    assert sum(value for _, value in host.rows("discard", "bytes")) == MIB


FAILURES = [
    ("exits", "QEMU ended with status 1 before its sockets answered", "qemu: .*Could not access KVM"),
    ("never-ready", "the guest did not say READY within 2 s", "console: fake console: booting"),
    ("dies", "QEMU ended with status 1 while its guest was in use", "qemu: .*the far side of the moon"),
    ("panics", "QEMU ended with status 0 after a guest-reset while", "console: .*Kernel panic - not syncing"),
    ("closes-port", "the guest's port was closed", "console: fake console"),
    ("closes-qmp", "QEMU's monitor .QMP. was closed while its guest was in use", "console: fake console"),
    ("refuses", "op touch: Cannot allocate memory", "console: fake console"),
    ("nonsense", "not a line of the agent: b'Segmentation fault", "console: fake console"),
    ("half", "'ok' is missing in what the agent said", "console: fake console"),
    ("trace-format", "a trace line in an unknown format: .*len=0x1000", "qemu: .*len=0x1000"),
    ("silent", "not done within the job's deadline of 3 s", "console: fake console"),
]


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, HostSide, End]]:
    """One boot of every mode of failure, some at a time: most of their time is waiting."""
    folders = {mode: tmp_path_factory.mktemp("f") for mode, _, _ in FAILURES}

    def boot(mode: str) -> tuple[Path, HostSide, End]:
        folder = folders[mode]
        request = fake_job(folder, cycle(TOUCHED), misbehaving(mode), ready_deadline_s=1.5, deadline_s=3.0)
        return (folder, *run_to_end(folder, request))

    with ThreadPoolExecutor(4) as pool:
        return dict(zip(folders, pool.map(boot, folders)))


@pytest.mark.parametrize(("mode", "reason", "evidence"), FAILURES, ids=[failure[0] for failure in FAILURES])
def test_a_boot_that_fails_says_why_and_leaves_nothing(
    failed: dict[str, tuple[Path, HostSide, End]], mode: str, reason: str, evidence: str
) -> None:
    folder, host, end = failed[mode]
    assert end.status == "failed"
    assert re.search(reason, end.reason), end.reason
    assert re.search(evidence, "\n".join(end.evidence)), end.evidence
    assert gone_within(host.all_of(Started)[0].qemu_pid, 1)
    assert left_behind(folder) == []
    assert host.process.returncode == 0
    assert "Traceback" not in host.log()


def test_what_was_seen_before_the_failure_is_kept(tmp_path: Path) -> None:
    # A fake guest maps faster than the sampler's thread begins.
    phases = [Phase("seen", "hold", 0, args={"s": 0.5}), *cycle(TOUCHED)]
    host, _ = run_to_end(tmp_path, fake_job(tmp_path, phases, misbehaving("dies")))
    assert [phase.name for phase in host.all_of(PhaseDone)] == ["seen", "map"]
    assert host.rows("ram", "resident_bytes")
    assert [part.name for part in host.all_of(LogPart)] == ["qemu", "console"]
    assert "Kernel" not in host.all_of(LogPart)[1].text


def test_a_qemu_deaf_to_sigterm_is_killed(tmp_path: Path) -> None:
    request = fake_job(tmp_path, cycle(TOUCHED), misbehaving("stubborn"), deadline_s=1.5)
    with host_side(tmp_path) as host:
        host.ask(request)
        assert "deadline" in host.until(End).reason
        assert gone_within(host.all_of(Started)[0].qemu_pid, 0)  # by now, not only because the host side ends


def test_an_op_that_the_guest_cannot_do_is_its_own_words(tmp_path: Path) -> None:
    _, end = run_to_end(tmp_path, fake_job(tmp_path, [guest_op("map", "map", region="r", bytes=2**40)]))
    assert end.reason == "op map: not that much memory"


def test_a_trace_that_cannot_be_read_is_found_without_a_settle_phase(tmp_path: Path) -> None:
    _, end = run_to_end(tmp_path, fake_job(tmp_path, cycle(MIB)[:3], misbehaving("trace-format")))
    assert end.status == "failed"
    assert "unknown format" in end.reason


def test_a_phase_of_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    _, end = run_to_end(tmp_path, fake_job(tmp_path, [Phase("later", "postpone", 0)]))
    assert end.reason == "phase later: unknown kind 'postpone'"


def test_a_qemu_that_is_not_there_is_a_failed_boot(tmp_path: Path) -> None:
    paths = dataclasses.replace(fake_paths(tmp_path), qemu=str(tmp_path / "no-such-qemu"))
    host, end = run_to_end(tmp_path, dataclasses.replace(fake_job(tmp_path), paths=paths))
    assert end.status == "failed"
    assert "QEMU cannot be started" in end.reason
    assert host.all_of(Started) == []
    assert left_behind(tmp_path) == []


def test_an_image_that_is_not_there_is_a_failed_boot(tmp_path: Path) -> None:
    paths = dataclasses.replace(fake_paths(tmp_path), image=str(tmp_path / "no-such-image"))
    _, end = run_to_end(tmp_path, dataclasses.replace(fake_job(tmp_path), paths=paths))
    assert "the guest image cannot be built" in end.reason
    assert "no-such-image" in end.reason


def test_closing_stdin_ends_the_guest(tmp_path: Path) -> None:
    with host_side(tmp_path) as host:
        host.ask(fake_job(tmp_path, [Phase("hold", "hold", 0, args={"s": 60})]))
        host.until(Ready)
        pid = host.all_of(Started)[0].qemu_pid
        host.close_stdin()
        assert gone_within(pid, 5)
        assert host.until(End).reason == "the controller went away"
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_guest_in_order(tmp_path: Path, number: signal.Signals) -> None:
    with host_side(tmp_path) as host:
        host.ask(fake_job(tmp_path, [Phase("hold", "hold", 0, args={"s": 60})]))
        host.until(Ready)
        host.process.send_signal(number)
        assert host.until(End).status == "failed"
    assert gone_within(host.all_of(Started)[0].qemu_pid, 0.5)
    assert left_behind(tmp_path) == []


def test_a_host_side_killed_with_sigkill_takes_its_guest_along_and_the_next_run_tidies_up(tmp_path: Path) -> None:
    with host_side(tmp_path) as host:
        host.ask(fake_job(tmp_path, [Phase("hold", "hold", 0, args={"s": 60})]))
        host.until(Ready)
        host.process.kill()
        assert gone_within(host.all_of(Started)[0].qemu_pid, 5)
    (folder,) = left_behind(tmp_path)
    assert str(host.process.pid) in folder
    run_to_end(tmp_path, fake_job(tmp_path))
    assert left_behind(tmp_path) == []


def test_a_controller_that_reads_no_more_does_not_keep_the_guest(tmp_path: Path) -> None:
    with host_side(tmp_path) as host:
        host.ask(fake_job(tmp_path, [Phase("hold", "hold", 0, args={"s": 1}), *cycle(MIB)]))
        host.until(Ready)
        assert host.process.stdout is not None
        host.process.stdout.close()
        assert gone_within(host.all_of(Started)[0].qemu_pid, 8)
    assert left_behind(tmp_path) == []


def test_a_folder_with_a_comma_and_a_space_is_no_trouble(tmp_path: Path) -> None:
    odd = tmp_path / "a, b"
    odd.mkdir()
    _, end = run_to_end(odd, fake_job(odd, cycle(MIB)))
    assert (end.status, end.reason) == ("ok", "")
    assert left_behind(odd) == []


def test_the_image_is_built_once_and_kept(tmp_path: Path) -> None:
    for _ in range(2):
        run_to_end(tmp_path, fake_job(tmp_path))
    assert len(list((tmp_path / "cache").glob("initrd-*.cpio"))) == 1


def never_quiet(folder: Path, deadline_s: float) -> Job:
    return fake_job(folder, quiet=Quiet(**NEVER, deadline_s=deadline_s))


def test_pushed_files_that_a_boot_needs_count_as_used_and_others_are_left_alone(tmp_path: Path) -> None:
    request = fake_job(tmp_path)
    (tmp_path / "cache").mkdir()
    pushed, own = tmp_path / "cache/guest-1.cpio", tmp_path / "vmlinuz"
    for path in (pushed, own):
        path.write_bytes(bytes(512))
        os.utime(path, (1000, 1000))
    paths = dataclasses.replace(request.paths, image=str(pushed), kernel=str(own))
    assert run_to_end(tmp_path, dataclasses.replace(request, paths=paths))[1].status == "ok"
    assert pushed.stat().st_mtime > 1000
    assert own.stat().st_mtime == 1000


def test_a_host_that_does_not_get_quiet_is_an_invalid_boot_without_a_guest(tmp_path: Path) -> None:
    host, end = run_to_end(tmp_path, never_quiet(tmp_path, 0.5))
    (quieted,) = host.all_of(Quieted)
    load = quieted.readings["load_per_cpu"]
    assert quieted.over == [f"load_per_cpu {load:g} over -1"]
    assert quieted.waited_s >= 0.5
    assert (end.status, end.evidence) == ("invalid", [f"load_per_cpu: {load:g}"])
    assert end.reason == f"the host did not get quiet within 0.5 s: load_per_cpu {load:g} over -1"
    assert [type(item) for item in host.records] == [Hello, Quieted, End]
    assert left_behind(tmp_path) == []


def test_a_quiet_host_is_told_with_its_readings_before_qemu_starts(tmp_path: Path) -> None:
    host, end = run_to_end(tmp_path, fake_job(tmp_path, quiet=Quiet(load_per_cpu=1e9, deadline_s=60)))
    assert end.status == "ok"
    assert list(host.all_of(Quieted)[0].readings) == ["load_per_cpu"]
    assert host.all_of(Quieted)[0].over == []


def test_a_host_that_is_not_asked_whether_it_is_quiet_is_not_waited_for(reported: Run) -> None:
    assert reported[0].all_of(Quieted) == [Quieted(0.0, {}, [])]


def test_a_controller_that_leaves_while_the_host_is_not_quiet_ends_the_wait(tmp_path: Path) -> None:
    with host_side(tmp_path) as host:
        host.ask(never_quiet(tmp_path, 600))
        host.until(Hello)
        host.close_stdin()
        end = host.until(End)
    assert (end.status, end.reason) == ("failed", "the controller went away")
    assert host.all_of(Started) == []


def placed_job(folder: Path, vcpus: int = 1, mode: str = "", **placement: object) -> Job:
    """A boot that lasts until its controller leaves."""
    arm = misbehaving(mode) if mode else NONE
    plain = fake_job(folder, [Phase("hold", "hold", 0, args={"s": 0.5})], arm, placement=Placement(**placement))  # type: ignore[arg-type]
    return dataclasses.replace(plain, guest=dataclasses.replace(plain.guest, vcpus=vcpus))


def threads(pid: int) -> list[set[int]]:
    """Where each thread of a process may run, as the kernel says it."""
    found = []
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        cpus = status.read_text().partition("Cpus_allowed_list:")[2].split()[0]
        found.append(set(parse_cpus(cpus)))
    return found


def test_without_a_placement_it_is_told_where_everything_is(reported: Run) -> None:
    everywhere = show_cpus(CPUS)
    (placed,) = reported[0].all_of(Placed)
    assert placed.problem == ""
    assert placed.seen == {"vcpu0": everywhere, "qemu": everywhere, "sampler": everywhere, "memory": "default"}


def test_guest_and_sampler_are_where_the_job_says_while_the_guest_runs(tmp_path: Path) -> None:
    guest, sampler = CPUS[0], CPUS[-1]
    request = placed_job(tmp_path, guest_cpus=(guest,), sampler_cpus=(sampler,), numa_node=0, hold_latency=True)
    with host_side(tmp_path) as host:
        host.ask(request)
        host.until(Samples)  # so the sampler's thread runs
        assert {frozenset(cpus) for cpus in threads(host.process.pid)} == {frozenset({sampler})}
        assert {frozenset(cpus) for cpus in threads(host.all_of(Started)[0].qemu_pid)} == {frozenset({guest})}
        end = host.until(End)
    (placed,) = host.all_of(Placed)
    latency = placed.seen.pop("cpu_dma_latency")
    assert latency == "0 us, held" or latency.startswith("not held: ")
    seen = {"vcpu0": str(guest), "qemu": str(guest), "sampler": str(sampler), "memory": "bind:0"}
    assert (placed, end.status) == (Placed(seen, ""), "ok")
    kinds = [type(item) for item in host.records if isinstance(item, (Quieted, Started, Placed, Ready))]
    assert kinds == [Quieted, Started, Placed, Ready]


@pytest.mark.skipif(len(CPUS) < 2, reason="needs two CPUs to tell one from the other")
def test_every_vcpu_has_its_own_cpu(tmp_path: Path) -> None:
    host, end = run_to_end(tmp_path, placed_job(tmp_path, 2, guest_cpus=(CPUS[1], CPUS[0])))
    seen = host.all_of(Placed)[0].seen
    assert (seen["vcpu0"], seen["vcpu1"]) == (str(CPUS[1]), str(CPUS[0]))
    assert end.status == "ok"


@pytest.mark.skipif(len(CPUS) < 2, reason="needs two CPUs to tell one from the other")
def test_vcpus_that_cannot_be_pinned_one_by_one_are_an_invalid_boot(tmp_path: Path) -> None:
    host, end = run_to_end(tmp_path, placed_job(tmp_path, 2, "one-thread", guest_cpus=CPUS[:2]))
    problem = f"vcpu0 may run on {CPUS[1]} instead of {CPUS[0]}"
    assert (end.status, end.reason, host.all_of(Placed)[0].problem) == ("invalid", problem, problem)
    assert host.all_of(Ready) == []
    assert gone_within(host.all_of(Started)[0].qemu_pid, 1)
    assert left_behind(tmp_path) == []


@pytest.mark.skipif(len(CPUS) < 2, reason="needs two CPUs to tell one from the other")
def test_a_guest_that_is_moved_while_it_runs_is_an_invalid_boot(tmp_path: Path) -> None:
    with host_side(tmp_path) as host:
        host.ask(placed_job(tmp_path, guest_cpus=CPUS[:1]))
        host.until(Ready)
        # As the kernel does it when the CPU goes offline.
        for thread in Path(f"/proc/{host.all_of(Started)[0].qemu_pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), CPUS)
        end = host.until(End)
    assert host.all_of(Placed)[0].problem == ""
    reason = f"moved while the guest ran: vcpu0 may run on {show_cpus(CPUS)} instead of {CPUS[0]}"
    assert (end.status, end.reason.partition(";")[0]) == ("invalid", reason)


def test_memory_that_is_bound_to_no_node_is_an_invalid_boot(tmp_path: Path) -> None:
    _, end = run_to_end(tmp_path, placed_job(tmp_path, mode="unbound", numa_node=0))
    assert (end.status, end.reason) == ("invalid", "memory policy is default instead of bind:0")


def test_a_placement_that_this_host_cannot_have_is_known_before_qemu_starts(tmp_path: Path) -> None:
    host, end = run_to_end(tmp_path, placed_job(tmp_path, 2, guest_cpus=CPUS[:1]))
    assert (end.status, end.reason) == ("invalid", f"2 vCPUs need as many guest CPUs, and there is only {CPUS[0]}")
    assert [type(item) for item in host.records] == [Hello, Placed, End]
