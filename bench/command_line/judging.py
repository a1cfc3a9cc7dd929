"""`bench gate`: a run against the rules of its plan, as an exit code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bench.command_line.exit_codes import JUDGING

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


COMMANDS = (gate_command,)
