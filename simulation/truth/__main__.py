"""`python -m simulation.truth`: judges simulated cities, prints the table and writes `build/truth.json`."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from simulation.truth.city import DISTRICTS, LAGGING, PAST_YEARS
from simulation.truth.counting import BARS, Counted, Result, count, missed, result, table

CITIES = 120
EVERY = 15


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m simulation.truth", description=__doc__)
    parser.add_argument("--cities", type=int, default=CITIES, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the first city")
    parser.add_argument(
        "--every",
        type=int,
        default=EVERY,
        metavar="DAYS",
        help="between looks, beside month-ends and each day around the silence",
    )
    parser.add_argument("--processes", type=int, default=min(os.cpu_count() or 1, 2), metavar="N")
    parser.add_argument("--out", type=Path, default=Path("build/truth.json"))
    args = parser.parse_args(arguments)
    begun = time.monotonic()
    print(
        f"{args.cities} cities of {DISTRICTS} districts, {LAGGING} of them 3 or 6 % short, {PAST_YEARS} past years",
        flush=True,
    )
    seeds = range(args.seed, args.seed + args.cities)
    cities = _cities(seeds, args.every, args.processes)
    found = result(cities)
    _show(cities, found)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(f"\n{args.out} written; {(time.monotonic() - begun) / 60:.1f} minutes")
    return 1 if missed(found) else 0


def _cities(seeds: range, every: int, processes: int) -> list[Counted]:
    one = partial(count, every=every)
    if processes < 2:
        return [one(seed) for seed in seeds]
    # Each process does one city at a time: threads inside numpy would only be in each other's way.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with ProcessPoolExecutor(processes) as pool:
        return list(pool.map(one, seeds))


def _show(cities: list[Counted], found: Result) -> None:
    print(f"\n{'':20}{'found by June':>16}{'by October':>14}{'on target, ever red':>22}")
    for way, (june, october, red) in table(cities).items():
        # A Chinese character is two columns wide.
        width = 20 - sum(ord(letter) > 0x2E80 for letter in way)
        print(f"{way:{width}}{june:>16.1%}{october:>14.1%}{red:>22.2%}")
    print()
    bad = missed(found)
    for key, value in found.items():
        shown = f"{value:.4f}" if isinstance(value, float) else str(value)
        verdict = ""
        if key in BARS:
            low, high = BARS[key]
            verdict = f"{'MISSED' if key in bad else 'ok'} (bar {low}–{high})"
        print(f"{key:32}{shown:>10}   {verdict}".rstrip())


if __name__ == "__main__":
    sys.exit(main())
