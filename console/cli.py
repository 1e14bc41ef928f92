"""`yumai`: finds the command asked for, reads its arguments and runs it.

A module of this package offers commands by one function:

    def register(subparsers):
        parser = subparsers.add_parser("send", help="send files to the HTTP door")
        parser.add_argument("files", nargs="+", type=Path)
        parser.set_defaults(run=send)       # send(args: argparse.Namespace) -> int | None, the exit code

and is named in `COMMANDS`. Every parser (nested ones too) has `--state DIR` and `--json` by itself:
`args.state` is a `Path`, `args.json` a `bool`. A `console.cli.Refusal` raised by `run` ends the command with
its message on standard error and exit code 2, without a traceback.
"""

import argparse
import importlib
import sys
from collections.abc import Sequence
from datetime import date
from importlib.util import find_spec
from pathlib import Path

from contracts.days import book_day
from yumai import terminal

DEFAULT_STATE = ".yumai"

# Which module offers which command. Only the module of the command asked for is imported: `yumai status` must not
# wait for what `simulate` needs.
COMMANDS = {
    "up": "console.commands.up",
    "status": "console.commands.status",
    "scale": "console.commands.scale",
    "simulate": "console.commands.simulate",
    "send": "console.commands.send",
    "keys": "console.commands.identity",
    "token": "console.commands.identity",
    "alerts": "console.commands.alerts",
    "canary": "console.commands.canary",
    "audit": "console.commands.books",
    "receipts": "console.commands.books",
    "dead-letters": "console.commands.books",
    "backup": "console.commands.backup",
    "restore": "console.commands.backup",
    "housekeeping": "console.commands.housekeeping",
    "targets": "console.commands.targets",
    "progress": "console.commands.progress",
    "backtest": "console.commands.backtest",
}


class Refusal(Exception):
    """The command can't do what was asked; its text says why and what to do."""

    def __init__(self, message: str, exit_code: int = 2) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def day(text: str) -> date:
    """An option's type: a day that the books can hold."""
    try:
        return book_day(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from None


class Parser(argparse.ArgumentParser):
    """A parser that knows the options every command has, wherever they stand on the line."""

    def __init__(self, *args, **kwargs) -> None:  # type: ignore[no-untyped-def]
        kwargs.setdefault("conflict_handler", "resolve")
        super().__init__(*args, **kwargs)
        # SUPPRESS: a nested parser's default would overwrite what stood before the nested command.
        self.add_argument(
            "--state",
            type=Path,
            metavar="DIR",
            default=argparse.SUPPRESS,
            help=f"state directory (default: {DEFAULT_STATE} here)",
        )
        self.add_argument(
            "--json", action="store_true", default=argparse.SUPPRESS, help="print data as JSON"
        )


def build_parser(modules: Sequence[str]) -> argparse.ArgumentParser:
    parser = Parser(prog="yumai", description="Yumai: consumption figures that agree to the fen.")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in modules:
        if find_spec(module) is None:
            continue
        register = getattr(importlib.import_module(module), "register", None)
        if register is not None:
            register(subparsers)
    return parser


def modules_for(arguments: Sequence[str]) -> list[str]:
    """The module of the first word that is a command, else all of them (for help and for error messages)."""
    for word in arguments:
        if word in COMMANDS and find_spec(COMMANDS[word]) is not None:
            return [COMMANDS[word]]
    return list(dict.fromkeys(COMMANDS.values()))


def main(arguments: Sequence[str] | None = None) -> int:
    with terminal.printing():
        return _run(arguments)


def _run(arguments: Sequence[str] | None) -> int:
    words = list(sys.argv[1:] if arguments is None else arguments)
    args = build_parser(modules_for(words)).parse_args(words)
    args.state = Path(getattr(args, "state", DEFAULT_STATE))
    args.json = getattr(args, "json", False)
    try:
        return args.run(args) or 0
    except Refusal as refusal:
        print(f"yumai: {refusal}", file=sys.stderr)
        return refusal.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # `yumai … | head`: the reader has closed the pipe.
        sys.stdout = None  # type: ignore[assignment]
        return 141
    except OSError as error:
        if error.filename is None:
            raise
        # A directory that can't be made, a file that may not be read: nothing for a traceback.
        print(f"yumai: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
