"""The merchant registry's spans: replacing what overlaps, and which span holds on a date. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta

import msgspec

from contracts.merchants.codec import Span

_DAY = timedelta(days=1)
_LAST = date.max


def _end(span: Span) -> date:
    return span.valid_to or _LAST


def replace_overlap(history: Iterable[Span], new: Span) -> tuple[Span, ...]:
    """The history with `new` in it; what it overlaps is cut, in two where it reaches over both ends.

    Raises ValueError where `new` ends before it begins.
    """
    if _end(new) < new.valid_from:
        raise ValueError("valid_to is before valid_from")
    kept = [new]
    for old in history:
        if _end(old) < new.valid_from or old.valid_from > _end(new):
            kept.append(old)
            continue
        if old.valid_from < new.valid_from:
            kept.append(msgspec.structs.replace(old, valid_to=new.valid_from - _DAY))
        if new.valid_to is not None and _end(old) > new.valid_to:
            kept.append(msgspec.structs.replace(old, valid_from=new.valid_to + _DAY))
    return tuple(sorted(kept, key=lambda span: span.valid_from))


def span_on(history: Iterable[Span], day: date) -> Span | None:
    """The span that holds on a Shanghai date."""
    for span in history:
        if span.valid_from <= day <= _end(span):
            return span
    return None
