"""The composition root: options in, parts put together, exceptions turned into exit codes.

Messages go to stderr, data to stdout. Heavy imports (pandas, matplotlib) wait until a command needs them.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Any

import click

from bench.errors import BenchError, InputError, Interrupted

EXIT_CODES = """\b
Exit codes: 0 fine, 2 wrong use or a wrong file, 4 invalid (a control failed or the mechanism was not seen working),
5 the lab failed (host, QEMU), 130 interrupted."""


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="""\b
Examples:
  bench prepare local          install QEMU, fetch a guest kernel
  bench doctor                 what this machine is, and what would make its numbers noisy
  bench run                    plan `quick`: guests with and without reporting, a verdict and a page
  bench list plans
\b
Exit codes: 0 fine, 2 wrong use or file, 4 invalid, 5 the lab failed, 130 interrupted.""",
)
@click.version_option(package_name="fpr-bench", prog_name="bench")
def cli() -> None:
    """Benchmarks of free page reporting on KVM: memory returned, how fast, at what cost, for what gain."""


@cli.command(
    "run",
    epilog="""\b
Examples:
  bench run                                        plan quick on the machine in hosts.yaml
  bench run return --variant emulated --blocks 5
  bench run quick --set guest.memory=1G --set workloads.0.touch=60%
  bench run quick --arm none --arm reporting --seed 7 --out results/mine
  bench run --dry-run                              jobs and QEMU lines, nothing booted
  bench run --resume results/20260101-120000-quick
\b
"""
    + EXIT_CODES,
)
@click.argument("plan", default="quick")
@click.option("--host", "hosts", multiple=True, help="Run on this host of hosts.yaml.")
@click.option("--hosts-file", type=click.Path(path_type=Path), default=None, help="Instead of ./hosts.yaml.")
@click.option("--arm", "arms", multiple=True, help="Only these arms (the reference arm always stays).")
@click.option("--workload", "workloads", multiple=True, help="Only these workloads.")
@click.option("--variant", default=None, help="A variant of the plan; by default by accelerator.")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Change a key, as guest.memory=1G.")
@click.option("--blocks", type=int, default=None, help="Blocks: one boot of every arm each.")
@click.option("--seed", type=int, default=None, help="Seed of the order in the blocks.")
@click.option("--out", type=click.Path(path_type=Path), default=None, help="Run folder; default results/<time>-<plan>.")
@click.option("--resume", type=click.Path(path_type=Path), default=None, metavar="RUN", help="Finish this run folder.")
@click.option("--dry-run", is_flag=True, help="Print the jobs and their QEMU lines, boot nothing.")
def run_command(**options: Any) -> None:
    """Run PLAN (a shipped name or a file) and render its report; the last line of stdout is the run folder."""
    from bench.commands import resume, run

    resumed = options.pop("resume")
    if resumed is not None:
        resume(resumed)
    else:
        run(**options)


@cli.command("prepare", epilog="\b\nExamples:\n  bench prepare local\n  bench prepare --dry-run")
@click.argument("hosts", nargs=-1)
@click.option("--hosts-file", type=click.Path(path_type=Path), default=None, help="Instead of ./hosts.yaml.")
@click.option("--dry-run", is_flag=True, help="Say what would be installed, change nothing.")
def prepare_command(hosts: tuple[str, ...], hosts_file: Path | None, dry_run: bool) -> None:
    """Install what is missing: QEMU by the package manager, a guest kernel into the cache. Overwrites nothing."""
    from bench.commands import prepare

    prepare(hosts, hosts_file, dry_run=dry_run)


@cli.command("doctor", epilog="\b\nExamples:\n  bench doctor\n  bench doctor local --json")
@click.argument("hosts", nargs=-1)
@click.option("--hosts-file", type=click.Path(path_type=Path), default=None, help="Instead of ./hosts.yaml.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def doctor_command(hosts: tuple[str, ...], hosts_file: Path | None, as_json: bool) -> None:
    """What this machine is, what is missing or noisy, and the command that mends it; boots a canary guest."""
    from bench.commands import doctor

    sys.exit(doctor(hosts, hosts_file, as_json=as_json))


@cli.command("list", epilog="\b\nExamples:\n  bench list plans\n  bench list metrics --json")
@click.argument("what", type=click.Choice(["plans", "arms", "workloads", "metrics", "hosts", "runs"]))
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def list_command(what: str, as_json: bool) -> None:
    """What there is: plans, arms, workloads, metrics, hosts or runs."""
    from bench.controller.listing import listing, render

    rows = listing(what)
    click.echo(json.dumps(rows, indent=1, ensure_ascii=False) if as_json else render(rows), nl=as_json)


@cli.command("report", epilog="\b\nExamples:\n  bench report results/20260101-120000-quick")
@click.argument("run", type=click.Path(path_type=Path))
def report_command(run: Path) -> None:
    """Analyse RUN again and render its page; prints the page's path."""
    from bench.commands import report

    click.echo(report(run))


def _add_memtouch() -> None:
    from workloads.memtouch.cli import memtouch

    cli.add_command(memtouch)


def main(argv: list[str] | None = None) -> int:
    """Runs one command; the only place where an exception becomes an exit code."""
    signal.signal(signal.SIGTERM, _interrupt)
    _add_memtouch()
    try:
        cli.main(args=argv, prog_name="bench", standalone_mode=False)
    except click.exceptions.Abort:
        return _fail(Interrupted("interrupted"))
    except click.ClickException as error:
        error.show()
        return InputError.exit_code
    except click.exceptions.Exit as error:
        return int(error.exit_code)
    except KeyboardInterrupt:
        return _fail(Interrupted("interrupted; `bench run --resume RUN` finishes the run"))
    except BenchError as error:
        return _fail(error)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 1
    return 0


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _fail(error: BenchError) -> int:
    # A line that begins with `file:line:` stays as it is: editors and terminals make it a link.
    print(error if isinstance(error, InputError) else f"bench: {error}", file=sys.stderr)
    return error.exit_code
