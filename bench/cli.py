"""The composition root: the commands put together, exceptions turned into exit codes.

Messages go to stderr, data to stdout.
"""

from __future__ import annotations

import signal
import sys
from contextlib import suppress

import click

from bench.command_line import bisecting, hosts, judging, measuring, results
from bench.commands.stage import allow_many_files, flushed
from bench.commands.tidy import tidy
from bench.errors import BenchError, InputError, Interrupted
from bench.wire.units import printable

FAMILIES = (measuring.COMMANDS, hosts.COMMANDS, results.COMMANDS, judging.COMMANDS, bisecting.COMMANDS)


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="""\b
Examples:
  bench prepare local          install QEMU, fetch a guest kernel
  bench doctor                 what this machine is, and what would make its numbers noisy
  bench run                    plan `quick`: guests with and without reporting, a verdict and a page
  bench list plans
\b
Exit codes: 0 fine, 1 regression (gate, bisect), 2 wrong use or file, 3 undecided (gate, bisect), 4 invalid,
5 the lab failed, 130 interrupted.""",
)
@click.version_option(package_name="fpr-bench", prog_name="bench")
def cli() -> None:
    """Benchmarks of free page reporting on KVM: memory returned, how fast, at what cost, for what gain."""
    tidy()


for _command in (command for family in FAMILIES for command in family):
    cli.add_command(_command)


def _add_memtouch() -> None:
    from workloads.memtouch.cli import memtouch

    cli.add_command(memtouch)


def main(argv: list[str] | None = None) -> int:
    """Runs one command; the only place where an exception becomes an exit code."""
    signal.signal(signal.SIGTERM, _interrupt)
    allow_many_files()
    _add_memtouch()
    return flushed(_run(argv))


def _run(argv: list[str] | None) -> int:
    try:
        # What a command ended its context with, or what it answered, which is nothing.
        code = cli.main(args=argv, prog_name="bench", standalone_mode=False)
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
    return code if isinstance(code, int) else 0


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _fail(error: BenchError) -> int:
    # A line that begins with `file:line:` stays as it is: editors and terminals make it a link.
    text = str(error) if isinstance(error, InputError) else f"bench: {error}"
    with suppress(OSError):
        # Part of it came from a host: it must do nothing to the terminal.
        print("\n".join(printable(line) for line in text.splitlines()), file=sys.stderr, flush=True)
    return error.exit_code
