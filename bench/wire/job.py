"""What goes down: a Job is one fresh boot of one arm, of one guest or of several, and all that the host needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Optional

from bench.wire.codec import content_hash

BACKINGS = ("memfd", "anonymous", "hugetlb", "file")
# Loops of the guest's agent that make the guest shrink by itself (workloads/policy.py), with their parameters.
POLICIES = ("drop-caches", "reclaim", "mglru", "damon", "compact")
# Loops of the host side: they resize the guest, or tell it that the host needs memory (bench.host.policy).
HOST_POLICIES = ("balloon", "virtio-mem", "notify")
# What the host can do to have memory back from the guest, by hand: bench.host.giving.
GIVES = ("balloon", "virtio-mem")
# What virtio-mem plugs and unplugs in one piece in any Linux on x86 (drivers/virtio/virtio_mem.c, sb_size).
PLUG_BLOCK_BYTES = 4 << 20
# Linux adds memory in whole memory blocks: 128 MiB on x86, up to 2 GiB in guests of 64 GiB and more (arch/x86/mm/
# init_64.c, probe_memory_block_size()). What is left of a pluggable region behind the last whole one is never plugged.
MEMORY_BLOCK_BYTES, LARGE_GUEST_BYTES, LARGE_BLOCK_BYTES = 128 << 20, 64 << 30, 2 << 30


@dataclass(frozen=True)
class Policy:
    """A control loop beside the guest's load: its kind (POLICIES, HOST_POLICIES) and parameters in base units."""

    kind: str
    params: dict[str, Any] = field(default_factory=dict)

    def __hash__(self) -> int:
        return hash((self.kind, tuple(sorted(self.params.items()))))


@dataclass(frozen=True)
class Arm:
    """One configuration under test; arms of a plan differ only where their fields differ.

    balloon: a virtio-balloon device is present. reporting: it offers free page reporting (implies balloon). hinting: it
    offers free page hinting, by which a migration leaves out what the guest says is free (implies balloon).
    mem_lock: QEMU runs with `-overcommit mem-lock=on`, so that every discard fails: the host-side negative control.
    backing: host memory of the guest's RAM. reporting_order: written to the guest's page_reporting_order after the
    driver registered (None: as the kernel chose). reporting_params: other parameters of the module page_reporting, for
    kernels that have them, written at the same time. kernel, modules, qemu: paths on the host, "" for the host's own;
    kernel and qemu may be names (bench.wire.named).
    policy: a loop in the guest or on the host that makes the guest shrink, None for none. host_thp: transparent huge
    pages of the host for this QEMU: "" as the host has them, "never" (switched off for the process), "always" or
    "madvise" (the host's own setting must be that). expect: "" by the mechanism, "nothing" for a control in which
    reports must have no effect.
    give: how the host asks for what the guest freed, and gives it back before it is wanted again (GIVES, "" for not).
    deflate_on_oom: the balloon gives memory back by itself before the guest's kernel kills somebody.
    """

    name: str
    balloon: bool = False
    reporting: bool = False
    mem_lock: bool = False
    backing: str = "memfd"
    reporting_order: Optional[int] = None
    reporting_params: tuple[tuple[str, int], ...] = ()
    kernel: str = ""
    modules: str = ""
    qemu: str = ""
    kernel_args: tuple[str, ...] = ()
    policy: Optional[Policy] = None
    host_thp: str = ""
    expect: str = ""
    give: str = ""
    hinting: bool = False
    deflate_on_oom: bool = False

    @property
    def host_policy(self) -> Optional[Policy]:
        """The loop of the host side, None where there is none."""
        return self.policy if self.policy and self.policy.kind in HOST_POLICIES else None

    @property
    def pluggable(self) -> bool:
        """Whether a part of the guest's memory is a virtio-mem device."""
        return "virtio-mem" in (self.give, self.host_policy.kind if self.host_policy else "")

    @property
    def must_discard(self) -> bool:
        """Whether the mechanism has to be seen working: discarded bytes above zero. Otherwise exactly zero."""
        return (self.reporting or self.give != "") and self.expect != "nothing"


@dataclass(frozen=True)
class Guest:
    """Shape of the virtual machine. accel is what will be used ("kvm" or "tcg"), never "auto"."""

    memory_bytes: int
    vcpus: int
    accel: str
    machine: str = "q35"


@dataclass(frozen=True)
class Phase:
    """One step of a workload's script.

    kind "guest": the agent runs `op` with `args` and answers. kind "settle": the host waits until the residency of the
    guest's RAM stayed within args["tolerance_bytes"] for args["window_s"], at least args["min_s"], at most
    args["max_s"]. kind "hold": the host waits args["s"]. kind "host": the host does `op` to the guest's memory
    (bench.host.actions), or answers {"skipped": reason}. warmup: kept in the files, not in a summary.

    guest: which of the job's guests it is a phase of, from 0. Those of one guest run in their order, guests beside one
    another. kind "boot": this guest is started here; one without such a phase is started at once. With
    args["unless"] = [guest, phase, key] it is started only if that phase answered a false `key`; otherwise nothing of
    its phases happens. kind "meet": waits until each of args["phases"], as [guest, phase], is done, or never will be.
    Only "meet" and "hold" may come before "boot".

    A value {"from": [phase, key]} in args is replaced by what that phase answered in the same guest.
    """

    name: str
    kind: str
    iteration: int
    op: str = ""
    args: dict[str, Any] = field(default_factory=dict)
    warmup: bool = False
    guest: int = 0


@dataclass(frozen=True)
class Paths:
    """Files on the host, resolved: QEMU binary, kernel image, its modules folder ("" when built in), guest image."""

    qemu: str
    kernel: str
    modules: str
    image: str


@dataclass(frozen=True)
class Placement:
    """Where a boot's threads and memory go on the host.

    guest_cpus: vCPU i is pinned to the i-th of them, QEMU's other threads to all of them; () pins nothing.
    sampler_cpus: the host side's own; () with guest_cpus given: all online ones but these. numa_node: guest RAM is
    bound to it. hold_latency: /dev/cpu_dma_latency is held open at 0 during the boot, so that no CPU sleeps deeply.
    """

    guest_cpus: tuple[int, ...] = ()
    sampler_cpus: tuple[int, ...] = ()
    numa_node: Optional[int] = None
    hold_latency: bool = False


@dataclass(frozen=True)
class Quiet:
    """What a host must be below before a boot; a limit of None is not asked. deadline_s: how long to wait for it.

    busy_share: CPU time not idle, of all CPUs, over a second. load_per_cpu: the 1-minute load average over the CPUs.
    pressure_share: the largest "some avg10" of PSI (cpu, memory, io), as a share. swap_pages_s: pages swapped in and
    out a second. temperature_c: of the hottest readable sensor.
    """

    busy_share: Optional[float] = None
    load_per_cpu: Optional[float] = None
    pressure_share: Optional[float] = None
    swap_pages_s: Optional[float] = None
    temperature_c: Optional[float] = None
    deadline_s: float = 0.0


@dataclass(frozen=True)
class Cgroup:
    """A memory cgroup of its own for what a job boots. Limits in bytes, None for none.

    swap_limit_bytes: of swap alone; version 1 of cgroups needs limit_bytes with it.
    """

    limit_bytes: Optional[int] = None
    swap_limit_bytes: Optional[int] = None

    @property
    def limited(self) -> bool:
        """Whether it has to be there for the host's sake."""
        return self.limit_bytes is not None or self.swap_limit_bytes is not None


@dataclass(frozen=True)
class Job:
    """One boot. Times in seconds. `block` counts from 1, `order` is the position inside the block from 0.

    qmp_hz: how often a second QEMU's monitor is asked, to see how long it takes; 0 for never.
    cgroup: None where no phase needs one; where it cannot be made, those phases answer {"skipped": reason}. become:
    "sudo" where root may be used for it, "none" where not.
    disk_bytes: size of the guest's scratch disk (bench.host.disk), in whole MiB; 0 for none. guests: how many of them,
    all alike and in one cgroup; what each does is in the phases.
    """

    host: str
    cell: str
    arm: Arm
    block: int
    order: int
    guest: Guest
    paths: Paths
    phases: tuple[Phase, ...]
    sample_hz: float = 20.0
    ready_deadline_s: float = 60.0
    deadline_s: float = 600.0
    attempt: int = 1
    placement: Placement = Placement()
    quiet: Quiet = Quiet()
    workload: str = "cycle"
    qmp_hz: float = 0.0
    cgroup: Optional[Cgroup] = None
    become: str = "none"
    disk_bytes: int = 0
    guests: int = 1

    def track(self, guest: int) -> tuple[Phase, ...]:
        """The phases of one guest."""
        return tuple(phase for phase in self.phases if phase.guest == guest)

    @property
    def id(self) -> str:
        """Identity: the hash of the content, the attempt included."""
        return content_hash(self)

    @property
    def boot(self) -> str:
        """Readable name of the boot, unique in a run: host.cell.b003.arm, with .try2 on a second attempt."""
        again = f".try{self.attempt}" if self.attempt > 1 else ""
        return f"{self.host}.{self.cell}.b{self.block:03d}.{self.arm.name}{again}"

    @property
    def ram_parts(self) -> tuple[int, ...]:
        """Bytes of each piece of host memory that is the guest's RAM: what it boots with, and what is plugged later.

        With virtio-mem up to half of the guest's memory is plugged before the first phase, in whole memory blocks: so
        the guest is as large as in other arms, and can be made smaller by that.
        """
        whole = self.guest.memory_bytes
        if not self.arm.pluggable:
            return (whole,)
        block = LARGE_BLOCK_BYTES if whole >= LARGE_GUEST_BYTES else MEMORY_BLOCK_BYTES
        plugged = whole // 2 // block * block
        return (whole - plugged, plugged)


@dataclass(frozen=True)
class Ask:
    """A question to the host side that is no boot of a plan, with its arguments (bench.host.asks says which)."""

    what: str
    args: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Hold:
    """Take the host for one run: its lock, and the settings that the run wants. Both are given back when stdin closes.

    owner: who runs it, as user@machine. run: what the run is called. tune: names of settings, as bench.host.knobs has
    them. wait: wait for the lock instead of failing. become: "sudo" where root may be used, "none" where not.
    swap_file_bytes: size of a swap file to be made for the run, 0 for none.
    """

    run: str
    owner: str
    tune: tuple[str, ...] = ()
    wait: bool = False
    become: str = "none"
    swap_file_bytes: int = 0
