"""Rows of the tables that show alerts, actions, work items and deliveries. Pure."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa

from services.metrics.ledger import milliseconds

FIRST_HOLDS = 2**63


def _found(messages: list[Any]) -> list[tuple[dict[str, Any], Any]]:
    """Raises ValueError for a record that is no object."""
    found = [(json.loads(m.value), m) for m in messages if m.value]
    for said, _ in found:
        if not isinstance(said, dict):
            raise ValueError("not an object")
    return found


def _texts(found: list[tuple[dict[str, Any], Any]], name: str) -> pa.Array:
    return pa.array([str(r.get(name) or "") for r, _ in found], pa.string())


def _numbers(found: list[tuple[dict[str, Any], Any]], name: str, kind: pa.DataType) -> pa.Array:
    return pa.array([r.get(name) or 0 for r, _ in found], kind)


def _instants(found: list[tuple[dict[str, Any], Any]], name: str = "at") -> pa.Array:
    return milliseconds(np.array([r.get(name) or m.timestamp for r, m in found], dtype=np.int64))


def _json(values: list[Any]) -> pa.Array:
    return pa.array([json.dumps(v, ensure_ascii=False) for v in values], pa.string())


def alerts_rows(messages: list[Any]) -> pa.RecordBatch:
    found = _found(messages)
    return pa.RecordBatch.from_pydict(
        {
            "id": pa.array([a["id"] for a, _ in found], pa.string()),
            "seq": pa.array([a["seq"] for a, _ in found], pa.uint32()),
            "at": _instants(found),
            "by": pa.array([a.get("by") or "system" for a, _ in found], pa.string()),
            "year": pa.array([a["year"] for a, _ in found], pa.uint16()),
            "district": pa.array([a["district"] for a, _ in found], pa.string()),
            "kind": pa.array([a["kind"] for a, _ in found], pa.string()),
            "state": pa.array([a["state"] for a, _ in found], pa.string()),
            "level": _texts(found, "level"),
            "text": _texts(found, "text"),
            "sectors": _json([a.get("sectors") or [] for a, _ in found]),
            "figures": _json([a.get("figures") or {} for a, _ in found]),
            "escalated_at": pa.array(
                [a.get("escalated_at") for a, _ in found], pa.timestamp("ms", "UTC")
            ),
            "work_item_id": _texts(found, "work_item_id"),
            "version": pa.array([FIRST_HOLDS - m.offset for _, m in found], pa.uint64()),
        }
    )


def actions_rows(messages: list[Any]) -> pa.RecordBatch:
    found = _found(messages)
    return pa.RecordBatch.from_pydict(
        {
            "id": pa.array([a.get("action") or a["id"] for a, _ in found], pa.string()),
            "record": pa.array([a["record"] for a, _ in found], pa.string()),
            "at": _instants(found),
            "kind": _texts(found, "kind"),
            "by": _texts(found, "by"),
            "alert_id": _texts(found, "alert_id"),
            "result": _texts(found, "result"),
            "body": _json([a for a, _ in found]),
        }
    )


def work_items_rows(messages: list[Any]) -> pa.RecordBatch:
    found = _found(messages)
    return pa.RecordBatch.from_pydict(
        {
            "item": pa.array([e["item"] for e, _ in found], pa.string()),
            "event": pa.array([e["event"] for e, _ in found], pa.string()),
            "at": _instants(found),
            "by": _texts(found, "by"),
            "kind": _texts(found, "kind"),
            "fields": _json([e.get("fields") or {} for e, _ in found]),
            "version": pa.array([m.offset for _, m in found], pa.uint64()),
        }
    )


def deliveries_rows(messages: list[Any]) -> pa.RecordBatch:
    found = _found(messages)
    return pa.RecordBatch.from_pydict(
        {
            "id": pa.array([d["id"] for d, _ in found], pa.string()),
            **{
                name: _texts(found, name)
                for name in ("office", "subscription", "source", "alert_id")
            },
            "seq": _numbers(found, "seq", pa.uint32()),
            "state": _texts(found, "state"),
            "attempts": _numbers(found, "attempts", pa.uint32()),
            "last_error": _texts(found, "last_error"),
            "created_at": _instants(found, "created_at"),
            "at": _instants(found),
            "version": pa.array([m.offset for _, m in found], pa.uint64()),
        }
    )
