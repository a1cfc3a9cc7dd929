"""The composition root: options in, parts put together, exceptions turned into exit codes.

Messages go to stderr, data to stdout. Heavy imports (pandas, matplotlib) wait until a command needs them.
"""

from __future__ import annotations

import functools
import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from bench.errors import BenchError, InputError, Interrupted
from bench.wire.named import OPTIONS
from bench.wire.units import printable

# The parameters of `bench run` that say how, and not what.
WITH_RESUME = ("resume", "parallel", "wait", "as_json")
FILES = 1 << 16

EXIT_CODES = """\b
Exit codes: 0 fine, 2 wrong use or a wrong file, 4 invalid (a control failed or the mechanism was not seen working),
5 the lab failed (SSH, host, QEMU), 130 interrupted."""


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


def _which_hosts(command: Callable[..., Any]) -> Callable[..., Any]:
    """HOST… and the options of every command that works on hosts; they come as one `which`."""

    @functools.wraps(command)
    def with_which(
        hosts: tuple[str, ...], tags: tuple[str, ...], hosts_file: Path | None, parallel: int | None, **options: Any
    ) -> Any:
        from bench.commands.hosts import Which

        return command(which=Which(hosts, tags, hosts_file, parallel), **options)

    for option in (
        click.argument("hosts", nargs=-1, metavar="[HOST]..."),
        click.option("--tag", "tags", multiple=True, help="Only hosts with this tag."),
        click.option("--hosts-file", type=click.Path(path_type=Path), default=None, help="Instead of ./hosts.yaml."),
        click.option("--parallel", type=click.IntRange(1), default=None, help="Hosts at work at once."),
    ):
        with_which = option(with_which)
    return with_which


@cli.command(
    "run",
    epilog="""\b
Examples:
  bench run                                        plan quick on the hosts in hosts.yaml
  bench run return --tag bare-metal --wait         every host with this tag; first waits for those in use
  bench run return --host lab-1 --blocks 5
  bench run quick --set guest.memory=1G --set workloads.0.touch=60%
  bench run quick --arm none --arm reporting --seed 7 --out results/mine
  bench run --dry-run                              jobs and QEMU lines, nothing booted
  bench run --resume results/20260101-120000-quick
\b
"""
    + EXIT_CODES,
)
@click.argument("plan", default="quick")
@click.option("--host", "hosts", multiple=True, help="Run on this host of hosts.yaml; default: on all.")
@click.option("--tag", "tags", multiple=True, help="Run on the hosts with this tag.")
@click.option("--hosts-file", type=click.Path(path_type=Path), default=None, help="Instead of ./hosts.yaml.")
@click.option("--parallel", type=click.IntRange(1), default=None, help="Hosts at work at once; default: the plan's.")
@click.option("--wait", is_flag=True, help="Wait for a host on which another bench runs, instead of failing.")
@click.option("--arm", "arms", multiple=True, help="Only these arms (the reference arm always stays).")
@click.option("--workload", "workloads", multiple=True, help="Only these workloads.")
@click.option("--variant", default=None, help="A variant of the plan; by default by accelerator.")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Change a key, as guest.memory=1G.")
@click.option("--blocks", type=int, default=None, help="Blocks: one boot of every arm each.")
@click.option("--seed", type=int, default=None, help="Seed of the order in the blocks.")
@click.option("--out", type=click.Path(path_type=Path), default=None, help="Run folder; default results/<time>-<plan>.")
@click.option("--resume", type=click.Path(path_type=Path), default=None, metavar="RUN", help="Finish this run folder.")
@click.option("--dry-run", is_flag=True, help="Print the jobs and their QEMU lines, boot nothing.")
@click.option("--json", "as_json", is_flag=True, help="Events on stdout, one JSON object a line.")
@click.pass_context
def run_command(context: click.Context, /, plan: str, resume: Path | None, **options: Any) -> None:
    """Run PLAN (a shipped name or a file) and render its report; the last line of stdout is the run folder."""
    from bench.commands import running
    from bench.controller.plan import Options

    if resume is not None:
        _check_resume(context)
    what = {name: options.pop(name) for name in ("variant", "sets", "arms", "workloads", "blocks", "seed")}
    how = running.How(**options)
    if resume is not None:
        running.resume(resume, how)
    else:
        running.run(plan, Options(**what), how)


def _check_resume(context: click.Context) -> None:
    """Raises InputError for what a run that is resumed has fixed already: it must not seem to have changed it."""
    given = [
        parameter.opts[0] if isinstance(parameter, click.Option) else str(parameter.name).upper()
        for parameter in context.command.params
        if parameter.name not in WITH_RESUME
        and context.get_parameter_source(str(parameter.name)) is click.core.ParameterSource.COMMANDLINE
    ]
    if given:
        raise InputError(
            f"{', '.join(given)}: not with --resume, which goes on with the plan and the hosts of the run; "
            "leave it out, or start a new run"
        )


@cli.command(
    "prepare",
    epilog="""\b
Examples:
  bench prepare --dry-run
  bench prepare local --yes
  bench prepare lab-1 --backports             then an arm may say kernel: named:backports, qemu: named:backports
  bench prepare --tag bare-metal --standard-kernel
\b
What has a name is unpacked into the cache, not installed. Exit code 5 where its source could not be reached.""",
)
@_which_hosts
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Say what would be installed, change nothing.")
@click.option(OPTIONS["backports"], is_flag=True, help="Debian: newer kernel and QEMU too, as named:backports.")
@click.option(OPTIONS["standard"], is_flag=True, help="The kernel for any machine too, as named:standard.")
def prepare_command(*, backports: bool, standard_kernel: bool, **options: Any) -> None:
    """Install what is missing: QEMU by the package manager, a guest kernel into the cache. Overwrites nothing.

    Says what it will do on each host before it does it; root is used for the package manager alone (become: sudo).
    """
    from bench.commands.hosts import prepare

    wanted = {"backports": backports, "standard": standard_kernel}
    prepare(**options, named=[name for name, is_wanted in wanted.items() if is_wanted])


@cli.command("doctor", epilog="\b\nExamples:\n  bench doctor\n  bench doctor lab-1 lab-2 --json")
@_which_hosts
@click.option("--all", "everything", is_flag=True, help="What is fine too, where there are several hosts.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def doctor_command(**options: Any) -> None:
    """What every host is, what is missing or noisy, and the command that mends it; boots a canary guest."""
    from bench.commands.hosts import doctor

    sys.exit(doctor(**options))


@cli.group(
    "tune",
    epilog="""\b
Examples:
  bench tune show                      what is, and what would be quiet
  bench tune apply --tag bare-metal    until `restore`; a run can do it by itself (tune: true in its plan)
  bench tune apply lab-1 --only governor --only boost
  bench tune restore                   what was read is what is restored, also after a crash""",
)
def tune_group() -> None:
    """Settings of hosts that move results: show them, make them quiet, put back what was read."""


def _add_tune(action: str, text: str, example: str) -> None:
    @_which_hosts
    @click.option("--only", "names", multiple=True, help="Only this setting; may be given again.")
    @click.option("--json", "as_json", is_flag=True, help="For programs.")
    def command(**options: Any) -> None:
        from bench.commands.hosts import tune

        tune(action=action, **options)

    tune_group.command(action, help=text, epilog=f"\b\nExamples:\n  {example}")(command)


_add_tune("show", "Show every setting, and what would be quiet.", "bench tune show lab-1 --json")
_add_tune("apply", "Make the settings quiet until `restore`.", "bench tune apply --only governor")
_add_tune("restore", "Put back what was read before.", "bench tune restore")


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
    from bench.commands.reporting import report

    click.echo(report(run))


@cli.command(
    "compare",
    epilog="\b\nExamples:\n  bench compare results/20260101-120000-quick\n"
    "  bench compare results/20260101-120000-overhead --format lkml > table.txt",
)
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(["text", "lkml", "json"]), default="text", show_default=True)
def compare_command(run: Path, form: str) -> None:
    """Compare the arms of RUN: as a table, as text for a mail (75 columns), or for programs."""
    from bench.commands.reporting import compare

    click.echo(compare(run, form), nl=False)


def _add_memtouch() -> None:
    from workloads.memtouch.cli import memtouch

    cli.add_command(memtouch)


def main(argv: list[str] | None = None) -> int:
    """Runs one command; the only place where an exception becomes an exit code."""
    signal.signal(signal.SIGTERM, _interrupt)
    _allow_many_files()
    _add_memtouch()
    return _flushed(_run(argv))


def _allow_many_files() -> None:
    """A host takes two descriptors and more; the usual soft limit of 1024 is for programs that use select()."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, FILES)), hard))


def _run(argv: list[str] | None) -> int:
    try:
        cli.main(args=argv, prog_name="bench", standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt):
        return _fail(Interrupted("interrupted"))
    except click.ClickException as error:
        error.show()
        return InputError.exit_code
    except click.exceptions.Exit as error:
        return int(error.exit_code)
    except BenchError as error:
        return _fail(error)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 1
    return 0


def _flushed(code: int) -> int:
    """The exit code after everything was written, also what nobody reads any more: no word of that at the very end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return code


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _fail(error: BenchError) -> int:
    # A line that begins with `file:line:` stays as it is: editors and terminals make it a link.
    text = str(error) if isinstance(error, InputError) else f"bench: {error}"
    with suppress(OSError):
        # Part of it came from a host: it must do nothing to the terminal.
        print("\n".join(printable(line) for line in text.splitlines()), file=sys.stderr, flush=True)
    return error.exit_code
