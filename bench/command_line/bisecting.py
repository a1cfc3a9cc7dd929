"""`bench bisect`, and the step of it that `git bisect run` calls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bench.errors import InputError

NEEDED = ("repo", "good", "bad", "metric", "build")
# The parameters that say how, and not what.
WITH_RESUME = ("resume", "wait", "keep")


@click.command(
    "bisect",
    epilog="""\b
Examples:
  bench bisect --repo ~/linux --good v6.11 --bad v6.12 --metric residual_bytes \\
      --build 'make -j8 bzImage' --kernel arch/x86/boot/bzImage --host lab-1
  bench bisect --repo ~/qemu --good v9.0.0 --bad v9.1.0 --metric qemu_cpu_s \\
      --build 'make -C build -j8' --qemu build/qemu-system-x86_64 --plan return
  bench bisect --resume results/20260101-120000-bisect
\b
BENCH_BISECT_REPO (the folder of --repo) and BENCH_BISECT_COMMIT are in the environment of the build.
\b
Exit codes: 1 the commit was found, 2 wrong use or a build that fails, 3 it cannot be told, 4 invalid (the mechanism
was not seen working), 5 the lab failed (go on with --resume), 130 interrupted (the same).""",
)
@click.option("--repo", type=click.Path(path_type=Path), help="The git checkout; nothing in it is changed.")
@click.option("--good", metavar="REV", help="A commit before it became worse; every other is measured against it.")
@click.option("--bad", metavar="REV", help="A later one at which it is worse.")
@click.option("--metric", metavar="NAME", help="The metric that became worse; its margin is the plan's.")
@click.option("--build", metavar="COMMAND", help="Run at the top of each checkout, without a shell.")
@click.option("--kernel", metavar="PATH", help="The guest kernel that the build makes, from the top of the tree.")
@click.option("--modules", metavar="PATH", help="The folder of its modules, where it has some that a guest needs.")
@click.option("--qemu", metavar="PATH", help="The QEMU that the build makes; only for a host that is this machine.")
@click.option("--plan", default="quick", show_default=True, help="What is run: a shipped name or a file.")
@click.option("--workload", default=None, help="Of the plan; default: the only one that gives the metric.")
@click.option("--arm", default=None, help="Of the plan; default: reporting, or the last one.")
@click.option("--host", default=None, help="The host of hosts.yaml; default: the only one.")
@click.option("--hosts-file", type=click.Path(path_type=Path), default=None, help="Instead of ./hosts.yaml.")
@click.option("--variant", default=None, help="A variant of the plan; by default by accelerator.")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Change a key of the plan.")
@click.option(
    "--blocks",
    type=click.IntRange(1),
    default=3,
    show_default=True,
    help="Blocks after which a commit is looked at first.",
)
@click.option(
    "--most-blocks",
    type=click.IntRange(1),
    default=15,
    show_default=True,
    help="The most, for one that stays undecided.",
)
@click.option("--seed", type=int, default=None, help="Seed of the order in the blocks.")
@click.option("--out", type=click.Path(path_type=Path), default=None, help="Its folder; default results/<time>-bisect.")
@click.option("--resume", type=click.Path(path_type=Path), default=None, metavar="DIR", help="Go on with this folder.")
@click.option("--wait", is_flag=True, help="Wait for a host on which another bench runs, instead of failing.")
@click.option("--keep", is_flag=True, help="Keep the worktrees and what was built in them.")
@click.pass_context
def bisect_command(
    context: click.Context, /, resume: Path | None, out: Path | None, wait: bool, keep: bool, **options: Any
) -> None:
    """Find the commit of a kernel or QEMU tree that made a metric worse.

    Every commit that `git bisect` asks for is built in a checkout of its own, and measured against the good one in
    the same blocks. Prints the commit, and a table of all that were measured.
    """
    from bench.commands import bisect
    from bench.commands.bisect_ask import Request

    how = bisect.How(wait=wait, keep=keep)
    if resume is not None:
        _check_resume(context)
        click.echo(bisect.resume(resume, how), nl=False)
    else:
        missing = [f"--{name}" for name in NEEDED if not options[name]]
        if missing:
            raise InputError(f"{', '.join(missing)}: missing; `bench bisect --help` has examples")
        click.echo(bisect.bisect(Request(**options), out, how), nl=False)
    context.exit(1)


def _check_resume(context: click.Context) -> None:
    """Raises InputError for what a bisection that is resumed has fixed already."""
    given = [
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.name not in WITH_RESUME
        and context.get_parameter_source(str(parameter.name)) is click.core.ParameterSource.COMMANDLINE
    ]
    if given:
        raise InputError(
            f"{', '.join(given)}: not with --resume, which goes on with what was asked; leave it out, or begin anew"
        )


@click.command(
    "bisect-step",
    hidden=True,
    epilog="\b\nExamples:\n  bench bisect-step results/20260101-120000-bisect     by `git bisect run`, never by hand",
)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--wait", is_flag=True, help="As for bench bisect.")
@click.pass_context
def bisect_step_command(context: click.Context, /, folder: Path, wait: bool) -> None:
    """Build and measure the commit that is checked out; the exit code is the one that `git bisect run` asks for."""
    from bench.commands.bisect_step import main

    context.exit(main(folder, wait=wait))


COMMANDS = (bisect_command, bisect_step_command)
