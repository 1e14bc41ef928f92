"""Text from outside made fit for eyes: terminals, log lines, spreadsheets. Pure.

Control characters move the cursor and answer for the user, directional ones show a line as another, and a
spreadsheet takes `=…` for a formula. What is escaped is escaped as in JSON: inside JSON it stays the same text.
"""

from __future__ import annotations

import re

_UNSEEN = (
    r"\x00-\x1f\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f"
    r"\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb\U000110bd\U000110cd"
    r"\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f"
)
"""Unicode's categories Cc, Cf, Cs, Zl and Zp."""
_LINE = re.compile(f"[{_UNSEEN}]")
_LINES = re.compile(f"(?![\\n\\t])[{_UNSEEN}]")
_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]")
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")


def line(text: str, most: int | None = None) -> str:
    """One line, of at most so many characters of the text."""
    if most is not None and len(text) > most:
        text = text[:most] + "…"
    return text if text.isascii() and text.isprintable() else _LINE.sub(_escaped, text)


def lines(text: str) -> str:
    """Makes a text printable as `line` does, and keeps line breaks and tabs."""
    return _LINES.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass")
    pairs = (units[n : n + 2] for n in range(0, len(units), 2))
    return "".join(f"\\u{int.from_bytes(pair):04x}" for pair in pairs)


def cell(value: object) -> object:
    """A CSV field: numbers stay numbers, a text never begins a formula (OWASP, CSV injection)."""
    if not isinstance(value, str):
        return value
    risky = _FORMULA.match(value) and not _NUMBER.fullmatch(value)
    return line(f"'{value}" if risky else value)
