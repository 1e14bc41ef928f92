"""Records of our topics that can't be read: each reader names them, counts them and goes on."""

from __future__ import annotations

import logging

from yumai.observability import telemetry

log = logging.getLogger("yumai.broker")


def passed_over(topic: str, offset: int, error: BaseException, last: int | None = None) -> None:
    """Says so, of one offset or up to `last`. What was acknowledged never comes here: only `entries.v1` holds that."""
    offsets = f"offset {offset}" if last in (None, offset) else f"offsets {offset} to {last}"
    log.error("%s %s can't be read: %.300r", topic, offsets, error)
    telemetry.STRAY_RECORDS.inc(topic=topic)
