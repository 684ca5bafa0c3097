"""Every host with every target: the same wheel, the truth tests of the unwinder, a table of the cells.

    python scripts/matrix.py            print the table; exit status 1 if a cell fails
    python scripts/matrix.py --write    also put it into docs/targets.md

Hosts are the interpreters from 3.10 on that tests/support.py finds, targets all of them. `TACHYSCOPE_WHEEL` names the
wheel to install; without it one is built.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from support import INTERPRETERS  # noqa: E402

TESTS = (
    "tests/test_unwinder.py",
    "tests/test_core.py::test_reused_addresses_get_their_own_names",
    "tests/test_threads.py::test_every_thread_has_its_own_stack",
    "tests/test_threads.py::test_names_and_kernel_ids",
    "tests/test_threads.py::test_threads_come_and_go",
)
NEEDED = ("pytest", "pytest-timeout", "hypothesis")
DOCUMENT = ROOT / "docs" / "targets.md"
MARKS = ("<!-- matrix -->\n", "<!-- /matrix -->\n")
TARGET = re.compile(r"[\[-]py(3\.\d+(?:-system)?)[-\]]")

Cells = dict[str, tuple[int, int]]  # target -> tests passed, tests failed


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all cells; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help="put the table into docs/targets.md")
    options = parser.parse_args(arguments)
    hosts = {name: path for name, path in INTERPRETERS.items() if _minor(name) >= 10 and "-" not in name}
    with tempfile.TemporaryDirectory() as folder:
        wheel = _wheel(Path(folder))
        rows = {name: run(path, wheel, Path(folder, name)) for name, path in hosts.items()}
    text = table(rows)
    print(text, end="")
    if options.write:
        before, _, rest = DOCUMENT.read_text().partition(MARKS[0])
        DOCUMENT.write_text(before + MARKS[0] + "\n" + text + "\n" + MARKS[1] + rest.partition(MARKS[1])[2])
    complete = all(set(cells) == set(INTERPRETERS) for cells in rows.values())
    return 0 if complete and not any(failed for cells in rows.values() for _, failed in cells.values()) else 1


def run(host: Path, wheel: Path, folder: Path) -> Cells:
    """Install the wheel for one host and run the tests there."""
    subprocess.run([host, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", str(wheel), *NEEDED]
    subprocess.run(install, check=True)
    report = folder / "report.xml"
    command = [str(python), "-m", "pytest", "-q", f"--junitxml={report}", *TESTS]
    subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    return cells_of(report)


def cells_of(report: Path) -> Cells:
    """Count the tests of each target in a JUnit report."""
    cells: Cells = {}
    for case in ElementTree.parse(report).iter("testcase"):
        match = TARGET.search(case.get("name", ""))
        if match is None or case.find("skipped") is not None:
            continue
        failed = case.find("failure") is not None or case.find("error") is not None
        if failed:
            print(f"failed: {case.get('name')}", file=sys.stderr)
        passed, failures = cells.get(match[1], (0, 0))
        cells[match[1]] = (passed + (not failed), failures + failed)
    return cells


def table(rows: dict[str, Cells]) -> str:
    """Return a Markdown table: hosts down, targets across, tests passed or what failed in each cell."""
    lines = ["| host \\ target | " + " | ".join(INTERPRETERS) + " |", "| --- " * (len(INTERPRETERS) + 1) + "|"]
    for host, cells in rows.items():
        texts = [_cell(cells.get(target)) for target in INTERPRETERS]
        lines.append(f"| {host} | " + " | ".join(texts) + " |")
    return "\n".join(lines) + "\n"


def _cell(counts: tuple[int, int] | None) -> str:
    if counts is None:
        return "not run"
    passed, failed = counts
    return f"{failed} of {passed + failed} fail" if failed else f"{passed} pass"


def _minor(name: str) -> int:
    return int(name.partition("-")[0].partition(".")[2])


def _wheel(folder: Path) -> Path:
    given = os.environ.get("TACHYSCOPE_WHEEL")
    if given:
        return Path(given)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True)
    return next(folder.glob("*.whl"))


if __name__ == "__main__":
    sys.exit(main())
