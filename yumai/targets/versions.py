"""A target's versions: what each comes to, and how records of one key become one history. Pure.

    amount  T = value                  growth  T = base × (1 + value), half up to the fen
    share   no T: a share of all retail (the city only), value in (0, 1)

A version is fixed when it is set: figures that change later change no target.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Context, Decimal, Inexact
from typing import Any

import msgspec

from contracts.targets.codec import Version

FORMS = ("amount", "growth", "share")
FEN_MOST = 2**63 - 1
# Wide enough that a product of two numbers as long as JSON ever carries is exact.
_EXACT = Context(prec=400, traps=[Inexact])
_EXACT_ROUNDING = Context(prec=400)

Key = tuple[int, str, str | None]
"""Year, district, sector."""


def target_fen(form: str, value: Decimal, base_fen: int | None) -> int | None:
    """What a target comes to, exactly, half up; None for a share, or where it is no amount of fen."""
    if form == "amount":
        found = int(value)
    elif form == "growth" and base_fen is not None:
        product = _EXACT.multiply(Decimal(base_fen), _EXACT.add(Decimal(1), value))
        found = int(product.to_integral_value(rounding=ROUND_HALF_UP, context=_EXACT_ROUNDING))
    else:
        return None
    return found if 0 < found <= FEN_MOST else None


def stored(value: Decimal) -> int | float:
    """A value as the record stores it. `target_fen` is the exact amount."""
    return int(value) if value == value.to_integral_value() else float(value)


def holding(versions: Sequence[Version], form: str) -> Version | None:
    """The version that holds for a form: a share and an amount of fen (or growth) stand side by side."""
    share = form == "share"
    return next((v for v in reversed(versions) if (v.form == "share") == share), None)


def merged(known: Sequence[Version], record: Sequence[Version]) -> tuple[Version, ...]:
    """Versions of a key after one more record of it, oldest first.

    Of two writers that did not know of each other, each wrote a history without the other's version:
    the later in the log follows, under the next number. A version is who set what and when: read again, it
    is the same. (The oldest records do not say when: each of these is a version of its own.)
    """
    same = 0
    while same < min(len(known), len(record)) and known[same] == record[same]:
        same += 1
    if same == len(known):
        return tuple(record)
    found = list(known)
    for version in record[same:] or record[-1:]:
        held = holding(found, version.form)
        if held is not None and same_content(held, version):
            continue
        named = (version.at, version.by, _content(version))
        if version.at is None or all((v.at, v.by, _content(v)) != named for v in found):
            found.append(msgspec.structs.replace(version, version=len(found) + 1))
    return tuple(found)


def same_content(one: Version, other: Version) -> bool:
    return _content(one) == _content(other)


def _content(version: Version) -> tuple[Any, ...]:
    return (
        version.form,
        version.value,
        version.target_fen,
        version.base_fen,
        version.basis or None,
        version.note or None,
    )
