"""The command `nextframe`: arguments in, one exit code out; bad input ends in one line on stderr.

Which command lies where is a table, and a command's module is imported when the command is asked for: importing this
one imports neither a command nor what it needs. Exit codes: 0 met, 1 a target was missed, 2 could not measure, or bad
input, 3 recovered with loss, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import typer
import typer.core
import typer.main

from ..core import NextframeError
from .output import CRASHED, keep_crash, use_lasting_output

COMMANDS = {
    "play": "sessions:play",
    "run": "sessions:run",
    "replay": "recordings:replay",
    "synctest": "checks:synctest",
    "saves": "recordings:saves",
    "report": "recordings:report",
    "audit": "checks:audit",
    "worlds": "checks:worlds",
    "doctor": "checks:doctor",
    "bench": "checks:bench",
    "plan": "planning:plan",
    "train": "making:train",
    "eval": "making:evaluate",
}
"""In the order of the help screen: a command's name, then the module of this package and the function in it."""

# Its name in typer's own namespace, or click's in older releases; both stand behind the public BadParameter.
UsageProblem: type[Any] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


def _plain(help_option: Any) -> Any:
    """`--help` as a flag like any other on the help screen."""
    if help_option is not None:
        help_option.metavar = ""
    return help_option


class Command(typer.core.TyperCommand):
    def get_help_option(self, ctx: Any) -> Any:
        return _plain(super().get_help_option(ctx))


class LazyCommands(typer.core.TyperGroup):
    """The commands of the table, each imported when it is asked for."""

    def get_help_option(self, ctx: Any) -> Any:
        return _plain(super().get_help_option(ctx))

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        module, _, function = COMMANDS[cmd_name].partition(":")
        one = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        one.command(name=cmd_name, cls=Command)(getattr(import_module(f".{module}", __package__), function))
        return typer.main.get_command(one)


app = typer.Typer(name="nextframe", cls=LazyCommands, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def nextframe() -> None:
    """A game engine for neural worlds: live input in, generated frames out, on time."""


def main(arguments: Sequence[str] | None = None) -> None:
    """The console entry point: run a command and exit with its code."""
    from ..session.startup import process_start_ns
    from ..session.terminal import ended_like_ctrl_c

    started_ns = process_start_ns()
    use_lasting_output()
    with ended_like_ctrl_c():
        code = run_command(arguments, started_ns=started_ns)
    sys.exit(code)


def run_command(arguments: Sequence[str] | None = None, *, started_ns: int | None = None) -> int:
    """Run one command; whatever the user got wrong is one line on stderr and a code.

    `started_ns`: when the wait for the first frame began, on the monotonic clock; now when not given.
    """
    words = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        code = app(args=words, standalone_mode=False, obj=started_ns)
        sys.stdout.flush()
    except NextframeError as error:
        return _complain(str(error), error.exit_code)
    except UsageProblem as error:
        return _complain(f"{error.format_message().rstrip('.')}; see nextframe --help", 2)
    except (KeyboardInterrupt, typer.Abort):
        return _complain("stopped", 130)
    except Exception as error:  # noqa: BLE001 - the outermost place: whatever it is, it is not "a target was missed"
        kept = keep_crash(error)
        return _complain(f"crashed with {type(error).__name__}: {str(error)[:300]}; details are in {kept}", CRASHED)
    return code if isinstance(code, int) else 0


def _complain(message: str, code: int) -> int:
    print(f"nextframe: {' '.join(message.split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
