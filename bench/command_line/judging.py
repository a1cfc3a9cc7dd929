"""`bench gate` and `bench selftest`: a run against the rules of its plan, and what rules a host can carry."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from bench.command_line.exit_codes import EXIT_CODES, JUDGING

FORMS = ("text", "markdown", "mail", "junit", "github", "gitlab", "json")


@click.command(
    "gate",
    epilog="""\b
Examples:
  bench gate results/20260101-120000-quick
  bench gate results/head --on-undecided fail
  bench gate results/head --format github           annotations beside the log of a job
  bench gate results/head --no-confirm              no fresh boots: what is worse is 3, not 1
\b
"""
    + JUDGING,
)
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--no-confirm", is_flag=True, help="Boot nothing; what is worse stays unconfirmed (exit code 3).")
@click.option(
    "--on-undecided", type=click.Choice(["pass", "fail"]), default=None, help="Instead of what the plan says."
)
@click.option("--format", "form", type=click.Choice(FORMS), default="text", show_default=True)
@click.option("--wait", is_flag=True, help="Wait for a host on which another bench runs, instead of failing.")
def gate_command(run: Path, no_confirm: bool, on_undecided: str | None, **options: Any) -> None:
    """Judge RUN by the rules of its plan. What is worse is measured again with fresh boots before it counts.

    Leaves gate.json, gate.junit.xml, gate.md, gate.txt (for a mail) and gate.codequality.json in RUN, and the answer on
    its page.
    """
    from bench.commands.gate import Asked, gate

    text, error = gate(run, Asked(confirm=not no_confirm, on_undecided=on_undecided or "", **options))
    click.echo(text, nl=False)
    if error is not None:
        raise error


@click.command(
    "selftest",
    epilog="""\b
Examples:
  bench selftest --aa                               plan gate: the arm that reports, twice, on every host
  bench selftest --aa lab-1 --plan overhead --arm reporting --blocks 30
\b
"""
    + EXIT_CODES,
)
@click.argument("hosts", nargs=-1, metavar="[HOST]...")
@click.option("--aa", is_flag=True, required=True, help="The same arm against itself.")
@click.option("--plan", default="gate", show_default=True, help="A shipped plan or a file: the one that will gate.")
@click.option("--arm", default="", help="The arm that is run twice; default: the first one that reports.")
@click.option("--blocks", type=int, default=None, help="Blocks; default: as many as a gate takes at most.")
@click.option("--variant", default=None, help="A variant of the plan; by default by accelerator.")
@click.option("--workload", "workloads", multiple=True, help="Only these workloads.")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Change a key, as guest.memory=1G.")
@click.option("--tag", "tags", multiple=True, help="Only hosts with this tag.")
@click.option("--hosts-file", type=click.Path(path_type=Path), default=None, help="Instead of ./hosts.yaml.")
@click.option("--out", type=click.Path(path_type=Path), default=None, help="Run folder; default results/<time>-…")
@click.option("--wait", is_flag=True, help="Wait for a host on which another bench runs, instead of failing.")
def selftest_command(aa: bool, plan: str, arm: str, **options: Any) -> None:
    """Measure the noise floor of each HOST: what a gate can see there, and how often it would be wrong.

    Boots one arm twice a block, as many blocks as a gate of the plan takes at most. What it finds is kept under the
    fingerprint of the host, and gates and pages of later runs quote it.
    """
    del aa
    from bench.commands.running import How
    from bench.commands.selftest import Trial, selftest
    from bench.controller.plan import Options

    what = {field.name: options.pop(field.name) for field in dataclasses.fields(Options) if field.name in options}
    click.echo(selftest(Trial(plan, arm, Options(**what), How(**options))), nl=False)


COMMANDS = (gate_command, selftest_command)
