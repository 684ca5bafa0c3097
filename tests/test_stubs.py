"""The stubs of the compiled modules say what the modules are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT

MODULES = sorted(path.stem for path in (ROOT / "src/tachyscope/_core").glob("*.pyi"))

CYTHON = r"""
tachyscope\._core\.\w+\.(__pyx_capi__|__test__|__reduce_cython__|__setstate_cython__)
"""
"""What Cython adds to its modules, which is nobody's business."""


def test_every_compiled_module_has_a_stub() -> None:
    assert sorted(path.stem for path in (ROOT / "src/tachyscope/_core").glob("*.pyx")) == MODULES


def test_stubs_agree_with_the_modules(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    allowed = tmp_path / "allowed"
    allowed.write_text(CYTHON.strip() + "\n")
    names = [f"tachyscope._core.{name}" for name in MODULES]
    command = [sys.executable, "-m", "mypy.stubtest", "--allowlist", str(allowed), "--ignore-unused-allowlist"]
    environment = {**os.environ, "MYPY_CACHE_DIR": str(tmp_path / "cache")}
    run = subprocess.run([*command, *names], capture_output=True, text=True, cwd=ROOT, env=environment, timeout=200)
    assert run.returncode == 0, run.stdout + run.stderr
