"""No contract may change so that who relies on what was released breaks; planted changes show that it would be seen."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.compatibility import Direction, breaks
from tests.contracts_now import RELEASED, broken, now

Description = dict[str, Any]
CELLS = "gateway GET /v1/cells"
ALERT, COMMIT, TARGET = "alerts.v1 StepRecord", "commits.v1 Commit", "targets.v1 Target"


@pytest.fixture(scope="module")
def released() -> Description:
    return json.loads(RELEASED.read_text())


@pytest.fixture(scope="module")
def current() -> Description:
    return now()


def test_nothing_released_is_broken(released: Description, current: Description) -> None:
    assert list(broken(released, current)) == []


def test_everything_there_is_stands_in_the_release(
    released: Description, current: Description
) -> None:
    """Else a new topic, record or code could change freely: `python -m tests.contracts_now`."""
    assert released.keys() == current.keys()
    for part in ("records", "Arrow records", "reasons", "topics", "entry as Arrow"):
        assert released[part].keys() == current[part].keys(), part
    hint = "something was added: `python -m tests.contracts_now` writes contracts/released.json"
    assert set(released["routes"]) == set(current["routes"]), hint
    for name, route in current["routes"].items():
        for part in ("parameters", "body", "answers", "codes"):
            assert released["routes"][name][part].keys() == route[part].keys(), f"{name}: {hint}"
        said = zip(_answers(released["routes"][name]), _answers(route), strict=True)
        assert all(set(_names(was)) == set(_names(now)) for was, now in said), f"{name}: {hint}"
    assert released["entry"]["properties"].keys() == current["entry"]["properties"].keys(), hint
    for name, schema in current["records"].items():
        fields = schema.get("properties", {})
        known = released["records"][name].get("properties", {})
        assert known.keys() == fields.keys(), f"{name}: {hint}"


def _answers(route: dict[str, Any]) -> list[dict[str, Any]]:
    return [schema for of in route["answers"].values() for schema in of.values()]


def _cells(d: Description) -> dict[str, Any]:
    return d["routes"]["gateway GET /v1/cells"]


def _cell(d: Description) -> dict[str, Any]:
    answer = _cells(d)["answers"]["200"]["application/json"]
    return answer["properties"]["data"]["items"]


def _entry(d: Description) -> dict[str, Any]:
    return d["entry"]["properties"]


def _record(d: Description, name: str) -> dict[str, Any]:
    return d["records"][name]["properties"]


PLANTED: dict[str, Callable[[Description], Any]] = {
    "entry: scene_tags: removed": lambda d: _entry(d).pop("scene_tags"),
    "entry: amount_fen: type integer became string": lambda d: _entry(d)["amount_fen"].update(
        type="string"
    ),
    "entry: mcc: is required now": lambda d: d["entry"]["required"].append("mcc"),
    "entry: region: a new field that is required": lambda d: (
        _entry(d).update(region={"type": "string"}),
        d["entry"]["required"].append("region"),
    ),
    "entry: kind: enum lost refund": lambda d: _entry(d)["kind"]["enum"].remove("refund"),
    "entry: entry_id: maxLength 64 became 32": lambda d: _entry(d)["entry_id"].update(maxLength=32),
    "entry: amount_fen: minimum 1 became 100": lambda d: _entry(d)["amount_fen"].update(
        minimum=100
    ),
    "entry: mcc: pattern": lambda d: _entry(d)["mcc"].update(pattern="^[1-9]{4}$"),
    "entry: mcc: type null|string became string": lambda d: _entry(d)["mcc"].update(type="string"),
    "entry as Arrow: amount_fen": lambda d: d["entry as Arrow"].update(amount_fen="double !"),
    "entry as Arrow: region: a new column": lambda d: d["entry as Arrow"].update(region="string !"),
    f"{ALERT}: level: removed": lambda d: _record(d, ALERT).pop("level"),
    f"{ALERT}: at: type integer became string": lambda d: _record(d, ALERT)["at"].update(
        type="string"
    ),
    f"{ALERT}: kind: enum lost missed": lambda d: _record(d, ALERT)["kind"]["enum"].remove(
        "missed"
    ),
    f"{ALERT}: seq: may be missing now": lambda d: d["records"][ALERT]["required"].remove("seq"),
    f"{ALERT}: text: is required now": lambda d: d["records"][ALERT]["required"].append("text"),
    f"{ALERT}: sectors[].pace: removed": lambda d: _record(d, ALERT)["sectors"]["items"][
        "properties"
    ].pop("pace"),
    f"{COMMIT}: changes[][2]: type integer": lambda d: _record(d, COMMIT)["changes"]["items"][
        "prefixItems"
    ][2].update(type="string"),
    f"{COMMIT}: changes[]: prefixItems": lambda d: _record(d, COMMIT)["changes"]["items"][
        "prefixItems"
    ].append({"type": "string"}),
    f"{COMMIT}: net_fen: type integer became integer|number": lambda d: _record(d, COMMIT)[
        "net_fen"
    ].update(type="number"),
    f"{TARGET}: removed": lambda d: d["records"].pop(TARGET),
    "Arrow records: entries.v1": lambda d: d["Arrow records"]["entries.v1"].append("x int64"),
    "record of entries.v1: v: 1": lambda d: d["record of entries.v1"]["v"].remove("1"),
    "record of entries.v1: slots: murmur3-720": lambda d: d["record of entries.v1"].update(
        slots=["sha256-720"]
    ),
    "reasons: too_old": lambda d: d["reasons"].pop("too_old"),
    "reasons: unavailable": lambda d: d["reasons"].update(unavailable=500),
    "topic receipts.v1: removed": lambda d: d["topics"].pop("receipts.v1"),
    "topic entries.v1: retention.ms": lambda d: d["topics"]["entries.v1"].update(
        {"retention.ms": "1000"}
    ),
    "topic commits.v1: retention.ms": lambda d: d["topics"]["commits.v1"].update(
        {"retention.ms": "1000"}
    ),
    "topic targets.v1: cleanup.policy": lambda d: d["topics"]["targets.v1"].update(
        {"cleanup.policy": "delete"}
    ),
    "topic entries.v1: partitions": lambda d: d["topics"]["entries.v1"].update(partitions=2),
    "topic entries.v1: message.timestamp.type": lambda d: d["topics"]["entries.v1"].pop(
        "message.timestamp.type"
    ),
    "topic alerts.v1: key": lambda d: d["topics"]["alerts.v1"].update(key="district"),
    "route removed: ingest POST /v1/entries": lambda d: d["routes"].pop("ingest POST /v1/entries"),
    f"{CELLS}: query grain: enum lost hour": lambda d: _cells(d)["parameters"]["query grain"][
        "schema"
    ]["enum"].remove("hour"),
    f"{CELLS}: query as_of: removed": lambda d: _cells(d)["parameters"].pop("query as_of"),
    f"{CELLS}: query from: is required now": lambda d: _cells(d)["parameters"]["query from"].update(
        required=True
    ),
    f"{CELLS}: query year: is required now": lambda d: _cells(d)["parameters"].update(
        {"query year": {"required": True, "schema": {"type": "integer"}}}
    ),
    f"{CELLS}: 200: data[].net_fen: removed": lambda d: _cell(d)["properties"].pop("net_fen"),
    f"{CELLS}: 200: data[].net_fen: type": lambda d: _cell(d)["properties"]["net_fen"].update(
        type="string"
    ),
    f"{CELLS}: 200: data[].entries: may be missing now": lambda d: _cell(d)["required"].remove(
        "entries"
    ),
    f"{CELLS}: 200: text/csv: removed": lambda d: _cells(d)["answers"]["200"].pop("text/csv"),
    f"{CELLS}: 200: removed": lambda d: _cells(d)["answers"].pop("200"),
    f"{CELLS}: invalid_parameter: 422 became 400": lambda d: _cells(d)["codes"].update(
        invalid_parameter=400
    ),
    "gateway POST /v1/alerts/{id}/explain: body: measure: type": lambda d: d["routes"][
        "gateway POST /v1/alerts/{id}/explain"
    ]["body"]["application/json"]["properties"]["measure"].update(type="integer"),
    "ingest POST /v1/entries: body: text/csv: removed": lambda d: d["routes"][
        "ingest POST /v1/entries"
    ]["body"].pop("text/csv"),
}


@pytest.mark.parametrize("complaint", PLANTED)
def test_a_planted_break_is_named(current: Description, complaint: str) -> None:
    after = copy.deepcopy(current)
    PLANTED[complaint](after)
    found = list(broken(current, after))
    assert [line for line in found if line.startswith(complaint)], found


ALLOWED: dict[str, Callable[[Description], Any]] = {
    "an optional field of an entry": lambda d: _entry(d).update(note={"type": ["null", "string"]}),
    "longer names": lambda d: _entry(d)["entry_id"].update(maxLength=128),
    "one more kind of entry": lambda d: _entry(d)["kind"]["enum"].append("fee"),
    "one more kind of step": lambda d: _record(d, ALERT)["kind"]["enum"].append("merged"),
    "an optional field of a record": lambda d: _record(d, ALERT).update(note={"type": "string"}),
    "an optional column": lambda d: d["entry as Arrow"].update(note="string"),
    "one more version of a record": lambda d: d["record of entries.v1"]["v"].append("3"),
    "a new reason": lambda d: d["reasons"].update(new=422),
    "a new topic": lambda d: d["topics"].update({"new.v1": d["topics"]["feeds.v1"]}),
    "more partitions": lambda d: d["topics"]["entries.v1"].update(partitions=8),
    "kept for longer": lambda d: d["topics"]["commits.v1"].update({"retention.ms": "-1"}),
    "a new route": lambda d: d["routes"].update({"gateway GET /v1/new": _cells(d)}),
    "one more parameter": lambda d: _cells(d)["parameters"].update(
        {"query note": {"required": False, "schema": {"type": "string"}}}
    ),
    "one more field of an answer": lambda d: _cell(d)["properties"].update(
        {"share": {"type": "number"}}
    ),
    "an answer's field that is never null any more": lambda d: _cell(d)["properties"][
        "net_fen"
    ].update(type="integer"),
}


@pytest.mark.parametrize("what", ALLOWED)
def test_what_breaks_nobody_is_let_through(current: Description, what: str) -> None:
    after = copy.deepcopy(current)
    ALLOWED[what](after)
    assert list(broken(current, after)) == []


SCHEMAS = st.recursive(
    st.fixed_dictionaries({"type": st.sampled_from(["string", "integer", "number", "boolean"])})
    | st.builds(lambda e: {"enum": sorted(e)}, st.sets(st.sampled_from("abcd"), min_size=1)),
    lambda inner: (
        st.builds(
            lambda p, r: {"type": "object", "properties": p, "required": sorted(r & set(p))},
            st.dictionaries(st.sampled_from("xyz"), inner),
            st.sets(st.sampled_from("xyz")),
        )
        | st.builds(lambda i: {"type": "array", "items": i}, inner)
    ),
    max_leaves=6,
)


@given(SCHEMAS, SCHEMAS)
def test_nothing_breaks_itself_and_a_record_is_a_request_and_an_answer(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    directions: tuple[Direction, ...] = ("request", "answer", "record")
    assert not [b for direction in directions for b in breaks(one, one, direction)]
    as_record = list(breaks(one, other, "record"))
    for direction in directions[:2]:
        assert as_record or not list(breaks(one, other, direction))
    # What a request may become, an answer may come from, but for enums, which only ever grow.
    if "enum" not in str(one) + str(other) and not list(breaks(one, other, "request")):
        grown = set(_names(other)) - set(_names(one))
        assert grown or not list(breaks(other, one, "answer"))


def _names(schema: dict[str, Any], at: str = "") -> list[str]:
    found = []
    for name, inner in schema.get("properties", {}).items():
        found += [f"{at}.{name}", *_names(inner, f"{at}.{name}")]
    return found + (_names(schema["items"], f"{at}[]") if "items" in schema else [])
