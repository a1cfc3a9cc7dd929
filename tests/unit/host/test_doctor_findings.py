"""What the doctor says about synthetic machines."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path

import pytest

from bench.host import doctor, findings_guest
from bench.host.canary import Canary
from bench.host.doctor import Probes
from bench.host.kernels import Kernel
from bench.host.knobs import KNOBS
from bench.host.kvm import KvmAnswer
from bench.wire.finding import UNKNOWN, Finding

CPU = "sys/devices/system/cpu/"
THP = "sys/kernel/mm/transparent_hugepage/"
QUIET = {
    "proc/sys/kernel/osrelease": "6.1.0-56-amd64",
    CPU + "online": "0-1",
    "proc/loadavg": "0.02 0.10 0.20 1/90 4000",
    "proc/meminfo": "MemTotal: 33554432 kB\nMemAvailable: 16777216 kB\nSwapTotal: 1048576 kB\nSwapFree: 1048576 kB\n",
    "proc/pressure/cpu": "some avg10=0.00 avg60=3.00 avg300=0.00 total=5",
    "proc/pressure/memory": "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 total=0",
    "proc/pressure/io": "some avg10=0.50 avg60=0.00 avg300=0.00 total=0",
    "proc/sys/kernel/numa_balancing": "0",
    CPU + "cpu0/cpufreq/scaling_governor": "performance",
    CPU + "cpu1/cpufreq/scaling_governor": "performance",
    CPU + "cpu0/cpuidle/state0/latency": "0",
    CPU + "cpu0/cpuidle/state0/disable": "0",
    CPU + "cpu0/cpuidle/state1/latency": "890",
    CPU + "cpu0/cpuidle/state1/disable": "1",
    CPU + "intel_pstate/no_turbo": "1",
    CPU + "smt/active": "0",
    THP + "enabled": "always [madvise] never",
    THP + "defrag": "always defer defer+madvise [madvise] never",
    THP + "shmem_enabled": "always within_size advise [never] deny force",
    "sys/kernel/mm/ksm/run": "0",
    "sys/module/zswap/parameters/enabled": "N",
    "proc/sys/vm/compaction_proactiveness": "0",
    "proc/sys/kernel/nmi_watchdog": "0",
    "proc/swaps": "Filename Type Size Used Priority\n/dev/sda2 partition 1048576 0 -2",
    CPU + "isolated": "",
    CPU + "cpu0/thermal_throttle/core_throttle_count": "0",
    "sys/class/thermal/thermal_zone0/temp": "41500",
    "sys/devices/system/node/node0/cpulist": "0-1",
}


def machine(root: Path, **changes: str) -> Path:
    for name, text in {**QUIET, **{key.replace("__", "/"): value for key, value in changes.items()}}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    return root


def good_probes(root: Path) -> Probes:
    modules = root / "modules"
    modules.mkdir()
    (modules / "modules.builtin").write_text("virtio_pci.ko\nvirtio_balloon.ko\nvirtio_console.ko\n")
    return Probes(
        qemu="/usr/bin/qemu-system-x86_64",
        qemu_version="7.2.22",
        kernel=Kernel("6.1.0-56-cloud-amd64", "/k", str(modules), "cached"),
        kvm=KvmAnswer(True, "a canary guest was ready after 1.2 s"),
        canary=Canary(64 * 2**20, 3.0),
    )


def find(findings: list[Finding], what: str) -> Finding:
    (found,) = [finding for finding in findings if finding.what == what]
    return found


def look(root: Path, what: str) -> Finding:
    return find(doctor.examine(Probes(), root), what)


def test_a_quiet_and_complete_machine_is_ok_throughout(tmp_path: Path) -> None:
    findings = doctor.examine(good_probes(tmp_path), machine(tmp_path))
    assert [finding for finding in findings if finding.severity != "ok"] == []
    assert len({finding.what for finding in findings}) == len(findings)


def test_what_cannot_be_read_is_unknown_and_never_ok(tmp_path: Path) -> None:
    findings = doctor.examine(good_probes(tmp_path), tmp_path)
    unknown = {finding.what for finding in findings if finding.value == UNKNOWN and finding.what != "host kernel"}
    assert unknown == {finding.what for finding in findings if finding.severity == "info"}
    assert unknown >= {knob.what for knob in KNOBS if knob.shown}
    assert unknown >= {"free memory", "load", "swap", "swap device", "C-states", "isolated CPUs", "memory nodes"}
    assert unknown >= {"throttling", "temperature", "pressure"}


NOISY = [
    (CPU + "cpu1/cpufreq/scaling_governor", "powersave", "cpufreq governor", "performance, powersave", "performance"),
    (CPU + "intel_pstate/no_turbo", "0", "CPU boost", "0", "1"),
    (THP + "enabled", "[always] madvise never", "THP enabled", "always", "madvise"),
    (THP + "defrag", "[always] defer defer+madvise madvise never", "THP defrag", "always", "madvise"),
    (THP + "shmem_enabled", "always [within_size] advise never", "THP shmem_enabled", "within_size", "never"),
    ("sys/kernel/mm/ksm/run", "1", "KSM run", "1", "0"),
    ("sys/module/zswap/parameters/enabled", "Y", "zswap", "Y", "N"),
    ("proc/sys/kernel/numa_balancing", "1", "NUMA balancing", "1", "0"),
]


@pytest.mark.parametrize(("file", "text", "what", "value", "set_to"), NOISY)
def test_a_noisy_setting_is_a_warning_with_the_command_that_writes_the_quiet_value(
    tmp_path: Path, file: str, text: str, what: str, value: str, set_to: str
) -> None:
    machine(tmp_path)
    (tmp_path / file).write_text(text + "\n")
    found = look(tmp_path, what)
    assert (found.severity, found.value) == ("warn", value)
    assert found.command.startswith(f"echo {set_to} | ")
    assert found.command.endswith("/" + file.replace("cpu1", "cpu[0-9]*"))
    assert found.advice


def test_the_command_that_mends_a_setting_really_does(tmp_path: Path) -> None:
    machine(tmp_path)
    (tmp_path / CPU / "cpu1/cpufreq/scaling_governor").write_text("powersave\n")
    command = look(tmp_path, "cpufreq governor").command.replace("sudo ", "").replace("tee /", f"tee {tmp_path}/")
    subprocess.run(command, shell=True, check=True, capture_output=True)  # noqa: S602 - it is a line for a shell
    assert look(tmp_path, "cpufreq governor") == Finding("ok", "cpufreq governor", "performance")


def test_boost_is_read_from_cpufreq_where_there_is_no_intel_pstate(tmp_path: Path) -> None:
    machine(tmp_path)
    (tmp_path / CPU / "intel_pstate/no_turbo").unlink()
    (tmp_path / CPU / "cpufreq").mkdir()
    (tmp_path / CPU / "cpufreq/boost").write_text("1\n")
    found = look(tmp_path, "CPU boost")
    assert (found.severity, found.command[:7]) == ("warn", "echo 0 ")


def test_active_smt_is_told_without_a_warning(tmp_path: Path) -> None:
    assert look(machine(tmp_path, **{CPU + "smt/active": "1"}), "SMT active").severity == "info"


@pytest.mark.parametrize(("load", "severity"), [("0.49", "ok"), ("0.51", "warn")])
def test_load_is_judged_by_the_number_of_cpus(tmp_path: Path, load: str, severity: str) -> None:
    found = look(machine(tmp_path, proc__loadavg=f"{load} 0 0 1/90 4"), "load")
    assert (found.severity, found.value) == (severity, f"{load} on 2 CPUs")


def test_swap_that_is_in_use_is_a_warning_and_no_swap_is_fine(tmp_path: Path) -> None:
    used = machine(tmp_path, proc__meminfo="SwapTotal: 2048 kB\nSwapFree: 1024 kB\nMemAvailable: 9999999 kB")
    found = look(used, "swap")
    assert (found.severity, found.value) == ("warn", "1 of 2 MiB in use")
    assert "swapoff -a" in found.command
    assert look(machine(tmp_path, proc__meminfo="SwapTotal: 0 kB\nSwapFree: 0 kB"), "swap").severity == "ok"


def test_a_deep_idle_state_counts_only_while_it_is_enabled(tmp_path: Path) -> None:
    assert look(machine(tmp_path), "C-states").value == "deepest enabled: state0, 0 µs to wake"
    found = look(machine(tmp_path, **{CPU + "cpu0/cpuidle/state1/disable": "0"}), "C-states")
    assert (found.severity, found.value) == ("warn", "deepest enabled: state1, 890 µs to wake")
    assert found.command.endswith("/sys/devices/system/cpu/cpu[0-9]*/cpuidle/state1/disable")


@pytest.mark.parametrize("resource", ["cpu", "memory", "io"])
def test_pressure_of_the_last_ten_seconds_is_a_warning(tmp_path: Path, resource: str) -> None:
    machine(tmp_path, **{f"proc/pressure/{resource}": "some avg10=12.34 avg60=0.00 avg300=0.00 total=9"})
    found = look(tmp_path, f"pressure ({resource}, 10 s)")
    assert (found.severity, found.value) == ("warn", "12.3 %")


@pytest.mark.parametrize(
    ("kib", "need", "severity"), [(4194304, 0, "ok"), (524288, 0, "warn"), (4194304, 5 * 2**30, "error")]
)
def test_free_memory_is_judged_by_what_the_plan_needs(tmp_path: Path, kib: int, need: int, severity: str) -> None:
    machine(tmp_path, proc__meminfo=f"MemAvailable: {kib} kB")
    found = find(doctor.examine(Probes(need_bytes=need), tmp_path), "free memory")
    assert found.severity == severity


def changed(root: Path, **changes: object) -> list[Finding]:
    return doctor.examine(dataclasses.replace(good_probes(root), **changes), machine(root))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "what", "value"),
    [
        ({"qemu": ""}, "QEMU", "none found"),
        ({"qemu_version": "4.2.1"}, "QEMU", "4.2.1 (/usr/bin/qemu-system-x86_64)"),
        ({"kernel": None}, "guest kernel", "none found"),
        ({"kernel": Kernel("5.4.0-1", "/k", "", "named")}, "guest kernel", "5.4.0-1 (named)"),
        ({"kernel": Kernel("6.1.0", "/k", "/nowhere", "named")}, "guest kernel", None),
        ({"canary": Canary(0, 30.0)}, "canary discard", "0 MiB discarded within 30.0 s of a free"),
        ({"canary": Canary(0, 0.0, "the guest panicked")}, "canary discard", "the guest panicked"),
    ],
)
def test_what_makes_results_impossible_is_an_error_and_comes_first(
    tmp_path: Path, changes: dict[str, object], what: str, value: str | None
) -> None:
    findings = changed(tmp_path, **changes)
    assert (findings[0].severity, findings[0].what) == ("error", what)
    if value is not None:
        assert findings[0].value == value


def test_a_kernel_that_lacks_the_balloon_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m/modules.builtin").write_text("virtio_pci.ko\nvirtio_console.ko\n")
    found = changed(tmp_path, kernel=Kernel("6.1.0", "/k", str(tmp_path / "m"), "named"))[0]
    assert found.value == "6.1.0 (named) lacks virtio_balloon"


def test_kvm_that_does_not_boot_is_a_warning_because_emulation_still_counts_bytes(tmp_path: Path) -> None:
    found = find(changed(tmp_path, kvm=KvmAnswer(False, "a canary guest did not become ready")), "KVM")
    assert (found.severity, found.value) == ("warn", "a canary guest did not become ready")
    assert "TCG" in found.advice


def test_what_was_not_probed_is_said_to_be_so(tmp_path: Path) -> None:
    findings = changed(tmp_path, kvm=None, canary=None)
    assert [(f.what, f.value) for f in findings if f.severity == "info"] == [
        ("KVM", "not probed"),
        ("canary discard", "not probed"),
    ]


@pytest.mark.parametrize(("version", "severity"), [((3, 8, 19), "error"), ((3, 9, 0), "ok"), ((3, 13, 1), "ok")])
def test_a_python_before_3_9_cannot_run_the_host_side(version: tuple[int, ...], severity: str) -> None:
    found = findings_guest.python(version)
    assert (found.severity, found.value) == (severity, ".".join(map(str, version)))


def test_what_a_failed_canary_said_last_is_the_findings_evidence(tmp_path: Path) -> None:
    kvm = KvmAnswer(False, "a canary guest did not become ready", ("qemu: hangs",))
    findings = changed(tmp_path, kvm=kvm, canary=Canary(0, 0.0, "no READY", ("console: Oops",)))
    assert find(findings, "KVM").evidence == ("qemu: hangs",)
    assert find(findings, "canary discard").evidence == ("console: Oops",)


def test_without_pressure_information_there_is_one_finding_that_says_how_to_get_it(tmp_path: Path) -> None:
    (machine(tmp_path) / "proc/pressure").rename(tmp_path / "off")
    found = look(tmp_path, "pressure")
    assert (found.severity, found.value) == ("info", UNKNOWN)
    assert "psi=1" in found.advice


def test_swap_on_compressed_memory_is_no_device(tmp_path: Path) -> None:
    root = machine(tmp_path, proc__swaps="Filename Type Size Used Priority\n/dev/zram0 partition 8 0 100")
    found = look(root, "swap device")
    assert (found.severity, found.value) == ("warn", "/dev/zram0 (partition)")
    assert found.command.endswith("swapoff /dev/zram0")
    assert look(machine(tmp_path, proc__swaps="Filename Type Size Used Priority"), "swap device").value == "none"


def test_a_cpu_that_was_throttled_is_a_warning_counted_once_a_core(tmp_path: Path) -> None:
    counts = {f"{CPU}cpu{cpu}/thermal_throttle/core_throttle_count": "7" for cpu in (0, 1)}
    found = look(machine(tmp_path, **counts), "throttling")
    assert (found.severity, found.value) == ("warn", "7 times since the host was booted")


def test_the_hottest_sensor_counts(tmp_path: Path) -> None:
    assert look(machine(tmp_path), "temperature").value == "42 °C at the hottest sensor"
    found = look(machine(tmp_path, **{"sys/class/hwmon/hwmon0/temp1_input": "91000"}), "temperature")
    assert (found.severity, found.value) == ("warn", "91 °C at the hottest sensor")


def test_findings_of_the_machines_state_are_sorted_in(tmp_path: Path) -> None:
    full = Finding("error", "scratch folder", "3 MiB free")
    assert changed(tmp_path, state=(full,))[0] == full
