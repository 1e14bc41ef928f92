"""Rows of a feed cut and joined: into pieces that can be committed, and into shares of one receipt. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from services.ingest.doors.feed_batches import Rows
from services.ingest.doors.feed_turns import TURN_ROWS, Turn

SEGMENT = 1 << 20
"""So many offsets of a partition share a receipt."""


def pieces(turn: Turn) -> Iterator[Turn]:
    """The turn in pieces of a bearable number of rows, each ending where it can be committed."""
    if sum(map(len, turn.rows)) <= 2 * TURN_ROWS:
        yield turn
        return
    # What is set aside goes first: no commit may pass it before it is durable.
    yield Turn(turn.partition, turn.begin, turn.begin, [], turn.aside)
    at = turn.begin
    for rows in turn.rows:
        for begin in range(0, len(rows), TURN_ROWS):
            piece = rows.cut(begin, begin + TURN_ROWS)
            end = int(piece.offset[-1]) + 1
            yield Turn(turn.partition, at, end, [piece])
            at = end
    yield Turn(turn.partition, at, turn.end)


def halves(rows: list[Rows]) -> tuple[list[Rows], list[Rows]]:
    if len(rows) > 1:
        return rows[: len(rows) // 2], rows[len(rows) // 2 :]
    middle = len(rows[0]) // 2
    return [rows[0].cut(0, middle)], [rows[0].cut(middle, len(rows[0]))]


def joined(rows: list[Rows]) -> Rows | None:
    """Batches one after the other, as if they were one: many hold a single record."""
    if len(rows) <= 1:
        return rows[0] if rows else None
    shifts = np.cumsum([0, *(len(one.data) for one in rows)]).tolist()
    return Rows(
        np.concatenate([one.data for one in rows]),
        np.concatenate([one.offset for one in rows]),
        np.concatenate([one.start + shift for one, shift in zip(rows, shifts, strict=False)]),
        np.concatenate([one.size for one in rows]),
        np.concatenate([one.headers + shift for one, shift in zip(rows, shifts, strict=False)]),
    )


def by_segment(rows: Rows | None) -> Iterator[Rows]:
    """Rows that share a receipt."""
    if rows is None or not len(rows):
        return
    cuts = np.flatnonzero(np.diff(rows.offset // SEGMENT)) + 1
    edges = [0, *cuts.tolist(), len(rows)]
    for begin, end in itertools.pairwise(edges):
        yield rows.cut(begin, end)
