"""What the store and the broker raise while they are away: waited out, never counted as a failure of ours."""

from __future__ import annotations

from aiokafka.errors import KafkaError

from yumai.store.client import STORE_ERRORS

BROKER_AWAY: tuple[type[Exception], ...] = (KafkaError, TimeoutError, OSError)
AWAY: tuple[type[Exception], ...] = (*BROKER_AWAY, *STORE_ERRORS)
