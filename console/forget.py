"""`make clean`: removes a state directory, unless somebody still works in it."""

import argparse
import shutil
import sys
from pathlib import Path

from console.cli import DEFAULT_STATE
from console.running.state import State

# Ours has at least one of these: nothing else is ever removed by a mistyped STATE.
SIGNS = ("run", "kafka", "store", "identity")


def forget(directory: Path) -> str | None:
    """Why not; None when it is gone."""
    state = State(directory)
    if not state.directory.exists():
        return None
    if state.is_up():
        pid = (state.read_up() or {}).get("pid")
        return f"`yumai up` (pid {pid}) still runs on {state.directory}: stop it first (Ctrl-C, or kill {pid})"
    if not any((state.directory / sign).is_dir() for sign in SIGNS):
        return f"{state.directory} is no state directory of Yumai: not removed"
    shutil.rmtree(state.directory)
    return None


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=Path, default=Path(DEFAULT_STATE))
    refused = forget(parser.parse_args().state)
    if refused:
        print(refused, file=sys.stderr)
        sys.exit(1)
