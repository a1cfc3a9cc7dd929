"""Whether guests really run under KVM here: found out by booting one. A device file that opens proves nothing."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.errors import LabError

CANARY_DEADLINE_S = 10.0
CACHE_FILE = "kvm.json"


@dataclass(frozen=True)
class KvmAnswer:
    """usable: a canary guest said READY under KVM. seconds: to READY, or until it was given up; 0 without a boot.

    evidence: last lines of QEMU and of the guest's console. cached: the answer is of an earlier probe.
    """

    usable: bool
    reason: str
    evidence: tuple[str, ...] = ()
    seconds: float = 0.0
    cached: bool = False

    @property
    def accel(self) -> str:
        """What guests are to be run with: "kvm" or "tcg"."""
        return "kvm" if self.usable else "tcg"


def probe_kvm(
    boot: Callable[[str], float], cache: Path, qemu_version: str, *, root: Path = Path("/"), fresh: bool = False
) -> KvmAnswer:
    """Boots a canary by `boot("kvm")`, which returns the seconds to READY and must give up by CANARY_DEADLINE_S.

    LabError, OSError and TimeoutError of `boot` mean "not usable"; any other exception goes through. A missing or
    closed /dev/kvm is an answer without a boot. The answer of a boot is cached in the folder `cache`, for this boot
    of the host and this QEMU; `fresh` asks again.
    """
    closed = _closed(root)
    if closed:
        return KvmAnswer(usable=False, reason=closed)
    earlier = None if fresh else read_cached(cache, qemu_version, root)
    if earlier is not None:
        return earlier
    answer = _boot(boot)
    # A full disk, say: then the next one asks again.
    with contextlib.suppress(OSError):
        _write_cached(cache, _key(qemu_version, root), answer)
    return answer


def _closed(root: Path) -> str:
    device = root / "dev/kvm"
    if not device.exists():
        return "/dev/kvm is not there"
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return f"/dev/kvm cannot be opened: {error.strerror} (is this user in group kvm?)"
    return ""


def _boot(boot: Callable[[str], float]) -> KvmAnswer:
    start = time.monotonic()
    try:
        ready_s = boot("kvm")
    except (LabError, OSError) as error:  # TimeoutError is an OSError
        lines = tuple(getattr(error, "evidence", ())) or tuple(str(error).splitlines()[-5:])
        spent = round(time.monotonic() - start, 3)
        reason = f"a canary guest did not become ready under KVM (given up after {spent:.1f} s)"
        return KvmAnswer(usable=False, reason=reason, evidence=lines, seconds=spent)
    return KvmAnswer(usable=True, reason=f"a canary guest was ready after {ready_s:.2f} s", seconds=round(ready_s, 3))


def _key(qemu_version: str, root: Path) -> dict[str, str]:
    boot_id = (root / "proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return {"boot_id": boot_id, "qemu_version": qemu_version}


def read_cached(cache: Path, qemu_version: str, root: Path = Path("/")) -> KvmAnswer | None:
    """The answer of an earlier probe in this boot of the host with this QEMU; None when there is none."""
    try:
        data = json.loads((cache / CACHE_FILE).read_text(encoding="utf-8"))
        if data["key"] != _key(qemu_version, root):
            return None
        body = data["answer"]
        return KvmAnswer(
            usable=bool(body["usable"]),
            reason=str(body["reason"]),
            evidence=tuple(str(line) for line in body["evidence"]),
            seconds=float(body["seconds"]),
            cached=True,
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write_cached(cache: Path, key: dict[str, str], answer: KvmAnswer) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    temp = cache / f".{CACHE_FILE}.{os.getpid()}"
    temp.write_text(json.dumps({"key": key, "answer": asdict(answer)}, indent=1) + "\n", encoding="utf-8")
    temp.rename(cache / CACHE_FILE)
