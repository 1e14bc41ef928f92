"""Kernels: what an earlier version compiled and kept never stops a start."""

import subprocess
import sys
from pathlib import Path

KERNEL = """
from typing import NamedTuple
import numpy as np
from numba import types
from contracts.entries.kernel_types import INT64, group, kernel, read_only
class {name}(NamedTuple):
    values: np.ndarray
@kernel(types.int64(group({name}, INT64)))
def total(of):
    return of.values.sum()
print(total({name}(read_only(np.arange(4)))))
"""


def run(folder: Path, name: str) -> str:
    (folder / "kept.py").write_text(KERNEL.format(name=name))
    command = [sys.executable, "-c", "import kept"]
    path = {"PYTHONPATH": f"{folder}:{Path(__file__).parents[3]}", "NUMBA_CACHE_DIR": str(folder)}
    made = subprocess.run(command, capture_output=True, text=True, env=path, check=False)
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


def test_a_group_that_was_renamed_since_is_compiled_anew(tmp_path: Path) -> None:
    assert run(tmp_path, "Before") == "6"
    assert list(tmp_path.rglob("*.nbi"))
    assert run(tmp_path, "Renamed") == "6"
    assert run(tmp_path, "Renamed") == "6"
