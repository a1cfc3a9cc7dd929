"""Every workload, by name. A new one is a file beside this and a line here."""

from __future__ import annotations

from workloads.application import APPLICATION
from workloads.arrival import ARRIVAL
from workloads.cache import CACHE
from workloads.crowd import CROWD, DENSITY
from workloads.cycle import CYCLE
from workloads.days import DAYS
from workloads.faults import FAULTS
from workloads.footprint import FOOTPRINT
from workloads.integrity import INTEGRITY
from workloads.jitter import JITTER
from workloads.migration import MIGRATION
from workloads.refault import REFAULT
from workloads.resize import RESIZE
from workloads.shape import Workload
from workloads.storm import STORM

WORKLOADS: dict[str, Workload] = {
    workload.name: workload
    for workload in (
        APPLICATION,
        ARRIVAL,
        CYCLE,
        CACHE,
        CROWD,
        DAYS,
        DENSITY,
        FAULTS,
        FOOTPRINT,
        INTEGRITY,
        JITTER,
        MIGRATION,
        REFAULT,
        RESIZE,
        STORM,
    )
}
