"""What the command line says of a plan, and as which keys of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench.controller.change import SIDES
from bench.controller.overlay import from_option
from bench.controller.yamlfile import Document, Place
from bench.errors import InputError

# A variant is the same plan in another size; these keys would make it another plan.
NOT_IN_A_VARIANT = ("name", "variant", "variants")


@dataclass(frozen=True)
class Options:
    """What the command line says: --variant, --set (each KEY=VALUE), --arm, --workload, --blocks, --seed.

    base_kernel and those like it: `change:` of the plan. full: all blocks, whatever looks and budget would save.
    """

    variant: str | None = None
    sets: tuple[str, ...] = ()
    arms: tuple[str, ...] = ()
    workloads: tuple[str, ...] = ()
    blocks: int | None = None
    seed: int | None = None
    base_kernel: str | None = None
    head_kernel: str | None = None
    base_qemu: str | None = None
    head_qemu: str | None = None
    full: bool = False


def settings(options: Options) -> Iterator[Document]:
    """What is laid over the plan, in this order. Raises InputError for what `--set` cannot set."""
    for setting in options.sets:
        document = from_option("--set", setting)
        (key,) = document.value
        if key in NOT_IN_A_VARIANT:
            raise InputError(
                f"--set {key}: cannot be set here; --variant picks one, then set the key itself, as in blocks=5"
            )
        yield document
    for name in ("blocks", "seed"):
        value = getattr(options, name)
        if value is not None:
            place = Place(f"--{name}", 0)
            yield Document({name: value}, {(): place, (name,): place})
    for side in SIDES:
        for key in ("kernel", "qemu"):
            value = getattr(options, f"{side}_{key}")
            if value is not None:
                place = Place(f"--{side}-{key}", 0)
                yield Document({"change": {side: {key: value}}}, {("change", side, key)[:n]: place for n in range(4)})
