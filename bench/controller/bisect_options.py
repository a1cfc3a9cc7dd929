"""What a step of a bisection runs: the plan with one arm, one workload and one metric, good build against this one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from bench.controller.bisecting import Asked
from bench.controller.options import Options
from bench.controller.quantities import PUSH


def looks_of(first: int, most: int) -> tuple[int, ...]:
    """After how many blocks a commit is looked at: twice as many each time, and `most` at last."""
    looks, blocks = [], first
    while blocks < most:
        looks.append(blocks)
        blocks *= 2
    return (*looks, most)


def options_of(asked: Asked, good: Path, tree: Path) -> Options:
    """The plan with one arm, one workload and one metric; what was built in `good` as base, and in `tree` as head."""
    base, head = (str(folder / asked.file) for folder in (good, tree))
    kernels = (f"{PUSH}{base}", f"{PUSH}{head}") if asked.kind == "kernel" else (None, None)
    qemus = (base, head) if asked.kind == "qemu" else (None, None)
    modules = {"base": good, "head": tree} if asked.modules else {}
    overlay = {
        # Compared with nothing but its own copy: no boots of other arms, and no second p in the family.
        "reference": asked.arm,
        f"arms.{asked.arm}.against": "",
        f"workloads.{asked.workload}.arms": [asked.arm],
        "metrics": None,
        f"metrics.{asked.metric}": {"margin": asked.margin},
        # Its rules are for more than this.
        "gate": None,
        # A commit gets as many blocks as it takes to decide on it.
        "looks": list(looks_of(asked.blocks, asked.most_blocks)),
        **{f"change.{side}.modules": f"{PUSH}{folder / asked.modules}" for side, folder in modules.items()},
    }
    return Options(
        variant=asked.variant or None,
        sets=(*asked.sets, *(f"{key}={_yaml(value)}" for key, value in overlay.items())),
        arms=(asked.arm,),
        workloads=(asked.workload,),
        blocks=asked.most_blocks,
        seed=asked.seed,
        base_kernel=kernels[0],
        head_kernel=kernels[1],
        base_qemu=qemus[0],
        head_qemu=qemus[1],
    )


def _yaml(value: Any) -> str:
    """A value in one line, that is read as what it is: an arm may be called `on`, and JSON's 5e-05 is no number."""
    return yaml.safe_dump(value, default_flow_style=True, width=10_000).splitlines()[0]
