"""One contract: JSON Schema, Arrow schema, code and reference data say the same."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow as pa
import pytest

from contracts.entries import codec
from contracts.entries.sent import SENT
from contracts.reasons import REASONS
from services.ingest import columns
from yumai import districts, entry, sectors, topics

ROOT = Path(__file__).parents[3]
SCHEMA = json.loads((ROOT / "contracts/entries/entry.schema.json").read_text(encoding="utf-8"))
PROPERTIES = SCHEMA["properties"]


def _json_types(name: str) -> set[str]:
    said = PROPERTIES[name]
    if "enum" in said:
        return {"null" if value is None else "string" for value in said["enum"]}
    if "oneOf" in said:
        return {one["type"] for one in said["oneOf"]}
    types = said["type"]
    return set(types) if isinstance(types, list) else {types}


def test_arrow_has_the_fields_of_the_json_schema_in_its_order() -> None:
    assert SENT.names == list(PROPERTIES)
    assert list(columns.FIELDS) == list(PROPERTIES)


def test_what_is_required_is_not_nullable_in_arrow_and_nothing_else() -> None:
    assert {f.name for f in SENT if not f.nullable} == set(SCHEMA["required"])
    assert set(SCHEMA["required"]) == set(columns.REQUIRED)
    for name in PROPERTIES:
        assert ("null" in _json_types(name)) == (name not in SCHEMA["required"]), name


@pytest.mark.parametrize("field", list(SENT), ids=lambda f: f.name)
def test_arrow_types_are_those_of_the_json_schema(field: pa.Field) -> None:
    kinds = _json_types(field.name) - {"null"}
    if pa.types.is_timestamp(field.type):
        assert kinds == {"string", "integer"}
    elif pa.types.is_list(field.type):
        assert kinds == {"array"}
    else:
        assert kinds == {"integer" if pa.types.is_integer(field.type) else "string"}


def test_limits_are_those_of_the_code() -> None:
    assert PROPERTIES["amount_fen"]["maximum"] == entry.AMOUNT_MAX_FEN
    assert PROPERTIES["subsidy_fen"]["maximum"] == entry.AMOUNT_MAX_FEN
    assert PROPERTIES["scene_tags"]["maxItems"] == entry.SCENE_TAGS_MAX
    for name in ("entry_id", "merchant_id", "refers_to", "program_id"):
        assert PROPERTIES[name]["maxLength"] == entry.TEXT_MAX
    assert PROPERTIES["kind"]["enum"] == list(entry.KINDS)


def test_every_flaw_of_a_row_is_a_published_reason() -> None:
    assert set(columns.CODES) - {""} <= set(REASONS)
    for reason in REASONS.values():
        assert reason.en
        assert re.search("[\u4e00-\u9fff]", reason.zh)


def test_slots_and_sectors_fit_the_log_and_the_tables() -> None:
    assert {int(name.split("-")[1]) for name in codec.SLOT_FUNCTIONS} == {entry.SLOTS}
    assert entry.SLOTS % topics.ENTRIES.partitions == 0
    ddl = (ROOT / "yumai/store/migrations/0001_books.sql").read_text(encoding="utf-8")
    for enumeration in re.findall(r"Enum8\(('U00'[^)]*)\)", ddl):
        pairs = dict(re.findall(r"'(\w+)' = (\d+)", enumeration))
        assert {k: int(v) for k, v in pairs.items()} == sectors.SECTOR_NUMBERS


def test_districts_are_effective_dated() -> None:
    assert len(districts.districts_of(2025)) == 38
    assert len(districts.districts_of(2026)) == 37
    before, after = districts.CHANGE_MS - 1, districts.CHANGE_MS
    assert [districts.booked_code("500112", ms) for ms in (before, after)] == ["500112", "500157"]
    assert [districts.booked_code("500157", ms) for ms in (before, after)] == ["000000", "500157"]
    assert districts.booked_code("500103", after) == "500103"


def test_every_mcc_of_the_map_has_a_sector_and_classes_are_found_by_prefix() -> None:
    assert len(sectors.mcc_sectors()) == 932
    assert sectors.SECTOR_CODES[sectors.mcc_sectors()["0742"]] == "S99"
    assert sectors.industry_sector("H6210") == sectors.SECTOR_NUMBERS["S01"]
    assert sectors.industry_sector("A01") is None
