"""What a district may be shown, said again in plain Python: books are {(day, sector, recorded day): entries}."""

from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable
from datetime import date, timedelta

Cell = tuple[date, str, date]
Books = dict[Cell, int]
LENGTH = {"day": 10, "month": 7, "year": 4}
LEAST = 3
GROUP = 4
"""Cells of one or two entries are cut here: what is left of a group is three at least."""


def months(day: date) -> int:
    return day.year * 12 + day.month


def atoms(books: Books, closed: date | None, as_of: date | None, by_year: bool) -> list[set[Cell]]:
    """The sets of base cells that are shown together, as the books are known at `as_of`."""
    known = {cell: n for cell, n in books.items() if as_of is None or cell[2] <= as_of}
    found = [{cell} for cell, n in known.items() if n >= LEAST]
    if closed is None:
        return found
    closed = min(closed, as_of or closed)
    over = months(closed + timedelta(days=1)) - 1
    chains: dict[tuple[int, str, int], list[Cell]] = defaultdict(list)
    for cell, n in known.items():
        day, sector, recorded = cell
        if n < LEAST and recorded <= closed:
            until = max(months(recorded), months(day) + 1)
            chains[months(day), sector, until].append(cell)
    years: dict[tuple[int, str, int], list[tuple[tuple[int, int], set[Cell]]]] = defaultdict(list)
    for (month, sector, until), chain in chains.items():
        links = [{cell} for cell in sorted(chain, key=lambda cell: (cell[2], cell[0]))]
        shown, rest = cut(links, known, until <= over)
        found += shown
        if rest and until <= over:
            year = (month - 1) // 12
            january = (year + 1) * 12 + 1
            ends = january if until <= january else -(-until // 12) * 12
            years[year, sector, ends].append(((until, month), rest))
    if by_year:
        for (_, _, ends), parts in years.items():
            links = [rest for _, rest in sorted(parts, key=lambda part: part[0])]
            found += cut(links, known, ends <= over)[0]
    return found


def cut(links: list[set[Cell]], books: Books, over: bool) -> tuple[list[set[Cell]], set[Cell]]:
    """A chain's links in groups: those that are shown, and what is left for the next chain."""
    groups: dict[int, set[Cell]] = defaultdict(set)
    running = 0
    for link in links:
        groups[running // GROUP] |= link
        running += sum(books[cell] for cell in link)
    full = running // GROUP
    if not over:
        return [groups[n] for n in range(full - 1)], set()
    if running < LEAST:
        return [], set().union(*links)
    last = max(full, 1) - 1
    return [groups[n] for n in range(last)] + [
        set().union(*(group for n, group in groups.items() if n >= last))
    ], set()


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
