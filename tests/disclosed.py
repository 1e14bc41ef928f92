"""What a district may be shown, said again in plain Python: books are {(day, sector, recorded day): entries}."""

from calendar import monthrange
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable
from datetime import date, timedelta

Cell = tuple[date, str, date]
Books = dict[Cell, int]
LENGTH = {"day": 10, "month": 7, "year": 4}
LEAST = 3
GROUP = 4
"""Cells of one or two entries are cut here: what is left of a group is three at least."""


def atoms(books: Books, closed: date | None, as_of: date | None, by_day: bool) -> list[set[Cell]]:
    """The sets of base cells that are shown together, as the books are known at `as_of`.

    `by_day`: without those of a year's chain.
    """
    known = {cell: n for cell, n in books.items() if as_of is None or cell[2] <= as_of}
    found = [{cell} for cell, n in known.items() if n >= LEAST]
    if closed is None:
        return found
    closed = min(closed, as_of or closed)
    running = month(closed + timedelta(days=1))
    months: dict[tuple[str, str], list[Cell]] = defaultdict(list)
    years: dict[tuple[int, str], list[tuple[date, date, date]]] = defaultdict(list)
    for cell, n in known.items():
        day, sector, recorded = cell
        if n < LEAST and recorded <= closed:
            if month(day) == month(recorded):
                months[month(day), sector].append(cell)
            else:
                years[day.year, sector].append((recorded, recorded, day))
    for (of, sector), chain in months.items():
        groups, rest = cut(sorted(chain, key=lambda cell: (cell[2], cell[0])), known)
        found += groups
        if of < running:
            ends = [date(d.year, d.month, monthrange(d.year, d.month)[1]) for d, _, _ in rest]
            years[int(of[:4]), sector] += [
                (end, recorded, day) for end, (day, _, recorded) in zip(ends, rest, strict=True)
            ]
    for (_, sector), links in () if by_day else years.items():
        found += cut([(day, sector, recorded) for _, recorded, day in sorted(links)], known)[0]
    return found


def month(day: date) -> str:
    return day.isoformat()[:7]


def cut(chain: list[Cell], books: Books) -> tuple[list[set[Cell]], list[Cell]]:
    """The full groups of a chain, and the cells of the last one that is not."""
    groups: dict[int, list[Cell]] = defaultdict(list)
    running = 0
    for cell in chain:
        groups[running // GROUP].append(cell)
        running += books[cell]
    full = running // GROUP
    return [set(groups[n]) for n in range(full)], groups[full]


def rows(
    shown: Iterable[set[Cell]],
    asked: Callable[[Cell], bool],
    row: Callable[[Cell], Hashable],
) -> dict[Hashable, set[Cell]]:
    """The base cells that each row of an answer adds up: whole atoms that lie in that row."""
    found: dict[Hashable, set[Cell]] = defaultdict(set)
    for atom in shown:
        if all(asked(cell) for cell in atom) and len({row(cell) for cell in atom}) == 1:
            found[row(next(iter(atom)))] |= atom
    return found


def inside(first: date, last: date, sectors: Collection[str] | None) -> Callable[[Cell], bool]:
    return lambda cell: first <= cell[0] <= last and (sectors is None or cell[1] in sectors)


def row_of(grain: str, by_sector: bool) -> Callable[[Cell], tuple[str, str]]:
    size = LENGTH[grain]
    return lambda cell: (cell[0].isoformat()[:size], cell[1] if by_sector else "")
