"""May one schema take another's place? Pure; the rules of docs/decisions on contracts.

    request   others write it and we read it: what was accepted stays accepted
    answer    we write it and others read it: what was there stays there, in the same types
    record    both, and kept for ever

Schemas are JSON Schemas without `$ref`. An enum may only grow: a reader lets pass what it does not know.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

Direction = Literal["request", "answer", "record"]
Schema = Mapping[str, Any]

_LOWER = ("minLength", "minimum", "minItems")
_UPPER = ("maxLength", "maximum", "maxItems")
_SAME = ("pattern", "format", "const")
_KNOWN = {"type", "enum", "properties", "required", "additionalProperties", "items", "prefixItems"}
_KNOWN |= {"oneOf", "title", "description", "default", "$schema", "$id", *_LOWER, *_UPPER, *_SAME}


def breaks(before: Schema, after: Schema, direction: Direction, at: str = "") -> Iterator[str]:
    """Every way in which `after` breaks who relies on `before`: place and reason."""
    reads, writes = direction != "answer", direction != "request"
    for word in sorted((set(before) | set(after)) - _KNOWN):
        yield f"{at}: {word} can't be judged"
    was, now = _types(before), _types(after)
    if (reads and was and not (now is None or was <= now)) or (
        writes and was != now and not (was and now and now <= was and direction == "answer")
    ):
        yield f"{at}: type {_text(was)} became {_text(now)}"
    yield from _enums(before, after, reads, writes, at)
    for word in _SAME:
        if before.get(word) != after.get(word) and not (
            direction == "request" and word not in after
        ):
            yield f"{at}: {word} {before.get(word)!r} became {after.get(word)!r}"
    for word in (*_LOWER, *_UPPER):
        yield from _bounds(word, before.get(word), after.get(word), reads, writes, at)
    yield from _properties(before, after, direction, at)
    yield from _parts(before, after, direction, at)


def _types(schema: Schema) -> set[str] | None:
    said = schema.get("type")
    if said is None:
        return None
    found = {said} if isinstance(said, str) else set(said)
    return found | {"integer"} if "number" in found else found


def _text(types: set[str] | None) -> str:
    return "any" if types is None else "|".join(sorted(types))


def _enums(before: Schema, after: Schema, reads: bool, writes: bool, at: str) -> Iterator[str]:
    was, now = before.get("enum"), after.get("enum")
    if was is None and now is None:
        return
    if was is None or now is None:
        if was is None or writes:
            yield f"{at}: enum {'came' if was is None else 'went'}"
        return
    gone = [value for value in was if value not in now]
    if gone:
        yield f"{at}: enum lost {', '.join(map(str, gone))}"
    if writes and None in now and None not in was:
        yield f"{at}: may be null now"


def _bounds(word: str, was: Any, now: Any, reads: bool, writes: bool, at: str) -> Iterator[str]:
    if was == now:
        return
    # Tighter: accepted input would be refused. Looser: readers would meet values that they never met.
    upper = word in _UPPER
    tighter = now is not None and (was is None or (now < was if upper else now > was))
    if (tighter and reads) or (not tighter and writes):
        yield f"{at}: {word} {was} became {now}"


def _properties(before: Schema, after: Schema, direction: Direction, at: str) -> Iterator[str]:
    was, now = before.get("properties", {}), after.get("properties", {})
    needed, needs = set(before.get("required", ())), set(after.get("required", ()))
    for name, schema in was.items():
        place = f"{at}.{name}" if at else name
        if name not in now:
            yield f"{place}: removed"
            continue
        yield from breaks(schema, now[name], direction, place)
        if direction != "answer" and name in needs - needed:
            yield f"{place}: is required now"
        if direction != "request" and name in needed - needs:
            yield f"{place}: may be missing now"
    for name in now:
        if name not in was and name in needs and direction != "answer":
            yield f"{at}.{name}: a new field that is required".lstrip(".")
    closed = after.get("additionalProperties") is False
    if closed and before.get("additionalProperties") is not False and direction != "answer":
        yield f"{at}: unknown fields are refused now"


def _parts(before: Schema, after: Schema, direction: Direction, at: str) -> Iterator[str]:
    if "items" in before and "items" in after:
        yield from breaks(before["items"], after["items"], direction, f"{at}[]")
    elif "items" in before or "items" in after:
        yield f"{at}: items {'went' if 'items' in before else 'came'}"
    was, now = before.get("additionalProperties"), after.get("additionalProperties")
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        yield from breaks(was, now, direction, f"{at}.*".lstrip("."))
    for word in ("prefixItems", "oneOf"):
        was, now = before.get(word, []), after.get(word, [])
        if len(was) != len(now):
            yield f"{at}: {word}: {len(was)} became {len(now)}"
            continue
        for number, (one, other) in enumerate(zip(was, now, strict=True)):
            yield from breaks(one, other, direction, f"{at}[{number}]")
