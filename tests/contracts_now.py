"""What every contract says now, as data, from the code itself; `contracts/released.json` is what it once said.

`python -m tests.contracts_now` writes that file anew, and refuses where something would break.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from contracts.actions.codec import Action, Verdict
from contracts.alerts.codec import StepRecord
from contracts.alerts.outbox import Delivery, FeedStep, Subscriptions
from contracts.commits.codec import Commit
from contracts.compatibility import Direction, breaks
from contracts.dead_letters import codec as dead_letters
from contracts.entries import codec as entries
from contracts.entries.sent import SENT
from contracts.merchants.codec import Merchant
from contracts.reasons import REASONS
from contracts.receipts.codec import Receipt
from contracts.targets.codec import Target
from contracts.work_items.codec import Event
from yumai import topics
from yumai.broker.epochs import Epoch

ROOT = Path(__file__).parents[1]
RELEASED = ROOT / "contracts" / "released.json"
RECORDS: dict[str, list[Any]] = {
    "receipts.v1": [Receipt],
    "merchants.v1": [Merchant],
    "targets.v1": [Target],
    "commits.v1": [Commit],
    "alerts.v1": [StepRecord],
    "actions.v1": [Action, Verdict],
    "work-items.v1": [Event],
    "subscriptions.v1": [Subscriptions],
    "deliveries.v1": [Delivery],
    "feeds.v1": [FeedStep],
    "epochs.v1": [Epoch],
}
ARROW = {"entries.v1": entries.JUDGED, "dead-letters.v1": dead_letters.SCHEMA}
ALL_TOPICS = [*topics.TOPICS, topics.feed("{platform}")]


def resolved(value: Any, schemas: dict[str, Any]) -> Any:
    """A schema with every `$ref` put in place, in one spelling, without words for people."""
    if isinstance(value, list):
        return [resolved(v, schemas) for v in value]
    if not isinstance(value, dict):
        return value
    if "$ref" in value:
        return resolved(schemas[value["$ref"].rpartition("/")[2]], schemas)
    found = {}
    for key, inner in value.items():
        if key == "properties":
            found[key] = {name: resolved(v, schemas) for name, v in inner.items()}
        elif key not in ("title", "description", "default", "discriminator", "$schema", "$id"):
            found[key] = resolved(inner, schemas)
    for word in ("anyOf", "oneOf"):
        if word in found:
            found |= _one_spelling(found.pop(word))
    if "enum" in found:
        found["enum"] = sorted(found["enum"], key=str)
    if isinstance(found.get("type"), list):
        found["type"] = sorted(found["type"])
    return found


def _one_spelling(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """`anyOf` of a thing and null as JSON Schema's shorter words for it."""
    *some, last = parts
    if last == {"type": "null"} and len(some) == 1:
        (one,) = some
        if "enum" in one:
            return {"enum": [*one["enum"], None]}
        if isinstance(one["type"], str) and "properties" not in one:
            return one | {"type": [one["type"], "null"]}
    if all(set(part) == {"type"} for part in parts):
        return {"type": [part["type"] for part in parts]}
    return {"oneOf": parts}


def of_codec(kind: Any) -> Any:
    (schema,), components = msgspec.json.schema_components([kind])
    return resolved(schema, components)


def documents() -> dict[str, Any]:
    """OpenAPI of both services, as `/openapi.json` tells it."""
    from services.gateway import app as gateway
    from services.ingest import app as ingest
    from yumai.process.settings import Settings

    built = {"ingest": ingest.build(Settings()), "gateway": gateway.build(Settings())}
    return {service: app.state.document for service, app in built.items()}


def routes() -> dict[str, Any]:
    """What each route takes and answers: parameters, bodies and answers by media type, codes of refusals."""
    return {
        f"{service} {method.upper()} {path}": _route(said, document["components"]["schemas"])
        for service, document in documents().items()
        for path, methods in sorted(document["paths"].items())
        for method, said in sorted(methods.items())
    }


def _route(said: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    def by_type(content: dict[str, Any]) -> dict[str, Any]:
        return {name: resolved(of["schema"], schemas) for name, of in sorted(content.items())}

    found: dict[str, Any] = {
        "parameters": {
            f"{p['in']} {p['name']}": {
                "required": p.get("required", False),
                "schema": resolved(p["schema"], schemas),
            }
            for p in said.get("parameters", ())
        },
        "body": by_type(said.get("requestBody", {}).get("content", {})),
        "answers": {},
        "codes": {},
    }
    for status, answer in said["responses"].items():
        if codes := answer.get("x-codes"):
            found["codes"] |= {code: int(status) for code in codes}
        else:
            found["answers"][status] = by_type(answer.get("content", {}))
    return found


def now() -> dict[str, Any]:
    entry = json.loads((ROOT / "contracts/entries/entry.schema.json").read_text(encoding="utf-8"))
    return {
        "entry": resolved(entry, {}),
        "entry as Arrow": {f.name: f"{f.type}{'' if f.nullable else ' !'}" for f in SENT},
        "records": {
            f"{topic} {kind.__name__}": of_codec(kind)
            for topic, kinds in RECORDS.items()
            for kind in kinds
        },
        "Arrow records": {
            topic: [f"{f.name} {f.type}" for f in schema] for topic, schema in ARROW.items()
        },
        "record of entries.v1": {
            "v": list(entries.VERSIONS),
            "slots": list(entries.SLOT_FUNCTIONS),
        },
        "reasons": {code: reason.status for code, reason in REASONS.items()},
        "topics": {
            t.name: {"key": t.key, "partitions": t.partitions, **t.settings} for t in ALL_TOPICS
        },
        "routes": routes(),
    }


def broken(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    """Every incompatible change between two such descriptions."""
    yield from (f"entry: {b}" for b in breaks(before["entry"], after["entry"], "request"))
    for name, kind in before["entry as Arrow"].items():
        if after["entry as Arrow"].get(name) != kind:
            yield f"entry as Arrow: {name}: {kind} became {after['entry as Arrow'].get(name)}"
    for name in set(after["entry as Arrow"]) - set(before["entry as Arrow"]):
        if after["entry as Arrow"][name].endswith("!"):
            yield f"entry as Arrow: {name}: a new column that is required"
    for name, schema in before["records"].items():
        if name not in after["records"]:
            yield f"{name}: removed"
            continue
        yield from (f"{name}: {b}" for b in breaks(schema, after["records"][name], "record"))
    # What was written is kept for ever, and its columns are compared as a whole when it is read.
    for name, said in before["record of entries.v1"].items():
        for lost in set(said) - set(after["record of entries.v1"].get(name, ())):
            yield f"record of entries.v1: {name}: {lost} is no longer read"
    for part in ("Arrow records", "reasons"):
        for name, said in before[part].items():
            if after[part].get(name) != said:
                yield f"{part}: {name}: {said} became {after[part].get(name)}"
    for name, said in before["topics"].items():
        yield from _topic(name, said, after["topics"].get(name))
    for name, said in before["routes"].items():
        if name not in after["routes"]:
            yield f"route removed: {name}"
        else:
            yield from (f"{name}: {b}" for b in _route_broken(said, after["routes"][name]))


def _route_broken(was: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    for name, before in was["parameters"].items():
        after = now["parameters"].get(name)
        if after is None:
            yield f"{name}: removed"
            continue
        yield from breaks(before["schema"], after["schema"], "request", name)
    for name, after in now["parameters"].items():
        before = was["parameters"].get(name, {"required": False})
        if after["required"] and not before["required"]:
            yield f"{name}: is required now"
    if now["body"] and not was["body"]:
        yield "a body is needed now"
    yield from _contents_broken("body", was["body"], now["body"], "request")
    for status, before in was["answers"].items():
        if status not in now["answers"]:
            yield f"{status}: removed"
            continue
        yield from _contents_broken(status, before, now["answers"][status], "answer")
    for code, status in was["codes"].items():
        # That something is refused no longer breaks nobody.
        if now["codes"].get(code, status) != status:
            yield f"{code}: {status} became {now['codes'][code]}"


def _contents_broken(
    at: str, was: dict[str, Any], now: dict[str, Any], direction: Direction
) -> Iterator[str]:
    for media_type, schema in was.items():
        if media_type not in now:
            yield f"{at}: {media_type}: removed"
        else:
            yield from (f"{at}: {b}" for b in breaks(schema, now[media_type], direction))


def _topic(name: str, was: dict[str, Any], now: dict[str, Any] | None) -> Iterator[str]:
    if now is None:
        yield f"topic {name}: removed"
        return
    words = ["key", "cleanup.policy", "message.timestamp.type"]
    if topics.feed_platform(name):
        # Only we read a feed, and never its records' time.
        words.remove("message.timestamp.type")
    for word in words:
        if was.get(word) != now.get(word):
            yield f"topic {name}: {word}: {was.get(word)} became {now.get(word)}"
    if now["partitions"] < was["partitions"]:
        yield f"topic {name}: partitions {was['partitions']} became {now['partitions']}"
    kept, keeps = (int(t.get("retention.ms", -1)) for t in (was, now))
    if keeps != -1 and (kept == -1 or keeps < kept):
        yield f"topic {name}: retention.ms {kept} became {keeps}"
    largest, fits = (int(t.get("max.message.bytes", 0)) for t in (was, now))
    if fits < largest:
        yield f"topic {name}: max.message.bytes {largest} became {fits}"


def main() -> int:
    after = now()
    if RELEASED.exists():
        found = list(broken(json.loads(RELEASED.read_text()), after))
        if found:
            print("\n".join(found), file=sys.stderr)
            return 1
    lines = []
    for part, said in after.items():
        if isinstance(said, list):
            inner = ",\n".join(f"  {json.dumps(v)}" for v in said)
            lines.append(f"{json.dumps(part)}: [\n{inner}\n]")
        else:
            inner = ",\n".join(f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in said.items())
            lines.append(f"{json.dumps(part)}: {{\n{inner}\n}}")
    RELEASED.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
