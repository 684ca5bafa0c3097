"""The parsers of all commands, and the split between our options and the program's words."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NoReturn

from tachyscope.cli import attach, doctor, run
from tachyscope.cli.messages import standard_output
from tachyscope.errors import UsageError
from tachyscope.target.launch import Kind, Program

COMMANDS = (run, attach, doctor)
"""One module per command; each has NAME, SUMMARY, `configure(parser)` and `execute(options) -> exit status`."""

_DESCRIPTION = """Watch a running Python program from the outside and show where its time goes.
The program is not changed, not paused unless asked for, and needs no preparation."""


class _Version(argparse.Action):
    """Prints the version; it is looked up only then, as that takes longer than all other parsing."""

    def __call__(self, parser: argparse.ArgumentParser, *unused: object) -> None:
        """Print and leave."""
        from importlib.metadata import version

        with standard_output() as stream:
            print(f"tachyscope {version('tachyscope')}", file=stream)
        parser.exit()


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are ours: one line, exit status 2."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage and leaving."""
        raise UsageError(message, f"see {self.prog} --help")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options, with `execute` set to the command's function, and `program` for `run`."""
    parser = Parser(prog="tachyscope", description=_DESCRIPTION, allow_abbrev=False)
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and leave")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    parsers = {}
    for command in COMMANDS:
        parsers[command.NAME] = commands.add_parser(
            command.NAME,
            help=command.SUMMARY,
            description=command.DESCRIPTION,
            usage=command.USAGE,
            allow_abbrev=False,
        )
        command.configure(parsers[command.NAME])
        parsers[command.NAME].set_defaults(execute=command.execute)
    name = arguments[0] if arguments else ""
    if name == run.NAME:
        own, program = split(arguments[1:], parsers[name])
        return parsers[name].parse_args(own, argparse.Namespace(program=program))
    if name in parsers:
        return parsers[name].parse_args(arguments[1:])
    if name and not name.startswith("-"):
        raise UsageError(f"no command {name!r}, only {', '.join(parsers)}", f"perhaps: tachyscope run {name}")
    return parser.parse_args(arguments)


def split(arguments: Sequence[str], parser: argparse.ArgumentParser) -> tuple[list[str], Program | None]:
    """Split the words after `run` into our options and the program: everything from its name on is its own."""
    takes_value = {name: action.nargs != 0 for action in parser._actions for name in action.option_strings}
    at = 0
    while at < len(arguments):
        word = arguments[at]
        program = _program_at(arguments, at)
        if program is not None:
            return list(arguments[:at]), program
        at += 2 if takes_value.get(word, False) else 1
    return list(arguments), None


def _program_at(arguments: Sequence[str], at: int) -> Program | None:
    """Return the program if its name begins at this word, None if the word is an option of ours."""
    word, rest = arguments[at], tuple(arguments[at + 1 :])
    if word == "--":
        return _named(Kind.COMMAND, rest, "-- needs a command")
    for letter, kind, what in (("-m", Kind.MODULE, "a module"), ("-c", Kind.CODE, "code")):
        if word.startswith(letter):
            words = (word[2:], *rest) if len(word) > 2 else rest
            return _named(kind, words, f"{letter} needs {what}")
    if not word.startswith("-") or word == "-":
        return Program(Kind.PATH, (word, *rest))
    return None


def _named(kind: Kind, words: tuple[str, ...], problem: str) -> Program:
    if not words:
        raise UsageError(problem, "name what to run")
    return Program(kind, words)
