"""The process that may die: `python -m services.ingest.decoder.child FD`.

FD is a socket. A job is a line of JSON with two files beside it, the body and where the batches go;
the answer is a line of JSON. It ends when the socket does. It has no secrets in its environment.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import mmap
import os
import resource
import signal
import socket
import sys
from typing import Any

import pyarrow as pa

from services.ingest.decoder.decode import DECODED_MAX_BYTES, decode
from services.ingest.refused import BodyRefused

MEMORY_BYTES = 192 * 1024 * 1024
"""What a job may take above what the process has when idle; body and batches are files beside it."""
CPU_SECONDS = 10
_KEPT_BYTES = 64 * 1024 * 1024
"""A process that keeps more than this after a job is replaced."""
_LOOSE_BYTES = 16 * 1024 * 1024
_LINE = 4_096


def main() -> int:
    channel = socket.socket(fileno=int(sys.argv[1]))
    # The parent ends this process by closing the socket.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    _warm_up()
    idle = _limit()
    # What is there now stays: no collection looks at it again.
    gc.collect()
    gc.freeze()
    channel.sendall(b'{"ready": true}\n')
    while True:
        line, files, _, _ = socket.recv_fds(channel, _LINE, 2)
        if not line:
            return 0
        _more_cpu()
        answer = _answer(json.loads(line), *files)
        for file in files:
            os.close(file)
        if (held := _own()) > idle + _LOOSE_BYTES:
            gc.collect()
            ctypes.CDLL(None).malloc_trim(0)
            held = _own()
        answer["last"] = held > idle + _KEPT_BYTES
        channel.sendall(json.dumps(answer).encode() + b"\n")
        if answer["last"]:
            return 0


def _answer(job: dict[str, Any], body: int, out: int) -> dict[str, Any]:
    try:
        size = os.fstat(body).st_size
        if not size:
            return {"rows": 0}
        mapped = pa.py_buffer(mmap.mmap(body, size, prot=mmap.PROT_READ))
        # By name: Arrow then writes by itself, without a copy in Python.
        with pa.OSFile(f"/proc/self/fd/{out}", "wb") as sink:
            return {"rows": decode(job["format"], mapped, job["came"], sink)}
    except BodyRefused as refused:
        return {"refused": [refused.code, refused.field, refused.detail[:500]]}
    except MemoryError:
        said = f"more than {MEMORY_BYTES // 2**20} MiB of memory to decode"
        return {"refused": ["too_large", None, said]}
    except Exception as error:
        return {"refused": ["body_undecodable", None, f"not decoded: {type(error).__name__}"]}


def _warm_up() -> None:
    """One row of each kind: the code is loaded before anybody waits."""
    table = pa.table(
        {
            name: pa.array([1 if name == "amount_fen" else "1"])
            for name in (
                "entry_id",
                "platform_id",
                "merchant_id",
                "occurred_at",
                "kind",
                "amount_fen",
            )
        }
    )
    for name in ("arrow", "parquet"):
        body = pa.BufferOutputStream()
        if name == "arrow":
            with pa.ipc.new_stream(body, table.schema) as writer:
                writer.write_table(table)
        else:
            import pyarrow.parquet as pq

            pq.write_table(table, body)
        decode(name, body.getvalue(), 0, pa.BufferOutputStream())


def _limit() -> int:
    """Limits this process for good; what it holds now, in bytes."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    most = _status("VmData") + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    written = DECODED_MAX_BYTES + 64 * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_FSIZE, (written, written))
    # Where memory runs out all the same, this process goes before its parent does.
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("500")
    return _own()


def _more_cpu() -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = int(used.ru_utime + used.ru_stime) + CPU_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def _own() -> int:
    """Bytes that this process shares with nobody."""
    with open("/proc/self/statm", "rb") as file:
        _, resident, shared, *_ = file.read().split()
    return (int(resident) - int(shared)) * mmap.PAGESIZE


def _status(name: str) -> int:
    """A figure of /proc/self/status, in bytes."""
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith(name + ":"):
                return int(line.split()[1]) * 1024
    return 0


if __name__ == "__main__":
    sys.exit(main())
