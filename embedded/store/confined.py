"""The last wall around the engine, where Linux has one (Landlock): whatever a statement says, this process can open
its own directories, the interpreter and its libraries, and no connection to anywhere.

Inherited by every thread that begins afterwards, and never taken back.
"""

import ctypes
import os
import platform
import sys
import sysconfig
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_VERSION = 1
_PATH_BENEATH = 1
_NO_NEW_PRIVILEGES = 38

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REFER, _TRUNCATE, _IOCTL = 1 << 13, 1 << 14, 1 << 15
_FIRST = (1 << 13) - 1
_ADDED = {2: _REFER, 3: _TRUNCATE, 5: _IOCTL}
"""By the version of Landlock that brought it."""
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL
_CONNECT_TCP = 1 << 1
_CONNECT_SINCE = 4

_SYSTEM = (
    *("/usr", "/lib", "/lib64", "/nix", "/opt/homebrew"),
    *("/etc/localtime", "/etc/timezone", "/etc/ld.so.cache", "/etc/hosts", "/etc/resolv.conf"),
    *("/etc/nsswitch.conf", "/etc/host.conf", "/etc/passwd", "/etc/group"),
    # Of /proc nothing of other processes: their environment may hold secrets.
    *("/proc/self", "/proc/meminfo", "/proc/cpuinfo", "/proc/stat", "/proc/loadavg"),
    *("/proc/uptime", "/proc/version", "/proc/diskstats", "/proc/sys", "/proc/filesystems"),
    "/sys/devices/system",
    "/sys/fs/cgroup",
    "/sys/block",
)
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")


class _Ruleset(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("directory", ctypes.c_int32))


def confine(own: list[Path]) -> bool:
    """Keeps this thread, and those it starts, to `own` directories; False where the system can't.

    Raises OSError where the system can, and does not.
    """
    if platform.system() != "Linux":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION)
    if version < 1:
        return False
    everything = _FIRST
    for since, right in _ADDED.items():
        everything |= right if version >= since else 0
    rules = _Ruleset(everything, _CONNECT_TCP if version >= _CONNECT_SINCE else 0)
    size = ctypes.sizeof(rules) if version >= _CONNECT_SINCE else 8
    ruleset = _checked(libc.syscall(_CREATE_RULESET, ctypes.byref(rules), ctypes.c_size_t(size), 0))
    try:
        reading = _EXECUTE | _READ_FILE | _READ_DIR
        for place in (*map(Path, _SYSTEM), *_interpreter()):
            _allow(libc, ruleset, place, reading & everything)
        for device in map(Path, _DEVICES):
            _allow(libc, ruleset, device, (_READ_FILE | _WRITE_FILE) & everything)
        for place in own:
            _allow(libc, ruleset, place, everything & ~_EXECUTE)
        _checked(libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0))
        _checked(libc.syscall(_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)
    return True


def _interpreter() -> list[Path]:
    """Where Python and what we import lies; of the checkout only this package, since a state may lie in it."""
    places = {sys.prefix, sys.base_prefix, sys.exec_prefix, *sysconfig.get_paths().values()}
    return [*map(Path, sorted(places)), Path(__file__).parents[1]]


def _allow(libc: ctypes.CDLL, ruleset: int, place: Path, rights: int) -> None:
    try:
        opened = os.open(place, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # this system has no such place
    try:
        allowed = rights if place.is_dir() else rights & _OF_FILES
        rule = _PathBeneath(allowed, opened)
        _checked(libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0))
    finally:
        os.close(opened)


def _checked(answer: int) -> int:
    if answer < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return answer
