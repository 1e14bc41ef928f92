"""Random numbers by counter: any (seed, lane, day, row) has its number, whatever was drawn before.

So a day is the same whatever range was asked for, and a refund finds the very sale that it refunds
without anything being kept. The mix is splitmix64's finaliser (Steele, Lea, Flood 2014).
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import numpy.typing as npt

UInts = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float64]

_MASK = (1 << 64) - 1
_GOLDEN, _M1, _M2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_S30, _S27, _S31, _S11 = (np.uint64(n) for n in (30, 27, 31, 11))

Z_TABLE: Floats = np.array(
    [NormalDist().inv_cdf((i + 0.5) / 65_536) for i in range(32_768)], dtype=np.float64
)
Z_TABLE = np.concatenate([Z_TABLE, -Z_TABLE[::-1]])
"""Standard normal quantiles: a 16-bit number to its z."""


def mix(number: int) -> int:
    """One 64-bit number, well stirred."""
    number &= _MASK
    number = ((number ^ (number >> 30)) * _M1) & _MASK
    number = ((number ^ (number >> 27)) * _M2) & _MASK
    return number ^ (number >> 31)


def _mix(numbers: UInts) -> UInts:
    """Does `mix` in place."""
    numbers ^= numbers >> _S30
    numbers *= np.uint64(_M1)
    numbers ^= numbers >> _S27
    numbers *= np.uint64(_M2)
    numbers ^= numbers >> _S31
    return numbers


def draw(seed: int, lane: int, day: int | UInts, row: UInts) -> UInts:
    """64 random bits a row. `lane` tells apart the uses that one row makes of chance."""
    lane_key = mix(seed * _GOLDEN + mix(lane + 1))
    if isinstance(day, int):
        return _mix(row * np.uint64(_GOLDEN) + np.uint64(mix(lane_key + day * _M1)))
    keys = _mix(day * np.uint64(_M1) + np.uint64(lane_key))
    return _mix(row * np.uint64(_GOLDEN) + keys)


def unit(numbers: UInts) -> Floats:
    """Into [0, 1), 53 bits."""
    return (numbers >> _S11).astype(np.float64) * (1.0 / (1 << 53))


def bits(numbers: UInts, low: int, count: int) -> npt.NDArray[np.int64]:
    """`count` bits from bit `low` on, as small integers."""
    return ((numbers >> np.uint64(low)) & np.uint64((1 << count) - 1)).astype(np.int64)
