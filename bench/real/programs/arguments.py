"""argparse: parsers with subcommands are built, a few command lines parsed and the help formatted."""

from __future__ import annotations

import argparse
from collections.abc import Callable

COMMANDS = ("add", "list", "remove")
LINES = (
    ["-v", "add", "--name", "x", "--size=3", "a", "b", "c"],
    ["list", "--json", "one"],
    ["--level", "5", "remove", "-s", "9", "z"],
)


def build() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tool", description="Does this and that, and a little more if asked to.")
    parser.add_argument("-v", "--verbose", action="store_true", help="say more")
    parser.add_argument("--level", type=int, default=1, help="from 1 to 9 (default: %(default)s)")
    commands = parser.add_subparsers(dest="command")
    for name in COMMANDS:
        command = commands.add_parser(name, help=f"to {name} something")
        group = command.add_mutually_exclusive_group()
        group.add_argument("--json", action="store_true", help="as JSON")
        group.add_argument("-n", "--name", help="under that name")
        command.add_argument("-s", "--size", type=int, help="in bytes, a whole number that is not negative")
        command.add_argument("paths", nargs="+", help="files")
    return parser


def setup() -> Callable[[], object]:
    def iterate() -> None:
        for _ in range(3):
            parser = build()
            for line in LINES:
                parser.parse_args(line)
            parser.format_help()

    return iterate
