"""`python -m console.truth`: judges simulated cities, prints the table and writes `build/truth.json`."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from console.truth.city import DISTRICTS, LAGGING, PAST_YEARS, SHORT, city
from console.truth.judging import WAYS, judge
from yumai.methods.aligned import month_starts
from yumai.methods.levels import RED, YELLOW

CITIES = 200
JUNE, OCTOBER = 6, 10
BARS = {
    "found_june": (0.60, 1.0),
    "found_october": (0.95, 1.0),
    "false_red": (0.0, 0.02),
    "cover_80": (0.75, 0.85),
    "alerts_from_silent_feed": (0, 0),
    "alerts_from_joining_platform": (0, 0),
}


@dataclass(frozen=True)
class Counted:
    """Of one city, for each way of judging: lagging districts found by the two dates, on-target ones ever red."""

    lagging: int
    on_target: int
    june: dict[str, int]
    october: dict[str, int]
    ever_red: dict[str, int]
    inside: int
    intervals: int
    from_silent_feed: int
    from_joining_platform: int


def count(seed: int) -> Counted:
    simulated = city(seed)
    verdicts = judge(simulated)
    starts = month_starts(simulated.year)
    lagging = simulated.short >= SHORT - 1e-9
    on_target = simulated.short <= 0

    def found(way: str, month: int) -> int:
        levels = verdicts.levels[way][: int(starts[month]) - verdicts.first]
        return int((np.any(levels >= YELLOW, axis=0) & lagging).sum())

    return Counted(
        int(lagging.sum()),
        int(on_target.sum()),
        {way: found(way, JUNE) for way in WAYS},
        {way: found(way, OCTOBER) for way in WAYS},
        {way: int((np.any(verdicts.levels[way] >= RED, axis=0) & on_target).sum()) for way in WAYS},
        int(verdicts.inside.sum()),
        int(verdicts.inside.size),
        verdicts.from_silent_feed,
        verdicts.from_joining_platform,
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m console.truth", description=__doc__)
    parser.add_argument("--cities", type=int, default=CITIES, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the first city")
    parser.add_argument("--processes", type=int, default=min(os.cpu_count() or 1, 2), metavar="N")
    parser.add_argument("--out", type=Path, default=Path("build/truth.json"))
    args = parser.parse_args()
    begun = time.monotonic()
    print(
        f"{args.cities} cities of {DISTRICTS} districts, {LAGGING} of them 3 or 6 % short, {PAST_YEARS} past years",
        flush=True,
    )
    # Each process does one city at a time: threads inside numpy would only be in each other's way.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with ProcessPoolExecutor(args.processes) as pool:
        counted = list(pool.map(count, range(args.seed, args.seed + args.cities)))

    lagging = sum(c.lagging for c in counted)
    on_target = sum(c.on_target for c in counted)
    table = {
        way: (
            sum(c.june[way] for c in counted) / lagging,
            sum(c.october[way] for c in counted) / lagging,
            sum(c.ever_red[way] for c in counted) / on_target,
        )
        for way in WAYS
    }
    found = dict(zip(("found_june", "found_october", "false_red"), table["yumai"], strict=True))
    result: dict[str, float | int] = {
        **found,
        "cover_80": sum(c.inside for c in counted) / sum(c.intervals for c in counted),
        "alerts_from_silent_feed": sum(c.from_silent_feed for c in counted),
        "alerts_from_joining_platform": sum(c.from_joining_platform for c in counted),
    }
    print(f"\n{'':20}{'found by June':>16}{'by October':>14}{'on target, ever red':>22}")
    for way, (june, october, red) in table.items():
        # A Chinese character is two columns wide.
        width = 20 - sum(ord(letter) > 0x2E80 for letter in way)
        print(f"{way:{width}}{june:>16.1%}{october:>14.1%}{red:>22.2%}")
    print()
    for key, (low, high) in BARS.items():
        met = low <= result[key] <= high
        shown = f"{result[key]:.4f}" if isinstance(result[key], float) else str(result[key])
        print(f"{key:32}{shown:>10}   {'ok' if met else 'MISSED'} (bar {low}–{high})")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"\n{args.out} written; {(time.monotonic() - begun) / 60:.1f} minutes")
    return 0 if all(low <= result[key] <= high for key, (low, high) in BARS.items()) else 1


if __name__ == "__main__":
    sys.exit(main())
