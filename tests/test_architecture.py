"""The rules of the source tree: imports flow one way, files and functions stay small, registries are complete."""

from __future__ import annotations

import ast
import dataclasses
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO, cast

import pytest
from support import ROOT

from tachyscope import errors, export
from tachyscope._core.batch import Status
from tachyscope.cli.options import FORMAT_OPTIONS
from tachyscope.cli.output import Output
from tachyscope.cli.parser import COMMANDS, parse
from tachyscope.errors import UsageError
from tachyscope.formats import FORMATS, Format, load
from tachyscope.formats.exporter import Exporter
from tachyscope.profile.model import Accuracy, Profile, StackTree, TargetInfo
from tachyscope.target.layouts import KNOWN

SOURCES = ROOT / "src" / "tachyscope"
PYTHON = sorted(SOURCES.rglob("*.py"))
CYTHON = sorted([*SOURCES.rglob("*.pyx"), *SOURCES.rglob("*.pxd")])

MAX_FILE_LINES = 600
MAX_FUNCTION_LINES = 80

MAY_IMPORT = {
    "errors": set(),
    "target": {"errors"},
    "_core": {"errors", "target"},
    "profile": {"errors", "_core"},
    "formats": {"errors", "profile"},
    "sampling": {"errors", "target", "_core", "profile"},
    "api": {"errors", "target", "profile", "formats", "sampling"},
    "__init__": {"errors", "api", "profile"},
    "cli": {"errors", "target", "_core", "profile", "formats", "sampling", "api"},
    "__main__": {"cli"},
}
"""What each part may import besides itself: nothing to the left knows anything to its right."""


def part_of(path: Path) -> str:
    """Return the first folder or module below the package."""
    return path.relative_to(SOURCES).parts[0].removesuffix(".py")


def id_of(path: Path) -> str:
    return str(path.relative_to(SOURCES))


def imports_of(path: Path) -> set[str]:
    """Return the modules of ours that a source file imports, wherever and for whatever it does."""
    if path.suffix != ".py":
        assert not re.search(r"^\s*from\s+\.", path.read_text(), re.MULTILINE), f"{path} has a relative import"
        return set(re.findall(r"^\s*(?:from|cimport|import)\s+(tachyscope[\w.]*)", path.read_text(), re.MULTILINE))
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} is a relative import"
            names = {alias.name for alias in node.names}
            found |= {f"tachyscope.{name}" for name in names} if node.module == "tachyscope" else {str(node.module)}
    return {name for name in found if name.split(".")[0] == "tachyscope"}


@pytest.mark.parametrize("path", [*PYTHON, *CYTHON], ids=id_of)
def test_imports_flow_one_way(path: Path) -> None:
    part = part_of(path)
    parts = {[*name.split("."), "__init__"][1] for name in imports_of(path)}
    assert parts - {part} <= MAY_IMPORT[part]


def module_of(path: Path) -> str:
    """Return the name of the module that a source file is, or is a part of."""
    parts = path.relative_to(SOURCES.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def needs_of(path: Path, modules: set[str]) -> set[str]:
    """Return the modules of ours that a source file needs at run time: what only types need is left out."""
    if path.suffix != ".py":
        return imports_of(path) & modules
    tree, needs = ast.parse(path.read_text()), set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            needs |= names & modules if names & modules else {str(node.module)}
    return needs & modules


def cycles_of(needs: dict[str, set[str]]) -> set[str]:
    """Return the modules that need themselves, by way of others."""
    left = {module: set(others) - {module} for module, others in needs.items()}
    while free := {module for module, others in left.items() if not others & left.keys()}:
        left = {module: others for module, others in left.items() if module not in free}
    used = set[str]().union(*left.values())
    while unused := left.keys() - used:
        left = {module: others for module, others in left.items() if module not in unused}
        used = set[str]().union(*left.values())
    return set(left)


def test_no_module_needs_itself() -> None:
    paths = [*PYTHON, *CYTHON]
    modules = {module_of(path) for path in paths}
    needs: dict[str, set[str]] = {module: set() for module in modules}
    for path in paths:
        needs[module_of(path)] |= needs_of(path, modules)
    assert cycles_of(needs) == set()
    assert "tachyscope._core.sampler" in needs["tachyscope.sampling.attachment"]  # it sees something at all


def test_the_check_sees_cycles() -> None:
    assert cycles_of({"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set()}) == {"b", "c"}


def test_every_module_of_the_core_is_told_of() -> None:
    told = set(re.findall(r"^(\w+)  +\w", (SOURCES / "_core" / "__init__.py").read_text(), re.MULTILINE))
    modules = {path.stem for path in [*PYTHON, *CYTHON] if path.parent.name == "_core"}
    assert told == modules - {"__init__"}


def test_every_part_of_the_tree_has_its_place() -> None:
    assert {part_of(path) for path in [*PYTHON, *CYTHON]} == set(MAY_IMPORT)


def test_the_check_sees_imports() -> None:
    """Known imports of each kind are found, so that the test above does not pass for seeing nothing."""
    assert "tachyscope.profile.model" in imports_of(SOURCES / "sampling" / "process.py")
    assert "tachyscope.errors" in imports_of(SOURCES / "target" / "process.py")
    assert any(name.startswith("tachyscope._core") for path in CYTHON for name in imports_of(path))


# ---- small files and functions ----


@pytest.mark.parametrize("path", [*PYTHON, *CYTHON], ids=id_of)
def test_files_are_small(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MAX_FILE_LINES


def functions_of(path: Path) -> Iterator[tuple[str, int]]:
    """Yield the functions of a source file with their numbers of lines."""
    if path.suffix != ".py":
        yield from _cython_functions(path.read_text().splitlines())
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno is not None
            yield node.name, node.end_lineno - node.lineno + 1


def _cython_functions(lines: list[str]) -> Iterator[tuple[str, int]]:
    """By indentation: a function ends before the next line that is not indented deeper than its head."""
    for start, line in enumerate(lines):
        head = re.match(r"( *)(?:cdef|cpdef|def) (?!class|struct|enum|extern|union|packed)[^=]*?(\w+)\(", line)
        if head is None:
            continue
        end = last = start + 1
        while end < len(lines):
            text = lines[end]
            deeper = text.startswith((head[1] + " ", head[1] + ")"))
            if text.strip() and not deeper:
                break
            last = end + 1 if text.strip() else last
            end += 1
        yield head[2], last - start


@pytest.mark.parametrize("path", [*PYTHON, *CYTHON], ids=id_of)
def test_functions_are_short(path: Path) -> None:
    assert {name: lines for name, lines in functions_of(path) if lines > MAX_FUNCTION_LINES} == {}


def test_the_check_sees_functions_of_cython() -> None:
    source = "cdef class A:\n    cdef int f(\n        int a,\n    ) noexcept nogil:\n        return a\n\nx = 1"
    assert list(_cython_functions(source.splitlines())) == [("f", 4)]
    assert "run" in {name for path in CYTHON for name, _ in functions_of(path)}


# ---- registries ----


def test_status_bits_are_the_same_on_both_sides() -> None:
    """The core and who reads its spans have a table each."""
    bits: dict[str, int] = {}
    for name in ("thread_reader", "spans"):
        body = (SOURCES / "_core" / f"{name}.pxd").read_text().split("cdef enum Status:")[1].split("\n\n")[0]
        bits |= {name: int(value) for name, value in re.findall(r"^ +([A-Z_]+) = (\d+)", body, re.MULTILINE)}
    assert bits.pop("BETWEEN") not in bits.values()  # it does not leave the core
    assert bits == {each.name: each.value for each in Status}


def test_every_layout_module_is_known() -> None:
    """A new version of CPython is one module and one entry."""
    folder = SOURCES / "target" / "layouts"
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__", "debug_offsets"}
    assert set(KNOWN.values()) == modules
    assert {minor: f"v3{minor}" for minor in KNOWN} == KNOWN


def test_every_format_is_registered() -> None:
    """A new format is one module and one entry."""
    folder = SOURCES / "formats"
    modules = {path.stem for path in folder.glob("*.py") if re.search(r"^EXPORTER\b", path.read_text(), re.MULTILINE)}
    assert {form.module for form in FORMATS.values()} == modules
    readme = (SOURCES.parent.parent / "README.md").read_text()
    for name, form in FORMATS.items():
        assert form.name == name
        fields = {field.name for field in dataclasses.fields(load(name).options)}
        assert set(form.options) <= fields & set(FORMAT_OPTIONS)
        if form.help:
            assert parse(["attach", f"--{name}", "1"]).format == name
            assert f"`--{name}`" in readme
        else:
            assert name in {each.in_files for each in FORMATS.values()}


def test_a_new_format_is_a_module_and_an_entry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is in the help, refuses what it has not, has a name for its files, and is there for the Python API."""
    toy = types.ModuleType("tachyscope.formats.toy")

    @dataclasses.dataclass(frozen=True)
    class ToyOptions:
        lines: bool = False

    def write(profile: Profile, stream: TextIO, options: ToyOptions) -> None:
        stream.write(f"{profile.samples} {options.lines}")

    toy.EXPORTER = Exporter(ToyOptions, write)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, toy.__name__, toy)
    monkeypatch.setitem(cast(dict[str, Format], FORMATS), "toy", Format("toy", "toy", "toys", ".toy", help="a toy"))
    with pytest.raises(UsageError, match=r"--sort has no meaning with --toy: leave out --sort, or use --pstats"):
        Output(parse(["attach", "--toy", "--sort", "name", "1"]))
    profile = Profile(TargetInfo(7), Accuracy(100, 0, 0, 0), [], StackTree(), [])
    output = Output(parse(["attach", "--toy", "--lines", "-o", str(tmp_path), "1"]))
    assert output.write(profile) == tmp_path / "toys_7.toy"
    assert (tmp_path / "toys_7.toy").read_text() == "0 True"
    export(profile, "toy", tmp_path / "by_api", lines=False)
    assert (tmp_path / "by_api").read_text() == "0 False"


def test_every_command_is_registered() -> None:
    folder = SOURCES / "cli"
    modules = {path.stem for path in folder.glob("*.py") if re.search(r"^NAME\b", path.read_text(), re.MULTILINE)}
    assert {command.NAME for command in COMMANDS} == modules
    for command in COMMANDS:
        assert command.__name__ == f"tachyscope.cli.{command.NAME}"


def _classes(path: Path) -> dict[str, list[str]]:
    """Return the classes of a module with the names of their bases."""
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ClassDef)]
    return {node.name: [ast.unparse(base) for base in node.bases] for node in nodes}


def test_errors_are_one_family_in_one_place() -> None:
    family = set(_classes(SOURCES / "errors.py"))
    assert all(issubclass(getattr(errors, name), errors.TachyscopeError) for name in family)
    assert set(re.findall(r"[A-Z]\w+(?=  |\n)", str(errors.__doc__).split("\n\n")[1])) == family
    builtin = re.compile(r"(\w+(Error|Exception|Interrupt)|Exception)$")
    for path in PYTHON:
        if path.name != "errors.py":
            strays = {name for name, bases in _classes(path).items() if any(map(builtin.match, bases))}
            assert not strays, path
