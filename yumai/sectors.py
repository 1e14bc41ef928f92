"""Sectors: their codes as text and as the small integers of the log, and what maps to them. Pure.

Sources: the plan's twelve headings plus S99, G00, X00, U00 (`reference/sectors.csv`); merchant
category codes of ISO 18245 (`reference/mcc_map.csv`); GB/T 4754-2017 classes
(`reference/gbt4754_map.csv`).
"""

from __future__ import annotations

import csv
from functools import cache
from importlib.resources import files

SECTOR_NUMBERS: dict[str, int] = {
    "U00": 0,
    **{f"S{n:02d}": n for n in range(1, 13)},
    "S99": 99,
    "G00": 100,
    "X00": 101,
}
SECTOR_CODES: dict[int, str] = {number: code for code, number in SECTOR_NUMBERS.items()}
UNRESOLVED = 0


def _rows(name: str) -> list[dict[str, str]]:
    text = (files("yumai") / "reference" / name).read_text(encoding="utf-8-sig")
    return list(csv.DictReader(text.splitlines()))


@cache
def sectors() -> list[dict[str, str]]:
    """Rows of sectors.csv: code, slug, zh, en, kind, tasks."""
    return _rows("sectors.csv")


@cache
def mcc_sectors() -> dict[str, int]:
    """Four-digit MCC -> sector number; an MCC that is not here is unresolved."""
    return {row["mcc"]: SECTOR_NUMBERS[row["sector"]] for row in _rows("mcc_map.csv")}


@cache
def _industries() -> dict[str, int]:
    return {row["gbt4754_2017"]: SECTOR_NUMBERS[row["sector"]] for row in _rows("gbt4754_map.csv")}


def industry_sector(industry: str) -> int | None:
    """Sector number of a GB/T 4754 class: the longest mapped prefix of it, else None.

    `H6210` is found as `H62`. A class is a letter and up to four digits.
    """
    known = _industries()
    for length in range(len(industry), 0, -1):
        if industry[:length] in known:
            return known[industry[:length]]
    return None
