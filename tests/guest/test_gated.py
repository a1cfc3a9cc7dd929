"""`bench gate` on real guests: a QEMU that was changed behind the suite's back is no regression, and no pass either."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from benchlab import bench, boots, finished

pytestmark = [pytest.mark.guest, pytest.mark.processes]

WRAPPER = """\
#!/bin/sh
for word; do
    shift
    case "$word" in
        *free-page-reporting=on*) word=$(printf %s "$word" | sed s/free-page-reporting=on/free-page-reporting=off/) ;;
    esac
    set -- "$@" "$word"
done
exec QEMU "$@"
"""
PLAN = """\
name: behind
question: Is it seen that this QEMU reports nothing?
reference: none
arms: [none, {name: reporting-wrapped, like: reporting, qemu: WRAPPED}, {name: again, same_as: reporting-wrapped}]
blocks: 1
min_blocks: 2
workloads:
  - {workload: cycle, touch: 20%, drain_min_s: 0.5, drain_max_s: 2, settle_min_s: 6, window_s: 6, hold_s: 0.2}
guest: {memory: 512M}
quiet: {busy: null, load: null, pressure: null, swap: null}
metrics: {residual_bytes: {margin: 5%}}
gate: {rules: [{metric: residual_bytes}]}
"""


def test_a_qemu_whose_reporting_was_switched_off_makes_the_gate_invalid(tmp_path: Path) -> None:
    qemu = shutil.which("qemu-system-x86_64")
    assert qemu, "bench prepare local installs it"
    wrapped = tmp_path / "wrapped"
    wrapped.write_text(WRAPPER.replace("QEMU", qemu))
    wrapped.chmod(0o755)
    (tmp_path / "plan.yaml").write_text(PLAN.replace("WRAPPED", str(wrapped)))
    code, _, err = finished(bench("run", "plan.yaml", "--wait", "--out", "out", cwd=tmp_path))
    assert code == 4, err
    statuses = {boot["arm"]: boot["status"] for boot in boots(tmp_path / "out")}
    assert statuses == {"none": "ok", "reporting-wrapped": "invalid", "again": "invalid"}
    code, out, err = finished(bench("gate", "out", cwd=tmp_path))
    assert code == 4, err
    said = " ".join(out.split())
    assert "reporting was not negotiated" in said
    gate = json.loads((tmp_path / "out/gate.json").read_text())
    assert (gate["verdict"], gate["exit_code"]) == ("invalid", 4)
    assert not (tmp_path / "out/confirmation").exists()
