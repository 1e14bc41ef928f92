"""What a check found: where it stands and what is wrong with it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

_SECONDS = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?")
Path = tuple[str | int, ...]
"""A field: keys and list positions from the object's root."""


def dotted(path: Path) -> str:
    """`spec.containers[0].ports`; a key with dots in it is quoted."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif "." in part or "/" in part:
            text += f"['{part}']"
        else:
            text += f".{part}" if text else part
    return text or "(whole)"


@dataclass(frozen=True, order=True)
class Finding:
    """`file` is relative to the root of the repository."""

    file: str
    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}: {self.field}: {self.message}"


def near(name: object, known: Iterable[str]) -> str:
    """` (did you mean X?)` where something known is near."""
    found = difflib.get_close_matches(str(name), list(known), 1, 0.6)
    return f" (did you mean {found[0]!r}?)" if found else ""


def listed(names: Iterable[object]) -> str:
    return ", ".join(sorted(map(str, names))) or "none"


def seconds(text: object) -> float:
    """Of a duration such as `1m30s`; NaN for none."""
    match = _SECONDS.fullmatch(str(text))
    parts = zip(match.groups(), (3600, 60, 1, 0.001), strict=True) if match else ()
    return sum(int(n) * unit for n, unit in parts if n) if match and text else float("nan")
