"""Write `src/tachyscope/target/layouts/v3*.py` from the headers of each CPython.

For every interpreter found, a small C program is compiled against that version's own (internal) headers and
run; it prints each offset that `Layout` names. Nothing in the result is typed by hand:

    python scripts/generate_layouts.py                  rewrite the tables of all versions found
    python scripts/generate_layouts.py --check          exit status 1 and a diff when one is out of date
    python scripts/generate_layouts.py --python PATH    one more interpreter (preferred for its version)
    python scripts/generate_layouts.py --include DIR    the same for headers whose interpreter is elsewhere

A compiler (`$CC`, else `cc`) and the headers of the interpreters are needed. A table stays current when a
later patch release has the same layout, so the release it was made from may be older than the one at hand.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from tachyscope.target.layouts import (  # noqa: E402
    ABSENT,
    EXECUTING_BYTE,
    EXECUTING_STATE,
    INSTR_BYTE_INDEX,
    INSTR_POINTER,
    INSTR_UNIT_INDEX,
    SELF_DESCRIBED_FROM,
    STACK_TOP_INDEX,
    STACK_TOP_POINTER,
    layout_fields,
)
from tachyscope.target.layouts.debug_offsets import (  # noqa: E402
    HEADER_SIZE_BYTES,
    NESTED,
    SOURCES,
    Form,
    spans,
)

OUTPUT = ROOT / "src" / "tachyscope" / "target" / "layouts"
MINORS = range(8, 16)
NAMES = {  # fields whose values have names; each name is also a constant of `tachyscope.target.layouts`
    "frame_instr_kind": ("INSTR_BYTE_INDEX", "INSTR_UNIT_INDEX", "INSTR_POINTER"),
    "frame_stack_top_kind": ("EXECUTING_BYTE", "EXECUTING_STATE", "STACK_TOP_INDEX", "STACK_TOP_POINTER"),
}
COMPUTED = ("frame_size", "code_size")
TIMEOUT_SECONDS = 120

HEADERS = (  # those that exist in a version are included, in this order
    "frameobject.h",
    "internal/pycore_pystate.h",
    "internal/pycore_runtime.h",
    "internal/pycore_interp.h",
    "internal/pycore_object.h",
    "internal/pycore_dict.h",
    "internal/pycore_frame.h",
    "internal/pycore_interpframe.h",
    "internal/pycore_interpframe_structs.h",
    "internal/pycore_code.h",
    "internal/pycore_genobject.h",
    "internal/pycore_stackref.h",
    "internal/pycore_debug_offsets.h",
)
FORM_HEADERS = ("internal/pycore_debug_offsets.h", "internal/pycore_runtime.h")

PROBE = r"""
#include <Python.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
%(includes)s

#define SHOW(name, value) printf("%%s %%lld\n", name, (long long)(value))
#define OFFSET(type, member) ((long long)offsetof(type, member))

static int lowest_bit(const PyASCIIObject *object, int width)
{
    uint32_t word;
    memcpy(&word, (const char *)object + offsetof(PyASCIIObject, state), sizeof word);
    if (__builtin_popcount(word) != width) {
        fprintf(stderr, "a bit field of %%d bits does not lie in the word at `state`\n", width);
        exit(1);
    }
    return __builtin_ctz(word);
}

#define SHIFT(member, width) ({ PyASCIIObject object; memset(&object, 0, sizeof object); \
    object.state.member = (1u << width) - 1; lowest_bit(&object, width); })
#define FLAG(flag) __builtin_ctzll(flag)
#define BEFORE(function) ({ void *object = (void *)0x1000; (char *)object - (char *)function(object); })

/* The keys of a dict up to 3.10, which no installed header defines; tests compare with live interpreters. */
struct old_keys { Py_ssize_t references, size; void *lookup; Py_ssize_t usable, entries; char indices[]; };
struct old_entry { Py_hash_t hash; void *key, *value; };

int main(void)
{
%(lines)s
    return 0;
}
"""

EVERYWHERE = {
    "runtime_interp_head": "OFFSET(_PyRuntimeState, interpreters.head)",
    "interp_next": "OFFSET(PyInterpreterState, next)",
    "interp_id": "OFFSET(PyInterpreterState, id)",
    "thread_next": "OFFSET(PyThreadState, next)",
    "thread_interp": "OFFSET(PyThreadState, interp)",
    "thread_id": "OFFSET(PyThreadState, thread_id)",
    "thread_prev": "OFFSET(PyThreadState, prev)",
    "thread_unique_id": "OFFSET(PyThreadState, id)",
    "thread_exc_info": "OFFSET(PyThreadState, exc_info)",
    "thread_exc_state": "OFFSET(PyThreadState, exc_state)",
    "exc_previous": "OFFSET(_PyErr_StackItem, previous_item)",
    "gil_holder": "OFFSET(struct _gil_runtime_state, last_holder)",
    "gil_locked": "OFFSET(struct _gil_runtime_state, locked)",
    "gil_switches": "OFFSET(struct _gil_runtime_state, switch_number)",
    "code_name": "OFFSET(PyCodeObject, co_name)",
    "code_filename": "OFFSET(PyCodeObject, co_filename)",
    "code_firstlineno": "OFFSET(PyCodeObject, co_firstlineno)",
    "object_type": "OFFSET(PyObject, ob_type)",
    "var_size": "OFFSET(PyVarObject, ob_size)",
    "type_name": "OFFSET(PyTypeObject, tp_name)",
    "bytes_data": "OFFSET(PyBytesObject, ob_sval)",
    "unicode_length": "OFFSET(PyASCIIObject, length)",
    "unicode_hash": "OFFSET(PyASCIIObject, hash)",
    "unicode_state": "OFFSET(PyASCIIObject, state)",
    "unicode_kind_shift": "SHIFT(kind, 3)",
    "unicode_compact_shift": "SHIFT(compact, 1)",
    "unicode_ascii_shift": "SHIFT(ascii, 1)",
    "unicode_ascii_data": "sizeof(PyASCIIObject)",
    "unicode_compact_data": "sizeof(PyCompactUnicodeObject)",
    "type_basicsize": "OFFSET(PyTypeObject, tp_basicsize)",
    "type_flags": "OFFSET(PyTypeObject, tp_flags)",
    "type_dictoffset": "OFFSET(PyTypeObject, tp_dictoffset)",
    "type_str_shift": "FLAG(Py_TPFLAGS_UNICODE_SUBCLASS)",
    "type_dict_shift": "FLAG(Py_TPFLAGS_DICT_SUBCLASS)",
    "dict_used": "OFFSET(PyDictObject, ma_used)",
    "dict_keys": "OFFSET(PyDictObject, ma_keys)",
    "dict_values": "OFFSET(PyDictObject, ma_values)",
}
UNTIL_312 = {
    "runtime_interp_main": "OFFSET(_PyRuntimeState, interpreters.main)",
    "runtime_main_thread": "OFFSET(_PyRuntimeState, main_thread)",
}
UNTIL_310 = {
    "interp_thread_head": "OFFSET(PyInterpreterState, tstate_head)",
    "thread_frame": "OFFSET(PyThreadState, frame)",
    "thread_recursion_depth": "OFFSET(PyThreadState, recursion_depth)",
    "frame_code": "OFFSET(PyFrameObject, f_code)",
    "frame_previous": "OFFSET(PyFrameObject, f_back)",
    "frame_instr": "OFFSET(PyFrameObject, f_lasti)",
    "code_bytecode": "OFFSET(PyCodeObject, co_code)",
    "keys_size": "OFFSET(struct old_keys, size)",
    "keys_entries": "OFFSET(struct old_keys, entries)",
    "keys_indices": "OFFSET(struct old_keys, indices)",
    "entry_size": "sizeof(struct old_entry)",
    "entry_hash": "OFFSET(struct old_entry, hash)",
    "entry_key": "OFFSET(struct old_entry, key)",
    "entry_value": "OFFSET(struct old_entry, value)",
    "values_items": "0",  # there is no structure, only an array
}
FROM_311 = {
    "interp_thread_head": "OFFSET(PyInterpreterState, threads.head)",
    "thread_native_id": "OFFSET(PyThreadState, native_thread_id)",
    "frame_previous": "OFFSET(struct _PyInterpreterFrame, previous)",
    "frame_owner": "OFFSET(struct _PyInterpreterFrame, owner)",
    "frame_stack_top": "OFFSET(struct _PyInterpreterFrame, stacktop)",
    "frame_locals": "OFFSET(struct _PyInterpreterFrame, localsplus)",
    "thread_chunk": "OFFSET(PyThreadState, datastack_chunk)",
    "chunk_previous": "OFFSET(_PyStackChunk, previous)",
    "chunk_size": "OFFSET(_PyStackChunk, size)",
    "chunk_data": "OFFSET(_PyStackChunk, data)",
    "generator_exc_state": "OFFSET(PyGenObject, gi_exc_state)",
    "generator_state": "OFFSET(PyGenObject, gi_frame_state)",
    "generator_frame": "OFFSET(PyGenObject, gi_iframe)",
    "generator_executing": "FRAME_EXECUTING",
    "code_locals": "OFFSET(PyCodeObject, co_nlocalsplus)",
    "code_stack_size": "OFFSET(PyCodeObject, co_stacksize)",
    "code_qualname": "OFFSET(PyCodeObject, co_qualname)",
    "code_linetable": "OFFSET(PyCodeObject, co_linetable)",
    "code_instructions": "OFFSET(PyCodeObject, co_code_adaptive)",
    "type_cached_keys": "OFFSET(PyHeapTypeObject, ht_cached_keys)",
    "type_managed_dict_shift": "FLAG(Py_TPFLAGS_MANAGED_DICT)",
    "keys_log2_index_bytes": "OFFSET(PyDictKeysObject, dk_log2_index_bytes)",
    "keys_kind": "OFFSET(PyDictKeysObject, dk_kind)",
    "keys_kind_general": "DICT_KEYS_GENERAL",
    "keys_entries": "OFFSET(PyDictKeysObject, dk_nentries)",
    "keys_indices": "OFFSET(PyDictKeysObject, dk_indices)",
    "entry_size": "sizeof(PyDictKeyEntry)",
    "entry_hash": "OFFSET(PyDictKeyEntry, me_hash)",
    "entry_key": "OFFSET(PyDictKeyEntry, me_key)",
    "entry_value": "OFFSET(PyDictKeyEntry, me_value)",
    "str_entry_size": "sizeof(PyDictUnicodeEntry)",
    "str_entry_key": "OFFSET(PyDictUnicodeEntry, me_key)",
    "str_entry_value": "OFFSET(PyDictUnicodeEntry, me_value)",
    "values_items": "OFFSET(PyDictValues, values)",
}
CFRAMES = {
    "thread_cframe": "OFFSET(PyThreadState, cframe)",
    "cframe_current_frame": "OFFSET(_PyCFrame, current_frame)",
    "cframe_previous": "OFFSET(_PyCFrame, previous)",
    "frame_code": "OFFSET(struct _PyInterpreterFrame, f_code)",
    "frame_instr": "OFFSET(struct _PyInterpreterFrame, prev_instr)",
}
FROM_313 = {
    "thread_frame": "OFFSET(PyThreadState, current_frame)",
    "frame_code": "OFFSET(struct _PyInterpreterFrame, f_executable)",
    "frame_instr": "OFFSET(struct _PyInterpreterFrame, instr_ptr)",
    "type_inline_values_shift": "FLAG(Py_TPFLAGS_INLINE_VALUES)",
    "values_capacity": "OFFSET(PyDictValues, capacity)",
    "values_valid": "OFFSET(PyDictValues, valid)",
}
TAGGED = "(PyDictOrValues){.values = (char *)0x1001}"
MANAGED_DICT = {  # by minor version, how the values of attributes are found before an object
    11: {
        "managed_dict_before": "BEFORE(_PyObject_ManagedDictPointer)",
        "managed_values_before": "BEFORE(_PyObject_ValuesPointer)",
    },
    12: {
        "managed_dict_before": "BEFORE(_PyObject_DictOrValuesPointer)",
        "managed_values_tag": f"_PyDictOrValues_IsValues({TAGGED})",
        "managed_values_bias": f"(char *)_PyDictOrValues_GetValues({TAGGED}) - (char *)0x1001",
    },
}


@dataclass(frozen=True)
class Interpreter:
    """A CPython and its headers."""

    executable: Path | None  # None: only headers
    minor: int
    release: str  # "3.12.1"
    include: Path

    @property
    def module(self) -> str:
        """Name of the data module for this version."""
        return f"v3{self.minor}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Generate or check; return the exit status."""
    options = _parser().parse_args(arguments)
    found = discover(options.python, options.include)
    if not found:
        print("no CPython 3.8 to 3.15 with headers found", file=sys.stderr)
        return 1
    outdated = [python for python in found.values() if not _bring_up_to_date(python, options.check)]
    print("checked" if options.check else "generated", *(python.release for python in found.values()))
    return 1 if outdated else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail with a diff if out of date")
    parser.add_argument("--python", action="append", default=[], type=Path, metavar="PATH")
    parser.add_argument("--include", action="append", default=[], type=Path, metavar="DIR")
    return parser


def _bring_up_to_date(python: Interpreter, check: bool) -> bool:
    """Compare the module with what the headers say now; False if it differs and was only to be checked."""
    path = OUTPUT / f"{python.module}.py"
    new = render(python)
    old = path.read_text() if path.exists() else ""
    if _without_release(old) == _without_release(new):
        return True
    if check:
        sys.stdout.writelines(
            difflib.unified_diff(old.splitlines(True), new.splitlines(True), str(path), python.release)
        )
        return False
    path.write_text(new)
    return True


def _without_release(text: str) -> str:
    return re.sub(r"headers of CPython 3\.\d+\.\w+", "headers of CPython", text)


# Finding interpreters


def discover(preferred: Sequence[Path] = (), includes: Sequence[Path] = ()) -> dict[int, Interpreter]:
    """Return one interpreter with headers for each minor version on this machine, by minor version."""
    found = {python.minor: python for python in map(headers_only, includes)}
    for executable in (*preferred, *_installed()):
        python = inspect(executable)
        if python is not None:
            found.setdefault(python.minor, python)
    return dict(sorted(found.items()))


def headers_only(include: Path) -> Interpreter:
    """Describe the headers in a directory such as /usr/include/python3.14."""
    text = (include / "patchlevel.h").read_text()
    release = re.search(r'#define\s+PY_VERSION\s+"(3\.(\d+)\.\w+)', text)
    if release is None:
        raise SystemExit(f"{include} holds no headers of CPython 3")
    return Interpreter(None, int(release[2]), release[1], include)


def _installed() -> Iterator[Path]:
    versions = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
    yield from sorted(versions.glob("3.*/bin/python3"))
    for minor in MINORS:
        path = shutil.which(f"python3.{minor}")
        if path:
            yield Path(path)


def inspect(executable: Path) -> Interpreter | None:
    """Ask an interpreter for its version and headers; None if it cannot be used for a table.

    Free-threaded builds are passed over: their own pyconfig.h would hide the layout of the usual build, and
    theirs is probed from the usual headers with `Py_GIL_DISABLED` defined.
    """
    question = (
        "import json, platform, sys, sysconfig as s; print(json.dumps([sys.version_info[1], "
        "platform.python_version(), s.get_path('include'), bool(s.get_config_var('Py_GIL_DISABLED')), "
        "platform.python_implementation()]))"
    )
    try:
        run = subprocess.run([executable, "-I", "-c", question], capture_output=True, timeout=TIMEOUT_SECONDS)
        minor, release, include, free_threaded, implementation = json.loads(run.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    usable = minor in MINORS and not free_threaded and implementation == "CPython"
    if not usable or not (Path(include) / "internal").is_dir():
        return None
    return Interpreter(Path(executable), minor, release, Path(include))


# Probing


def expressions(minor: int) -> dict[str, str]:
    """Return the C expression for every `Layout` field that this version has."""
    if minor <= 10:
        result = EVERYWHERE | UNTIL_312 | UNTIL_310 | _heap_frame_state(minor)
    elif minor <= 12:
        result = EVERYWHERE | UNTIL_312 | FROM_311 | CFRAMES
    else:
        result = EVERYWHERE | FROM_311 | FROM_313
    result |= _shared_state(minor)
    result["interp_modules"] = f"OFFSET(PyInterpreterState, {'modules' if minor <= 11 else 'imports.modules'})"
    if minor >= 11:
        result |= MANAGED_DICT.get(minor, {"managed_dict_before": "BEFORE(_PyObject_ManagedDictPointer)"})
    if minor == 11:
        result["frame_is_entry"] = "OFFSET(struct _PyInterpreterFrame, is_entry)"
    if minor >= 12:
        result["frame_entry_owner"] = "FRAME_OWNED_BY_CSTACK" if minor <= 13 else "FRAME_OWNED_BY_INTERPRETER"
        result["code_version"] = "OFFSET(PyCodeObject, co_version)"
    if minor >= 14:
        result["frame_code_tag"] = "Py_TAG_BITS"
        result["frame_stack_top"] = "OFFSET(struct _PyInterpreterFrame, stackpointer)"
    return result


def _shared_state(minor: int) -> dict[str, str]:
    """What moved between the runtime and the interpreters, or changed its name."""
    collecting = "runtime_collecting" if minor == 8 else "interp_collecting"
    owner = {"runtime": "_PyRuntimeState", "interp": "PyInterpreterState"}
    gil = "runtime" if minor <= 11 else "interp"
    raised = "curexc_type" if minor <= 11 else "current_exception"
    return {
        f"{gil}_gil": f"OFFSET({owner[gil]}, ceval.gil)",
        collecting: f"OFFSET({owner[collecting.partition('_')[0]]}, gc.collecting)",
        "thread_exception": f"OFFSET(PyThreadState, {raised})",
        "exc_value": f"OFFSET(_PyErr_StackItem, {'exc_type' if minor <= 10 else 'exc_value'})",
    }


def _heap_frame_state(minor: int) -> dict[str, str]:
    state = "f_executing" if minor <= 9 else "f_state"
    table = "co_lnotab" if minor <= 9 else "co_linetable"
    return {
        "frame_stack_top": f"OFFSET(PyFrameObject, {state})",
        "code_linetable": f"OFFSET(PyCodeObject, {table})",
    }


def kinds(minor: int) -> dict[str, int]:
    """Return what the headers give no number for: how the values at some offsets are to be understood."""
    instr = INSTR_POINTER if minor >= 11 else INSTR_UNIT_INDEX if minor == 10 else INSTR_BYTE_INDEX
    if minor <= 10:
        stack_top = EXECUTING_STATE if minor == 10 else EXECUTING_BYTE
    else:
        stack_top = STACK_TOP_INDEX if minor <= 13 else STACK_TOP_POINTER
    return {
        "frame_instr_kind": instr,
        "frame_stack_top_kind": stack_top,
        "frame_iterator": ABSENT if minor <= 10 else 2 if minor >= 15 else 1,
    }


def probe(python: Interpreter, defines: Sequence[str] = ()) -> dict[str, int]:
    """Return every `Layout` field as the headers say it, by name; `ABSENT` where the version lacks it."""
    printed = run_probe(python, expressions(python.minor), defines) | kinds(python.minor)
    values = {name: printed.get(name, ABSENT) for name in layout_fields()}
    values["frame_code_tag"] = max(values["frame_code_tag"], 0)  # no tag is a mask of no bits
    values |= spans(values)
    return values


def run_probe(python: Interpreter, wanted: dict[str, str], defines: Sequence[str] = ()) -> dict[str, int]:
    """Compile and run a program that prints the named C expressions; return their values."""
    present = [header for header in HEADERS if (python.include / header).exists()]
    lines = [f'    SHOW("{name}", {expression});' for name, expression in wanted.items()]
    source = PROBE % {"includes": "\n".join(f'#include "{h}"' for h in present), "lines": "\n".join(lines)}
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "probe.c"
        path.write_text(source)
        flags = [f"-I{python.include}", f"-I{python.include / 'internal'}", "-DPy_BUILD_CORE=1", "-DNDEBUG=1", "-w"]
        # Debian keeps pyconfig.h in a directory for each architecture beside that of the headers.
        flags += ["-idirafter", str(python.include.parent)]
        compiler = os.environ.get("CC", "cc").split()
        program = path.with_suffix("")
        _run([*compiler, *flags, *(f"-D{name}" for name in defines), str(path), "-o", str(program)])
        output = _run([str(program)])
    return {name: int(value) for name, value in (line.split() for line in output.splitlines())}


def _run(command: list[str]) -> str:
    run = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
    if run.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed:\n{run.stderr}")
    return run.stdout


def read_form(python: Interpreter) -> Form:
    """Return the sections of `_Py_DebugOffsets` in their order, each with the names of its words.

    The names come from the text of the header; the compiler then confirms that every word lies where this
    order says.
    """
    texts = [path.read_text() for path in (python.include / name for name in FORM_HEADERS) if path.exists()]
    struct = r"typedef struct _Py_DebugOffsets \{(.*?)\} _Py_DebugOffsets;"
    body = next(match[1] for match in (re.search(struct, text, re.DOTALL) for text in texts) if match)
    body = re.sub(r"//[^\n]*|/\*.*?\*/", "", body, flags=re.DOTALL)
    section = r"struct\b\s*\w*\s*\{([^}]*)\}\s*(\w+);"
    form = tuple(
        (match[2], tuple(re.findall(r"uint64_t\s+(\w+)\s*;", match[1]))) for match in re.finditer(section, body)
    )
    _confirm_form(python, form)
    return form


def _confirm_form(python: Interpreter, form: Form) -> None:
    words = [f"{section}.{name}" for section, names in form for name in names]
    wanted = {word: f"OFFSET(_Py_DebugOffsets, {word})" for word in words}
    actual = run_probe(python, wanted | {"total": "sizeof(_Py_DebugOffsets)"})
    expected = {word: HEADER_SIZE_BYTES + 8 * index for index, word in enumerate([*words, "total"])}
    if actual != expected:
        raise SystemExit(f"CPython {python.release}: _Py_DebugOffsets is no plain list of words")


# Writing


def render(python: Interpreter) -> str:
    """Return the text of the data module for one version."""
    return _render_self_described(python) if python.minor >= SELF_DESCRIBED_FROM else _render_table(python)


def _heading(python: Interpreter, what: str) -> str:
    return (
        f'"""{what}\n\nGenerated by `python scripts/generate_layouts.py` from the headers of '
        f'CPython {python.release}; do not edit.\n"""\n\nfrom __future__ import annotations\n\n'
    )


def _render_table(python: Interpreter) -> str:
    values = probe(python)
    lines = "".join(f"    {name}={_literal(name, value)},\n" for name, value in values.items())
    return (
        _heading(python, f"Offsets in CPython 3.{python.minor}.")
        + f"{_import(values, 'Layout')}\n\nLAYOUT = Layout(\n{lines})\n"
    )


def _render_self_described(python: Interpreter) -> str:
    usual, free_threaded = probe(python), probe(python, ["Py_GIL_DISABLED=1"])
    form = "".join(_render_section(section, names) for section, names in read_form(python))
    return (
        _heading(python, f"How CPython 3.{python.minor} describes itself, and the constants that it leaves out.")
        + f"{_import(usual)}\n\n"
        + f"FORM: tuple[tuple[str, tuple[str, ...]], ...] = (\n{form})\n"
        + '"""The sections of `_Py_DebugOffsets` after its header, in order, each with its words."""'
        + f"\n\n{_render_constants('USUAL', usual)}"
        + f"\n{_render_constants('FREE_THREADED', free_threaded)}"
    )


def _render_section(section: str, names: Sequence[str]) -> str:
    words = "".join(f'            "{name}",\n' for name in names)
    lines = f'("{names[0]}",)' if len(names) == 1 else f"(\n{words}        )"
    return f'    (\n        "{section}",\n        {lines},\n    ),\n'


def _render_constants(variable: str, values: dict[str, int]) -> str:
    said = {*SOURCES, *NESTED, *COMPUTED}
    lacking = [name for name in layout_fields() if name not in said]
    lines = "".join(f'    "{name}": {_literal(name, values[name])},\n' for name in lacking)
    return f"{variable}: dict[str, int] = {{\n{lines}}}\n"


def _import(values: dict[str, int], *more: str) -> str:
    names = {"ABSENT", *(_literal(name, values[name]) for name in NAMES)}
    return f"from tachyscope.target.layouts import {', '.join([*sorted(names), *more])}"


def _literal(name: str, value: int) -> str:
    if value == ABSENT:
        return "ABSENT"
    return NAMES[name][value] if name in NAMES else str(value)


if __name__ == "__main__":
    sys.exit(main())
