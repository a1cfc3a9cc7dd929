"""`bench list`, `bench report` and `bench compare`: what there is, and what came out."""

from __future__ import annotations

import json
from pathlib import Path

import click

from bench.command_line.exit_codes import EXIT_CODES
from bench.errors import InputError
from bench.wire.units import show_bytes


@click.command("list", epilog="\b\nExamples:\n  bench list plans\n  bench list metrics --json")
@click.argument("what", type=click.Choice(["plans", "arms", "workloads", "metrics", "hosts", "runs"]))
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def list_command(what: str, as_json: bool) -> None:
    """What there is: plans, arms, workloads, metrics, hosts or runs."""
    from bench.controller.listing import listing, render

    rows = listing(what)
    click.echo(json.dumps(rows, indent=1, ensure_ascii=False) if as_json else render(rows), nl=as_json)


@click.command(
    "report",
    epilog="\b\nExamples:\n  bench report results/20260101-120000-quick\n"
    "  bench report results/20260101-120000-quick --publish quick-lab-1\n"
    "  bench report results/20260101-120000-quick --markdown >> comment.md\n"
    "  bench report results/*-overhead --out overhead.html     hosts side by side, or the same hosts over time",
)
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN [RUN]...")
@click.option("--out", type=click.Path(path_type=Path), help="Of several runs: the page; default several.html beside.")
@click.option(
    "--publish",
    metavar="NAME",
    help="Copy the run, without its logs, to reports/published/NAME, render its page there, and renew the index. Host "
    "names, settings and file names are on the page: look at it before you show it.",
)
@click.option("--text", "form", flag_value="text", help="Print the page in short, for a terminal or a mail; no page.")
@click.option("--markdown", "form", flag_value="markdown", help="The same for a merge request.")
@click.option("--into", type=click.Path(path_type=Path), help="With --publish: instead of reports/published.")
def report_command(
    runs: tuple[Path, ...], out: Path | None, publish: str | None, into: Path | None, form: str | None
) -> None:
    """Analyse RUN again and render its page; prints the page's path, or the page in short. Of several runs of one plan:
    one page.
    """
    from bench.commands import publish as publishing
    from bench.commands.reporting import brief, report, several

    if publish is None and into is not None:
        raise InputError("--into goes with --publish NAME")
    if publish is not None and form is not None:
        raise InputError(f"--{form} prints and --publish writes: one at a time")
    if len(runs) > 1 and (publish is not None or form is not None):
        raise InputError(f"--{form or 'publish'} takes one run; {len(runs)} were named")
    if len(runs) == 1 and out is not None:
        raise InputError("--out goes with several runs; the page of one lies in its folder")
    if len(runs) > 1:
        click.echo(several(runs, out))
        return
    run = runs[0]
    if publish is None:
        click.echo(brief(run, form) if form else report(run), nl=form is None)
        return
    done = publishing.publish(run, publish, into or publishing.PUBLISHED)
    click.echo(f"bench: published {show_bytes(done.size)}; the index is {done.index}", err=True)
    click.echo(done.page)


@click.command(
    "compare",
    epilog="\b\nExamples:\n  bench compare results/monday\n  bench compare results/monday --format lkml > mail.txt\n"
    "  bench compare results/monday results/friday      the same arms then and now, unpaired\n\n\b\n" + EXIT_CODES,
)
@click.argument("runs", nargs=-1, type=click.Path(path_type=Path), metavar="RUN [RUN]")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "markdown", "lkml", "json", "csv"]),
    default="text",
    show_default=True,
)
def compare_command(runs: tuple[Path, ...], form: str) -> None:
    """Compare the arms of RUN, or the same arms of two runs if those measured the same thing (else exit 4)."""
    from bench.commands.reporting import compare

    click.echo(compare(runs, form), nl=False)


@click.command(
    "history",
    epilog="\b\nExamples:\n  bench history results/*-overhead\n"
    "  bench history results/*-overhead --metric 'faults_*' --format csv > history.csv     for Apache Otava\n\n\b\n"
    + EXIT_CODES,
)
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN...")
@click.option("--metric", "metrics", multiple=True, help="Only these, as in 'faults_*'; default: those of the plan.")
@click.option("--format", "form", type=click.Choice(["text", "csv"]), default="text", show_default=True)
def history_command(runs: tuple[Path, ...], metrics: tuple[str, ...], form: str) -> None:
    """Many runs of one plan, from run to run."""
    from bench.commands.reporting import history

    click.echo(history(runs, metrics, form), nl=False)


COMMANDS = (list_command, report_command, compare_command, history_command)
