"""One round: an entry through every door, followed until `GET /v1/cells` shows it.

before = cells()                 # what the canary's platform sees of the hours drawn
send()                           # every door at once; until it is acknowledged
while not there: cells()         # exactly this entry more, to the fen
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
from kafka import KafkaProducer
from kafka.errors import KafkaError

from services.canary.entry import DOORS, KAFKA, MEDIA_TYPES, Cell, Sent, draw, judge
from yumai import canary, topics
from yumai.broker.security import Bootstrap, client_options

PATIENCE_SECONDS = 60.0
ASK_SECONDS = 10.0
PAUSE_SECONDS = 0.25
FEED = topics.feed(canary.PLATFORM)


@dataclass
class Outcome:
    """One door's entry. Seconds since the round began sending; `error`: what to tell people."""

    door: str
    acknowledged_seconds: float | None = None
    visible_seconds: float | None = None
    fault: str = ""
    """One of telemetry.CANARY_FAULTS; empty when all is well."""
    error: str = ""

    @property
    def ok(self) -> bool:
        return not self.fault and self.visible_seconds is not None

    def row(self) -> dict[str, Any]:
        return asdict(self) | {"ok": self.ok}


@dataclass(frozen=True)
class Target:
    """Where the doors are, and who the canary is to them (a key or token of its platform)."""

    ingest_url: str
    gateway_url: str
    kafka: Bootstrap
    key: str


class NotTaken(Exception):
    """A door's or the gateway's own words: it answered, and not with what was asked."""


def run(
    target: Target, doors: tuple[str, ...] = DOORS, patience: float = PATIENCE_SECONDS
) -> list[Outcome]:
    """Never raises for what is away: it is the outcome's `error`."""
    sent = draw(datetime.now(UTC), doors)
    outcomes = {door: Outcome(door) for door in doors}
    headers = {"Authorization": f"Bearer {target.key}"}
    with httpx.Client(headers=headers, timeout=ASK_SECONDS, trust_env=False) as http:
        try:
            before = _cells(http, target, sent)
        except (httpx.HTTPError, NotTaken) as error:
            # Without it nothing can be known again; the doors are tried all the same.
            before = None
            unseen = f"the API gives no figures: {_words(error)}"
        began = time.monotonic()
        with ThreadPoolExecutor(len(doors)) as pool:
            list(pool.map(lambda one: _send(http, target, one, outcomes[one.door], began), sent))
        waiting = [s for s in sent if not outcomes[s.door].fault]
        if before is None:
            for one in waiting:
                outcomes[one.door].fault, outcomes[one.door].error = "unanswered", unseen
            return list(outcomes.values())
        why = "it is not in the API"
        while waiting and time.monotonic() - began < patience:
            time.sleep(PAUSE_SECONDS)
            try:
                now = _cells(http, target, waiting)
            except (httpx.HTTPError, NotTaken) as error:
                why = f"the API gives no figures: {_words(error)}"
                continue
            why = "it is not in the API"
            for one in list(waiting):
                verdict = judge(one, before[one.door], now[one.door])
                if verdict is not None:
                    waiting.remove(one)
                    outcome = outcomes[one.door]
                    outcome.fault, outcome.error = "wrong" if verdict else "", verdict
                    outcome.visible_seconds = None if verdict else _since(began)
        for one in waiting:
            outcome = outcomes[one.door]
            outcome.fault, outcome.error = "late", f"{why} after {patience:.0f} s"
    return list(outcomes.values())


def _send(http: httpx.Client, target: Target, sent: Sent, outcome: Outcome, began: float) -> None:
    """Until the door has acknowledged it; the outcome says why it has not."""
    try:
        if sent.door == KAFKA:
            _produce(target.kafka, sent.body())
        else:
            answer = http.post(
                f"{target.ingest_url.rstrip('/')}/v1/entries",
                content=sent.body(),
                headers={
                    "Content-Type": MEDIA_TYPES[sent.door],
                    "Idempotency-Key": sent.entry_id,
                    **({"Content-Encoding": "gzip"} if sent.door == "file" else {}),
                },
            )
            receipt = _answer(answer)
            if receipt.get("accepted") != 1:
                raise NotTaken(f"{receipt.get('errors')}")
        outcome.acknowledged_seconds = _since(began)
    except NotTaken as error:
        outcome.fault, outcome.error = "refused", _words(error)
    except (httpx.HTTPError, KafkaError, OSError) as error:
        outcome.fault, outcome.error = "unanswered", f"not acknowledged: {_words(error)}"


def _produce(kafka: Bootstrap, body: bytes) -> None:
    producer = KafkaProducer(
        **client_options(kafka),
        client_id="yumai-canary",
        acks="all",
        max_block_ms=int(ASK_SECONDS * 1000),
    )
    try:
        producer.send(FEED.name, body).get(timeout=ASK_SECONDS)
    finally:
        producer.close(timeout=1)


def _cells(http: httpx.Client, target: Target, sent: Iterable[Sent]) -> dict[str, Cell]:
    """The hours of these entries as they are now. Raises httpx.HTTPError and NotTaken."""
    found = {}
    for one in sent:
        day = one.hour.date().isoformat()
        answer = http.get(
            f"{target.gateway_url.rstrip('/')}/v1/cells",
            params={"from": day, "to": day, "grain": "hour"},
        )
        hours = {row["period"]: row for row in _answer(answer)["data"]}
        row = hours.get(one.hour.strftime("%Y-%m-%dT%H:00+08:00"))
        found[one.door] = Cell(int(row["entries"]), int(row["net_fen"])) if row else Cell()
    return found


def _answer(answer: httpx.Response) -> dict[str, Any]:
    if answer.status_code != 200:
        raise NotTaken(f"HTTP {answer.status_code}: {answer.text[:200]}")
    decoded = answer.json()
    return decoded if isinstance(decoded, dict) else {}


def _since(began: float) -> float:
    return round(time.monotonic() - began, 3)


def _words(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]
