"""Write `src/tachyscope/target/opcodes/v3*.py` from what each interpreter says about its instructions.

    python scripts/generate_opcodes.py                  rewrite the tables of all versions found
    python scripts/generate_opcodes.py --check          exit status 1 and a diff when one is out of date
    python scripts/generate_opcodes.py --python PATH    only these interpreters

The interpreters are those that `scripts/interpreters.sh list` knows. Numbers do not change between patch releases.
"""

from __future__ import annotations

import argparse
import difflib
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "src" / "tachyscope" / "target" / "opcodes"
TIMEOUT_SECONDS = 60

QUESTION = """
import dis, json, opcode, sys
numbers = {name: number for name, number in getattr(dis, "_all_opmap", dis.opmap).items() if number < 256}
bases = dict(getattr(dis, "deoptmap", {}))
caches = getattr(opcode, "_inline_cache_entries", {})
if not hasattr(caches, "items"):
    caches = {opcode.opname[number]: count for number, count in enumerate(caches)}
print(json.dumps([sys.version_info[:2], numbers, bases, dict(caches)]))
"""
"""`dis` knows the specialised forms (3.11+), too; `opcode` how much cache follows (a list to 3.12)."""

INSTRUMENTED = "INSTRUMENTED_"
EXECUTOR = {"ENTER_EXECUTOR": "JUMP_BACKWARD"}
"""What the just-in-time compiler writes over the end of a loop, and what stood there."""

HEAD = '''"""The instructions of CPython {version}: number, then name, base form, units of inline cache.

Written by scripts/generate_opcodes.py; do not edit.
"""

INSTRUCTIONS = {{
'''


def table_of(python: Path) -> tuple[str, str]:
    """Return the version of an interpreter, such as `3.12`, and the text of its module."""
    asked = subprocess.run(
        [python, "-c", QUESTION], capture_output=True, timeout=TIMEOUT_SECONDS, check=True, text=True
    )
    version, numbers, bases, caches = json.loads(asked.stdout)
    text = HEAD.format(version=".".join(map(str, version)))
    for name, number in sorted(numbers.items(), key=lambda item: item[1]):
        base = bases.get(name) or EXECUTOR.get(name) or name
        if name.startswith(INSTRUMENTED) and name.removeprefix(INSTRUMENTED) in numbers:
            base = name.removeprefix(INSTRUMENTED)
        text += f'    {number}: ("{name}", "{base}", {caches.get(base, 0)}),\n'
    return ".".join(map(str, version)), text + "}\n"


def found_interpreters() -> Iterator[Path]:
    """Yield one interpreter per version, of those that run without chroot."""
    listed = subprocess.run(
        [ROOT / "scripts" / "interpreters.sh", "list"],
        capture_output=True,
        timeout=TIMEOUT_SECONDS,
        check=True,
        text=True,
    )
    found: dict[str, Path] = {}
    for line in listed.stdout.splitlines():
        version, _, *command = line.split()
        if len(command) == 1:
            found.setdefault(re.match(r"3\.\d+", version)[0], Path(command[0]))  # type: ignore[index]
    yield from found.values()


def is_current(path: Path, text: str) -> bool:
    """Compare a module with what it should be, and print what differs."""
    old = path.read_text() if path.exists() else ""
    sys.stdout.writelines(difflib.unified_diff(old.splitlines(True), text.splitlines(True), str(path), "generated"))
    return old == text


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--python", type=Path, action="append")
    options = parser.parse_args(arguments)
    current = True
    for python in options.python or found_interpreters():
        version, text = table_of(python)
        path = OUTPUT / f"v{version.replace('.', '')}.py"
        if options.check:
            current = is_current(path, text) and current
        else:
            path.write_text(text)
    return 0 if current else 1


if __name__ == "__main__":
    sys.exit(main())
