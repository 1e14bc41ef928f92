"""Keeps children from outliving a supervisor that was killed with -9. A program of its own, without our packages.

`python -I -S leash.py run PID COMMAND…` becomes COMMAND (same process, same pid) after asking Linux to kill it when its
parent PID dies. `python -I -S leash.py watch` is for every system, and for grandchildren: it reads `+PGID` and `-PGID`
lines from standard input, whose other end only the supervisor holds, and at its end kills the groups still listed.
Both use SIGKILL: a child may be blocked or stopped, and everything we run is built to be killed.
"""

import contextlib
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def run(parent: int, command: list[str]) -> None:
    if sys.platform == "linux":
        import ctypes

        # Survives exec. Bound to the parent's *thread*: the supervisor starts children from its main thread only.
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the supervisor is gone")
    os.execvp(command[0], command)


def watch() -> None:
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        group = int(line[1:])
        if line[0] == "+":
            groups.add(group)
        else:
            groups.discard(group)
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    if sys.argv[1] == "run":
        run(int(sys.argv[2]), sys.argv[3:])
    else:
        watch()
