"""The page of a run in short, in its order: for a terminal or a mail ("text"), for a merge request ("markdown")."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from textwrap import fill

from bench.analysis.markdown import plain, table
from reports import context, primary, result
from reports.load import Run
from reports.validity import Validity, validity

WIDTH = 100


@dataclass(frozen=True)
class Part:
    """A heading, sentences, and perhaps a table whose first row is its head."""

    heading: str
    lines: tuple[str, ...]
    table: tuple[tuple[str, ...], ...] = ()


def parts(run: Run) -> list[Part]:
    """What is said, in the order of the page."""
    verdict = result.verdict(run)
    question = str(run.run.get("question") or "What happens to memory that a guest frees?")
    said = [f"{verdict.label}: {verdict.text}{_mark(verdict.marked)}"]
    if run.emulated:
        said.append("† Time of an emulated CPU (TCG), not of hardware. Bytes, pages and counts are real.")
    return [
        Part(question, tuple(said)),
        *(_answer(answer) for answer in primary.answers(run)),
        *_trust(validity(run, [])),
        Part("Measured on", tuple(_where(run))),
        Part("How to do it again", (context.command(run),)),
    ]


def _mark(marked: bool) -> str:
    return "†" if marked else ""


def _answer(answer: primary.Answer) -> Part:
    place = f"{answer.host or 'all hosts together'}, {answer.cell}"
    rows = [("metric", "reference", "arm", "effect", "95 % interval", "verdict")]
    for one in answer.estimates:
        reference = " ".join(filter(None, (one.reference, one.reference_value)))
        arm = " ".join(filter(None, (one.arm, one.value)))
        rows.append((f"{one.metric}{_mark(one.marked)}", reference, arm, one.shown, one.interval, one.label))
    return Part(f"Result: {place}", (), tuple(rows))


def _trust(found: Validity) -> list[Part]:
    lines = [f"{found.controls}."] if found.controls else []
    lines += [
        f"{one.host}, {one.cell}, {one.arm}: {one.boots} boots count; reporting {one.said}" for one in found.mechanism
    ]
    lines += [f"! {said}" for _, said in found.doubts.warnings]
    lines += [f"{one.status}: {one.boot}: {one.reason}" for one in found.doubts.lost]
    return [Part("Can it be trusted?", tuple(lines))] if lines else []


def _where(run: Run) -> list[str]:
    boots = f"{len(run.boots)} boots of {len(run.run.get('schedule') or run.boots)}"
    lines = [
        f"plan {run.run.get('plan')} ({run.run.get('variant') or 'as written'}), {run.run.get('started')}, {boots}"
    ]
    lines.append(f"hosts: {', '.join(run.host_names) or 'none'}; accelerator {run.accel}")
    return [*lines, *(f"{name}: {value}" for name, value in context.versions(run))]


def text(run: Run) -> str:
    """For a terminal or a mail."""
    blocks = []
    for part in parts(run):
        folded = [fill(line, WIDTH, subsequent_indent="  ", break_long_words=False) for line in part.lines]
        blocks.append("\n".join([part.heading, "-" * min(WIDTH, len(part.heading)), *folded, *_columns(part.table)]))
    return "\n\n".join(blocks) + "\n"


def _columns(table: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]


def markdown(run: Run) -> str:
    """For a merge request. Whatever was found in the run's files is text in it, and no markup."""
    first, *others = parts(run)
    blocks = [f"## {plain(first.heading)}", f"**{plain(first.lines[0])}**", *map(plain, first.lines[1:])]
    for part in others:
        blocks.append(f"### {plain(part.heading)}")
        if part.lines:
            blocks.append("\n".join(f"* {plain(line)}" for line in part.lines))
        if part.table:
            blocks.append(table(part.table[0], part.table[1:]))
    return "\n\n".join(blocks) + "\n"


FORMS: dict[str, Callable[[Run], str]] = {"text": text, "markdown": markdown}
