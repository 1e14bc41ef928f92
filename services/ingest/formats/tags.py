"""Scene tags: a list of texts becomes one text, sorted and joined by 0x1F. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from services.ingest.columns import CODE, NUMBER, Text
from yumai.entry import SCENE_TAGS_MAX, TEXT_MAX

_FIELD = NUMBER["scene_tags"]
_list = msgspec.json.Decoder(list[object])
_REMEMBERED = 65_536
LIST_MAX_BYTES = 64 * 1024
"""A list written as text; no allowed one is longer, but for blanks."""


def normalised(tags: Sequence[object]) -> tuple[str | None, bytes | None]:
    """(code of what is wrong, the text); (None, None) where there are no tags."""
    if not tags:
        return None, None
    if len(tags) > SCENE_TAGS_MAX:
        return "too_long", None
    for tag in tags:
        if not isinstance(tag, str):
            return "wrong_type", None
        if len(tag) > TEXT_MAX:
            return "too_long", None
        if not tag or "\x1f" in tag:
            return "invalid_value", None
    try:
        return None, "\x1f".join(sorted(tags)).encode()  # type: ignore[type-var,arg-type]
    except UnicodeEncodeError:
        return "invalid_value", None


class TagReader:
    """Collects the tags of a request's rows. The same list is judged once."""

    def __init__(self, rows: int, flaw_field: np.ndarray, flaw_code: np.ndarray) -> None:
        self._start = np.zeros(rows, np.int64)
        self._size = np.full(rows, -1, np.int32)
        self._flaw_field, self._flaw_code = flaw_field, flaw_code
        self._data = bytearray()
        self._known: dict[object, tuple[str | None, int, int]] = {}

    def json(self, row: int, raw: bytes) -> None:
        """Tags as the text of a JSON array."""
        if len(raw) > LIST_MAX_BYTES:
            self.wrong(row, "too_long")
            return
        found = self._known.get(raw)
        if found is None:
            try:
                found = self._judge(raw, _list.decode(raw))
            except (msgspec.DecodeError, UnicodeError, RecursionError):
                found = self._remember(raw, "wrong_type", None)
        self._put(row, found)

    def listed(self, row: int, tags: tuple[object, ...]) -> None:
        found = self._known.get(tags)
        self._put(row, found or self._judge(tags, tags))

    def wrong(self, row: int, code: str) -> None:
        self._put(row, (code, 0, -1))

    def _judge(self, name: object, tags: Sequence[object]) -> tuple[str | None, int, int]:
        return self._remember(name, *normalised(tags))

    def _remember(
        self, name: object, code: str | None, value: bytes | None
    ) -> tuple[str | None, int, int]:
        begin = len(self._data)
        self._data += value or b""
        found = (code, begin, -1 if value is None else len(value))
        if len(self._known) < _REMEMBERED:
            self._known[name] = found
        return found

    def _put(self, row: int, found: tuple[str | None, int, int]) -> None:
        code, begin, size = found
        self._start[row], self._size[row] = begin, size
        if code and self._flaw_field[row] > _FIELD:
            self._flaw_field[row], self._flaw_code[row] = _FIELD, CODE[code]

    def text(self) -> Text:
        return Text(np.frombuffer(bytes(self._data) or b"\0", np.uint8), self._start, self._size)
