"""Mistakes that only the host can tell: `bench run` refuses them before anything boots, at the line that is wrong."""

from __future__ import annotations

from pathlib import Path

import forked
import pytest

pytestmark = [pytest.mark.guest, pytest.mark.processes]

PLAN = """\
name: p
question: q?
reference: none
arms:
  - none
  - name: fresh
    kernel: KERNEL
workloads: [{workload: cycle}]
guest: {memory: MEMORY}
metrics: {residual_bytes: {margin: 5%}}
"""


def refused(tmp_path: Path, hosts: str, plan: str) -> str:
    (tmp_path / "hosts.yaml").write_text(hosts)
    (tmp_path / "plan.yaml").write_text(plan)
    done = forked.run("run", "plan.yaml", "--out", "out", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert not (tmp_path / "out").exists(), "something was begun"
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("qemu: /bin/true", "hosts.yaml:3: hosts.0.qemu: /bin/true is no QEMU that runs; name a qemu-system binary"),
        ("qemu: /none", "hosts.yaml:3: hosts.0.qemu: /none is no QEMU that runs; name a qemu-system binary"),
        ("kernel: /none", "hosts.yaml:3: hosts.0.kernel: /none is not there; name a kernel path on the host"),
        ("kernel: /etc/passwd", "hosts.yaml:3: hosts.0.kernel: "),
    ],
)
def test_a_wrong_file_on_the_host_is_shown_at_its_line(line: str, message: str, tmp_path: Path) -> None:
    hosts = f"hosts:\n  - name: local\n    {line}\n"
    assert refused(tmp_path, hosts, PLAN.replace("KERNEL", "/boot/k").replace("MEMORY", "512M")).startswith(message)


def test_the_doctor_shows_a_wrong_file_at_its_line_too(tmp_path: Path) -> None:
    (tmp_path / "hosts.yaml").write_text("hosts:\n  - name: local\n    qemu: /bin/true\n")
    done = forked.run("doctor", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "hosts.yaml:3: hosts.0.qemu: /bin/true is no QEMU that runs" in done.stderr


def test_an_arms_kernel_that_is_none_is_shown_at_its_line(tmp_path: Path) -> None:
    plan = PLAN.replace("KERNEL", "/etc/passwd").replace("MEMORY", "512M")
    message = refused(tmp_path, "hosts: [{name: local}]\n", plan)
    assert message.startswith("plan.yaml:7: arms.1.kernel: ")
    assert "bzImage" in message


def test_a_guest_larger_than_the_hosts_free_memory_is_refused_with_the_arithmetic(tmp_path: Path) -> None:
    plan = PLAN.replace("    kernel: KERNEL\n", "    balloon: true\n").replace("MEMORY", "64T")
    message = refused(tmp_path, "hosts: [{name: local}]\n", plan)
    assert message.startswith("plan.yaml:9: guest.memory: 64 TiB for the guest + 128 MiB for QEMU")
    assert "write at most" in message
