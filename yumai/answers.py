"""JSON for answers: as orjson writes it, and sums beyond 64 bits as whole numbers all the same. Pure."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson


def encoded(body: Any) -> bytes:
    try:
        return orjson.dumps(body, default=msgspec.to_builtins)
    except TypeError:  # orjson has no integers beyond 64 bits
        return msgspec.json.encode(body)
