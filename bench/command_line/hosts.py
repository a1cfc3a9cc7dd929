"""`bench prepare`, `bench doctor` and `bench tune`: the hosts of a lab."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from bench.wire.named import OPTIONS


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


@click.command(
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


@click.command("doctor", epilog="\b\nExamples:\n  bench doctor\n  bench doctor lab-1 lab-2 --json")
@_which_hosts
@click.option("--all", "everything", is_flag=True, help="What is fine too, where there are several hosts.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def doctor_command(**options: Any) -> None:
    """What every host is, what is missing or noisy, and the command that mends it; boots a canary guest."""
    from bench.commands.hosts import doctor

    click.get_current_context().exit(doctor(**options))


@click.group(
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


COMMANDS = (prepare_command, doctor_command, tune_group)
