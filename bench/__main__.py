"""`python -m bench`: prints a table, writes `build/bench.json`; exit code 1 when an answer was wrong."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

NAMES = (
    "metrics.columnar",
    "faust.per_event",
    "metrics.on_20m",
    "metrics.history",
    "ingest.ndjson",
    "ingest.arrow",
    "ingest.kafka_json",
    "freshness.p99_s",
    "tracing.off",
    "fairness",
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--small", action="store_true", help="proves that it works; no speeds")
    parser.add_argument("--only", nargs="+", choices=NAMES, metavar="NAME", help=", ".join(NAMES))
    parser.add_argument(
        "--port-base", type=int, metavar="N", help="default: free ones from 9500 on"
    )
    parser.add_argument("--state", type=Path, metavar="DIR", help="kept afterwards; must be new")
    parser.add_argument("--out", type=Path, default=Path("build/bench.json"))
    args = parser.parse_args()
    if args.state is not None and args.state.exists():
        parser.error(f"{args.state} is there already")
    directory = args.state or Path(tempfile.mkdtemp(prefix="yumai-bench-"))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # stops the system on the way out
    try:
        return bench(args, directory)
    finally:
        if args.state is None:
            shutil.rmtree(directory, ignore_errors=True)


def bench(args: argparse.Namespace, directory: Path) -> int:
    from bench.cpu import Sampler, load
    from bench.parts import PARTS
    from bench.report import Result, table, write
    from bench.run import Run
    from bench.sizes import FULL, SMALL
    from bench.system import Failed, System

    assert tuple(PARTS) == NAMES
    begun = time.monotonic()
    system = System(directory / "state", args.port_base)
    bodies = directory / "bodies"
    bodies.mkdir(parents=True)
    sampler = Sampler(lambda: system.pids() | {"bench": os.getpid()})
    failed = False
    results: list[Result] = []
    try:
        print(f"starting the system on ports {system.base} …, state in {directory}; {load()}")
        system.start()
        sampler.start()
        run = Run(system, sampler, SMALL if args.small else FULL, bodies)
        results = run.results
        for name in (name for name in NAMES if name in (args.only or NAMES)):
            print(f"\n{name}: {load()}", flush=True)
            try:
                PARTS[name](run)
            except Exception as error:
                # The next part may still be measured; what went wrong is told and ends in exit code 1.
                failed = True
                run.say(f"FAILED: {type(error).__name__}: {error}")
                if not isinstance(error, Failed | TimeoutError):
                    traceback.print_exc()
                run.add(name, 0.0, "failed", 0.0, False)
    except Failed as error:
        failed = True
        print(f"FAILED: {error}")
    finally:
        sampler.stop()
        system.stop()
    if failed:
        logs = args.out.parent / "bench-logs"
        shutil.copytree(system.state.logs, logs, dirs_exist_ok=True)
        print(f"what the processes logged is kept in {logs}")
    write(results, args.out)
    print(f"\n{table(results, with_bars=not args.small)}\n")
    minutes = (time.monotonic() - begun) / 60
    print(f"{args.out} written; {minutes:.1f} minutes")
    if args.small:
        print("a small run: the answers count, the speeds say nothing")
    return 0 if results and not failed and all(r.answer_ok for r in results) else 1


if __name__ == "__main__":
    sys.exit(main())
