"""What the store says of receipts and days: read only, and only when somebody asks."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import date
from typing import Any

from clickhouse_connect.driver.asyncclient import AsyncClient

from yumai import canary
from yumai.store.asked import Queries, limits
from yumai.store.client import STORE_ERRORS, connect_async

_TIMEOUT_SECONDS = 15.0
_AWAY: tuple[type[Exception], ...] = (TimeoutError, *STORE_ERRORS)


class StoreAway(Exception):
    """The store does not answer; the log is complete all the same."""


@dataclass(frozen=True)
class Counts:
    booked: int
    duplicates: int
    conflicts: int

    @property
    def decided(self) -> int:
        return self.booked + self.duplicates + self.conflicts


_RECEIPT = "toFixedString(unhex({receipt:String}), 16)"


class Bookings:
    def __init__(self, dsn: str, queries: Queries) -> None:
        self._dsn = dsn
        self._queries = queries
        self._client: AsyncClient | None = None

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    async def _rows(
        self, sql: str, parameters: dict[str, Any], settings: dict[str, str] | None = None
    ) -> list[tuple[Any, ...]]:
        """Raises StoreAway, TooMuch."""
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS), self._queries.turn() as rank:
                if self._client is None:
                    self._client = await connect_async(
                        self._dsn, timeout=_TIMEOUT_SECONDS, sequential=True, with_canary=True
                    )
                result = await self._client.query(
                    sql,
                    parameters=parameters,
                    settings={**limits(_TIMEOUT_SECONDS, rank), **(settings or {})},
                )
                return [tuple(row) for row in result.result_rows]
        except _AWAY as error:
            raise StoreAway(f"{type(error).__name__}: {str(error)[:200]}") from error

    async def ping(self) -> None:
        await self._rows("SELECT 1", {})

    async def counts(self, receipt_id: str) -> Counts:
        rows = await self._rows(
            f"""SELECT
                (SELECT toUInt64(sum(booked)) FROM receipt_bookings FINAL WHERE receipt = {_RECEIPT}),
                (SELECT count() FROM verdicts FINAL
                    WHERE receipt = {_RECEIPT} AND verdict = 'duplicate'),
                (SELECT count() FROM verdicts FINAL
                    WHERE receipt = {_RECEIPT} AND verdict = 'conflict')""",
            {"receipt": receipt_id},
        )
        booked, duplicates, conflicts = rows[0]
        return Counts(int(booked or 0), int(duplicates or 0), int(conflicts or 0))

    async def receipt(self, receipt_id: str) -> dict[str, Any] | None:
        """The receipt as projected, without its errors."""
        names = ("platform_id", "received", "accepted", "rejected", "format", "at")
        rows = await self._rows(
            f"""SELECT platform, received, accepted, rejected, format, toUnixTimestamp64Milli(at)
                FROM receipts FINAL WHERE receipt = {_RECEIPT}""",
            {"receipt": receipt_id},
        )
        return dict(zip(names, rows[0], strict=True)) if rows else None

    async def newest(self, platform_id: str | None, limit: int) -> list[dict[str, Any]]:
        names = ("receipt_id", "platform_id", "received", "accepted", "rejected", "format", "at")
        rows = await self._rows(
            """SELECT lower(hex(receipt)), platform, received, accepted, rejected, format,
                    toUnixTimestamp64Milli(at)
                FROM receipts FINAL WHERE {platform:String} IN ('', platform)
                ORDER BY at DESC, receipt LIMIT {limit:UInt32}""",
            {"platform": platform_id or "", "limit": limit},
            canary.HIDING if platform_id is None else None,
        )
        return [dict(zip(names, row, strict=True)) for row in rows]

    async def platforms_of(self, receipt_id: str) -> set[str]:
        """Platforms with rows of a receipt in the books or the dead letters."""
        rows = await self._rows(
            f"""SELECT DISTINCT platform FROM (
                SELECT platform FROM verdicts WHERE receipt = {_RECEIPT}
                UNION ALL SELECT platform FROM dead_letters WHERE receipt = {_RECEIPT}
                UNION ALL SELECT platform FROM entries
                    WHERE receipt_low = reinterpretAsUInt64(substring(unhex({{receipt:String}}), 1, 8))
                    AND {_RECEIPT} IN (SELECT receipt FROM receipt_bookings))""",
            {"receipt": receipt_id},
        )
        return {row[0] for row in rows}

    async def rows(self, receipt_id: str, verdict: str) -> list[tuple[int, str, str]]:
        """(index, field, code) of all rows with that verdict; "" for every verdict."""
        found: list[tuple[int, str, str]] = []
        if verdict in ("", "rejected"):
            found += await self._rows(
                f"""SELECT row, any(field), any(code) FROM dead_letters
                    WHERE receipt = {_RECEIPT} AND code != 'conflict'
                    GROUP BY row ORDER BY row""",
                {"receipt": receipt_id},
            )
        if verdict != "rejected":
            found += await self._rows(
                f"""SELECT row, '', toString(verdict) FROM verdicts FINAL
                    WHERE receipt = {_RECEIPT} AND {{verdict:String}} IN ('', toString(verdict))
                    ORDER BY row""",
                {"receipt": receipt_id, "verdict": verdict},
            )
        return sorted((int(index), field, code) for index, field, code in found)

    async def control_totals(self, platform_id: str, day: date) -> dict[str, int]:
        names = ("entries", "sales_fen", "refunds_fen", "reversals_fen", "net_fen")
        rows = await self._rows(
            f"""SELECT {", ".join(names)} FROM control_totals
                WHERE date = {{day:Date}} AND platform = {{platform:String}}""",
            {"day": day, "platform": platform_id},
        )
        found = rows[0] if rows else (0,) * len(names)
        return {name: int(value) for name, value in zip(names, found, strict=True)}
