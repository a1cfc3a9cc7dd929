"""`bench run`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from bench.command_line.exit_codes import EXIT_CODES
from bench.errors import InputError

# The parameters of `bench run` that say how, and not what.
WITH_RESUME = ("resume", "parallel", "wait", "as_json")


@click.command(
    "run",
    epilog="""\b
Examples:
  bench run                                        plan quick on the hosts in hosts.yaml
  bench run return --tag bare-metal --wait         every host with this tag; first waits for those in use
  bench run return --host lab-1 --blocks 5
  bench run quick --set guest.memory=1G --set workloads.0.touch=60%
  bench run quick --arm none --arm reporting --seed 7 --out results/mine
  bench run quick --head-kernel push:./bzImage     every arm with the host's kernel and with this one
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
@click.option("--base-kernel", default=None, help="Two copies of every arm, base and head; the kernel of the bases.")
@click.option("--head-kernel", default=None, help="The kernel of the heads, as in push:./bzImage.")
@click.option("--base-qemu", default=None, help="The QEMU of the bases, a path on the host.")
@click.option("--head-qemu", default=None, help="The QEMU of the heads.")
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
    what = {field.name: options.pop(field.name) for field in dataclasses.fields(Options) if field.name in options}
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


COMMANDS = (run_command,)
