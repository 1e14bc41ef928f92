"""Exceptions as ClickHouse's clients expect them: a code, a name, a text, an HTTP status."""

import re

# What ClickHouse's HTTPHandler answers; every other code is a 500. Clients retry 429, 503 and 504,
# so none of these may stand here.
_BAD_REQUEST = {
    *(6, 26, 27, 36, 38, 41, 43, 53, 57, 62, 69, 70, 72, 82, 115, 117, 130, 131, 158, 190, 321),
    *(349, 386, 396, 428, 441, 456, 457, 467, 636, 691),
}
_NOT_FOUND = {16, 46, 47, 50, 56, 60, 73, 81, 370}
_STATUS = {161: 403, 164: 403, 344: 501, 48: 501, 373: 423, 497: 403, 516: 403}

_CODE = re.compile(r"Code: (\d+)\. ")


class EngineError(Exception):
    """What the engine (or this server in its place) refused, with ClickHouse's error code."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text

    @property
    def status(self) -> int:
        """The HTTP status that ClickHouse gives this code."""
        if self.code in _STATUS:
            return _STATUS[self.code]
        return 400 if self.code in _BAD_REQUEST else 404 if self.code in _NOT_FOUND else 500


def refused(code: int, name: str, reason: str) -> EngineError:
    """An error of this server itself, in the engine's words."""
    return EngineError(code, f"Code: {code}. DB::Exception: {reason}. ({name})")


def from_engine(error: Exception, version: str) -> EngineError:
    """The engine's exception without chDB's wrapping; code 1002 (UNKNOWN_EXCEPTION) if it has none.

    chDB prefixes some texts ("Streaming insert finish failed: ") and drops the version that
    ClickHouse ends its texts with.
    """
    if isinstance(error, EngineError):
        return error
    text = str(error).strip()
    match = _CODE.search(text)
    if not match:
        return EngineError(1002, f"Code: 1002. DB::Exception: {text}. (UNKNOWN_EXCEPTION)")
    text = text[match.start() :]
    if "(version " not in text:
        text += f" (version {version})"
    return EngineError(int(match[1]), text)
