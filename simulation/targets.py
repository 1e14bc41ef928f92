"""What the simulated city reaches in truth, and the annual targets that its districts set themselves."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import numpy as np

from contracts.days import DAY_MS, SHANGHAI_MS
from simulation.city import EDGE, SECTORS, SERVICES, day_number, place_codes, places
from simulation.columns import SIGNS
from simulation.flow import Flow


def net_by_place(
    flow: Flow,
    first: date,
    last: date,
    counts: dict[date, int],
    sectors: tuple[str, ...] = SERVICES,
) -> dict[str, int]:
    """Net fen of `sectors` that occurred in the range, by district of before the division change.

    As the merchants are registered in truth; without duplicates and conflicts.
    """
    c, net = flow.city.columns, np.zeros(len(places()), dtype=np.int64)
    wanted = np.isin(SECTORS, sectors)
    low, high = (
        day_number(first) * DAY_MS - SHANGHAI_MS,
        (day_number(last) + 1) * DAY_MS - SHANGHAI_MS,
    )
    day = first
    while day <= last:
        rows = flow.facts(day_number(day), np.arange(counts[day], dtype=np.uint64))
        occurred = (rows.occurred_ms + SHANGHAI_MS) // DAY_MS
        place = np.where(
            occurred >= c["moved"][rows.merchant],
            c["move_to"][rows.merchant],
            c["place"][rows.merchant],
        )
        signed = rows.amount * SIGNS[rows.kind]
        signed[(rows.occurred_ms < low) | (rows.occurred_ms >= high)] = 0
        signed[~wanted[c["sector"][rows.merchant]]] = 0
        # float64 is exact below 2^53 fen a day and place
        net += np.bincount(place, weights=signed, minlength=len(net)).astype(np.int64)
        day += timedelta(days=1)
    return dict(zip(places(), net.tolist(), strict=True))


def targets(flow: Flow, counts: dict[date, int], years: tuple[int, ...]) -> list[dict[str, Any]]:
    """An annual target of all services for each district of each year, over the year before.

    5 % or so more, as districts set them; in the districts of EDGE just what they will reach.
    `counts`: entries of every day of these years and of the years before. To 100 yuan.
    """
    result = []
    for year in years:
        before = net_by_place(flow, date(year - 1, 1, 1), date(year - 1, 12, 31), counts)
        rng = np.random.default_rng([flow.seed, 24, year])
        growth = dict(
            zip(places(), 0.045 + rng.integers(0, 5, len(places())) * 0.0025, strict=True)
        )
        reached = net_by_place(flow, date(year, 1, 1), date(year, 12, 31), counts)
        for place in EDGE:
            growth[place] = reached[place] / max(before[place], 1) - 1
        codes = place_codes(day_number(date(year, 7, 1)))
        targets: dict[str, float] = {}
        for place, code in zip(places(), codes, strict=True):
            targets[code] = targets.get(code, 0.0) + before[place] * (1 + growth[place])
        result += [
            {"year": year, "district": code, "target_fen": round(value / 10_000) * 10_000}
            for code, value in sorted(targets.items())
        ]
    return result
