"""Records of our topics that can't be read: each reader names them, counts them and goes on."""

from __future__ import annotations

import logging

from yumai.observability import telemetry

log = logging.getLogger("yumai.broker")


def passed_over(topic: str, offset: int, error: BaseException) -> None:
    """Says so. What was acknowledged never comes here: only `entries.v1` holds that."""
    log.error("%s offset %d can't be read: %.300r", topic, offset, error)
    telemetry.STRAY_RECORDS.inc(topic=topic)
