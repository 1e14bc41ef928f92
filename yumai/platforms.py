"""What a platform may be called. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from yumai import canary

PLATFORM_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""Short enough for `feed.ID.v1` (Kafka takes 249 characters) and `platform-ID`."""
RESERVED = frozenset({"bureau", "district", "platform", "public", "operator", "system"})
"""Names of roles: a platform of that name would be taken for the role wherever both are written."""
RESERVED_PREFIX = "yumai"


def folded(platform_id: str) -> str:
    """Equal for ids that are too alike: Kafka's metrics don't tell `.` from `_`, nor people `A` from `a`."""
    return platform_id.replace(".", "_").lower()


def is_platform_id(text: str) -> bool:
    """Whether a platform may have this id. The canary's is the only one of ours."""
    if not PLATFORM_ID.fullmatch(text):
        return False
    name = folded(text)
    return text == canary.PLATFORM or not (name in RESERVED or name.startswith(RESERVED_PREFIX))


def why_not(text: str) -> str:
    """Why it is no platform's id."""
    if not PLATFORM_ID.fullmatch(text):
        return f"platform id {text!r}: want {PLATFORM_ID.pattern}"
    return f"platform id {text!r}: the name is reserved"


def too_alike(platform_id: str, others: Iterable[str]) -> str | None:
    """The first of the others that it can't be told from."""
    alike = (o for o in others if o != platform_id and folded(o) == folded(platform_id))
    return next(alike, None)
