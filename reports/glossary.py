"""What the words of a page mean: the terms of the suite, and the metrics that this run has."""

from __future__ import annotations

from bench.wire.metrics import METRICS
from reports import words
from reports.load import Run
from reports.raw import metrics_of

TERMS = (
    ("arm", "one configuration under test: kernel, QEMU, balloon device, memory backing, policy"),
    ("reference", "the arm that another one is compared with"),
    ("boot", "one fresh guest, started for one measurement; the unit of replication"),
    ("block", "one boot of every arm, back to back in random order; arms are compared inside it"),
    ("workload", "what the guest does, as a list of phases; one of them with its parameters is a cell"),
    ("free page reporting", "the guest tells its host which pages are free, and the host takes them back"),
    ("balloon", "virtio-balloon, the device that reports go through"),
    ("discard", "the host gives the memory behind a page back to its own kernel"),
    ("resident", "memory of the guest that takes up memory of the host"),
    ("refault", "touching memory again that was given back"),
    ("first touch", "touching memory that was never used in this boot"),
    ("footprint", "resident memory over time, added up: memory times how long it was held"),
    ("effect", "the arm over the reference (×0.5 is half), or their difference where a value may be zero"),
    ("95 % interval", "where the effect lies: it holds the true one in 95 of 100 such runs"),
    ("margin", "a change that counts as none, set by the plan before the run"),
    ("better, worse", 'the interval lies outside the margin and does not hold "no difference"'),
    ("equivalent", "the interval lies inside the margin: the arms do not differ by as much as it"),
    ("undecided", "the interval does not tell: more blocks would"),
    ("invalid", "it cannot be believed: a control failed, or the mechanism was not seen at work"),
    ("dominated", "another arm is clearly better in one of both and not clearly worse in the other"),
    ("pressure (PSI)", "time in which tasks of the host waited for memory"),
    ("emulated, †", "a time of a CPU in software (TCG): it can be compared inside this run only"),
)


def glossary(run: Run) -> list[tuple[str, str, str]]:
    """(term, meaning, name of the metric or ""): terms first, then the run's metrics in the order of the tables."""
    named = sorted((name for name in metrics_of(run) if name in METRICS), key=words.place)
    metrics = [(words.title(name), f"{words.definition(name)} ({METRICS[name].unit})", name) for name in named]
    return [(term, meaning, "") for term, meaning in TERMS if run.emulated or "†" not in term] + metrics
