"""Whoever adds and subtracts all answers that a district may ask for learns nothing of fewer than three entries."""

import calendar
from collections.abc import Iterator
from datetime import date, timedelta
from itertools import product

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.disclosed import LEAST, Books, Cell, atoms, cut, inside, row_of, rows

PRIME = 2**61 - 1
START = date(2023, 11, 24)
SECTORS = ("S01", "S02")
days = st.integers(0, 75)


@st.composite
def books(draw: st.DrawFn) -> Books:
    """Few days of three months and two years; some cells are recorded days, weeks or months later."""
    found: Books = {}
    for _ in range(draw(st.integers(1, 30))):
        day = START + timedelta(days=draw(days))
        late = draw(st.sampled_from([0, 0, 0, 1, 2, 9, 33, 70]))
        cell = (day, draw(st.sampled_from(SECTORS)), day + timedelta(days=late))
        found[cell] = draw(st.sampled_from([1, 1, 1, 2, 2, 3, 5]))
    return found


def answers(book: Books) -> Iterator[set[Cell]]:
    """Every row of every answer: asked at any time, as of any day, of any days, sectors and grain."""
    recorded = sorted({cell[2] for cell in book})
    ends = {day + timedelta(days=n) for day in recorded for n in (0, -1)}
    ends |= {day.replace(day=calendar.monthrange(day.year, day.month)[1]) for day in ends}
    ends |= {date(2023, 12, 31), date(2024, 1, 31), date(2024, 12, 31), date(2025, 1, 31)}
    bounds = sorted({cell[0] for cell in book})
    spans = [(first, last) for last in bounds for first in reversed(bounds) if first <= last]
    seen: set[frozenset[frozenset[Cell]]] = set()
    for closed, as_of, by_day in product(sorted(ends), [None, *recorded], [True, False]):
        now = {cell: n for cell, n in book.items() if cell[2] <= closed + timedelta(days=1)}
        shown = atoms(now, closed, as_of, by_day)
        state = frozenset(map(frozenset, shown))
        if state in seen:
            continue
        seen.add(state)
        for (first, last), wanted, split in product(
            spans[-1:] if by_day else spans,
            (SECTORS, *((s,) for s in SECTORS)),
            (False, True),
        ):
            for grain in ("day",) if by_day else ("month", "year"):
                asked, row = inside(first, last, wanted), row_of(grain, split)
                yield from rows(shown, asked, row).values()


def null_space(vectors: list[set[Cell]], cells: list[Cell]) -> dict[Cell, list[int]]:
    """For each cell its row of a basis of what is orthogonal to all vectors, modulo a prime."""
    place = {cell: n for n, cell in enumerate(cells)}
    reduced: dict[int, list[int]] = {}
    for vector in vectors:
        row = [0] * len(cells)
        for cell in vector:
            row[place[cell]] = 1
        for pivot, known in reduced.items():
            if row[pivot]:
                by = row[pivot]
                row = [(a - by * b) % PRIME for a, b in zip(row, known, strict=True)]
        pivot = next((n for n, value in enumerate(row) if value), None)
        if pivot is None:
            continue
        inverse = pow(row[pivot], -1, PRIME)
        row = [value * inverse % PRIME for value in row]
        for other, known in reduced.items():
            by = known[pivot]
            if by:
                reduced[other] = [(a - by * b) % PRIME for a, b in zip(known, row, strict=True)]
        reduced[pivot] = row
    free = [n for n in range(len(cells)) if n not in reduced]
    return {
        cell: [-reduced[n][f] % PRIME for f in free]
        if n in reduced
        else [int(f == n) for f in free]
        for n, cell in enumerate(cells)
    }


def told(vectors: list[set[Cell]], book: Books) -> list[tuple[Cell, ...]]:
    """Sets of base cells with fewer than LEAST entries of which a sum or a difference can be computed."""
    rest = null_space(vectors, sorted(book))
    small = [cell for cell, n in book.items() if n < LEAST]
    found: list[tuple[Cell, ...]] = [(cell,) for cell in small if not any(rest[cell])]
    alike: dict[tuple[int, ...], Cell] = {}
    for cell in small:
        if book[cell] > 1 or not any(rest[cell]):
            continue
        lead = pow(next(value for value in rest[cell] if value), -1, PRIME)
        direction = tuple(value * lead % PRIME for value in rest[cell])
        if direction in alike:
            found.append((alike[direction], cell))
        alike[direction] = cell
    return found


@settings(max_examples=25)
@given(books())
@example({(START + timedelta(days=n), "S01", START + timedelta(days=n)): 1 for n in range(20)})
@example({(START + timedelta(days=n), "S01", START + timedelta(days=n)): 2 for n in range(6)})
def test_no_sum_of_fewer_than_three_entries_follows_from_all_answers(book):
    vectors = [set(v) for v in {frozenset(v) for v in answers(book)}]
    assert all(sum(book[cell] for cell in vector) >= LEAST for vector in vectors)
    assert told(vectors, book) == []


def test_the_attacker_finds_what_exact_totals_would_tell():
    """The same algebra, over answers that leave nothing out: it is able to find a hole."""
    day = START
    book = {(day, "S01", day): 5, (day, "S02", day): 1}
    assert told([set(book), {(day, "S01", day)}], book) == [((day, "S02", day),)]
    three = {(day + timedelta(days=n), "S01", day): 1 for n in range(3)}
    first, *rest = sorted(three)
    assert told([set(three), {first}], three) == [(first,), tuple(rest)]


Micro = tuple[int, str]
"""An hour and a platform of one base cell."""


def told_slices(cell: dict[Micro, int]) -> list[set[Micro]]:
    """Each sum over hours, platforms, both or neither that is shown of one base cell."""
    by = {
        of: {key: {m for m in cell if m[slice_] == key} for key in {m[slice_] for m in cell}}
        for of, slice_ in (("hour", slice(0, 1)), ("platform", slice(1, 2)), ("both", slice(0, 2)))
    }
    least = {of: min(sum(cell[m] for m in part) for part in by[of].values()) for of in by}
    found = [set(cell)] if sum(cell.values()) >= LEAST else []
    if least["both"] >= LEAST:
        return found + [part for of in by for part in by[of].values()]
    if least["platform"] >= LEAST:
        return found + list(by["platform"].values())
    return found + (list(by["hour"].values()) if least["hour"] >= LEAST else [])


@settings(max_examples=200)
@given(
    st.dictionaries(
        st.tuples(st.integers(0, 2), st.sampled_from("pqr")), st.integers(1, 6), min_size=1
    )
)
@example({(0, "p"): 3, (0, "q"): 1, (1, "q"): 3})
def test_hours_and_platforms_of_a_cell_do_not_tell_each_others_rest(cell):
    book = {(START, f"{hour}{platform}", START): n for (hour, platform), n in cell.items()}
    vectors = [{(START, f"{h}{p}", START) for h, p in part} for part in told_slices(cell)]
    assert told(vectors, book) == []


@given(st.lists(st.sampled_from([1, 2]), max_size=40), st.integers(0, 40))
def test_a_group_of_a_chain_has_three_to_five_entries_and_stays_as_it_is(entries, so_far):
    chain = [(START + timedelta(days=n), "S01", START) for n in range(len(entries))]
    book = dict(zip(chain, entries, strict=True))
    before, _ = cut(chain[:so_far], book)
    groups, rest = cut(chain, book)
    assert groups[: len(before)] == before
    assert all(LEAST <= sum(book[cell] for cell in group) <= 5 for group in groups)
    assert sum(book[cell] for cell in rest) <= 3
    assert set().union(rest, *groups) == set(chain)
