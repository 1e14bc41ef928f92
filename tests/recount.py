"""An independent recount: what the books must say after a sequence of requests.

Written from the contract's text alone. It imports nothing of ours: only the standard library,
pyarrow for the two columnar formats, and the reference tables read as data. Row by row and plain on
purpose; some 60,000 entries a second. One file, so that it can be read, and carried elsewhere, as a whole.

    recount = Recount(registry_rows, now_ms)
    expected = recount.request("unipay", "ndjson", body, key="a")
    recount.cells("day")[("2026-01-31", "500101", "S01", "unipay")].net_fen

What the contract leaves open is answered the strict way and named in `OPEN`.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

REFERENCE = Path(__file__).resolve().parents[1] / "yumai" / "reference"
BODY_MAX = 64 * 1024 * 1024
OPEN = """
- A syntax error inside a JSON array: the body as a whole is no JSON (400). Invalid UTF-8 in an
  element is not: that element is a bad row.
- An open CSV quote reaches to the next quote, on whatever line that stands; without one it is a bad row.
- A line of blanks only is an empty row. Tags of one CSV field are separated by '|'.
- Digits below the millisecond are cut off. A leap second (:60) is no valid time.
- The first of two equal JSON names loses. An empty list of tags is none.
- Control characters in ids are characters like others.
- A registered industry that the map doesn't know counts as not registered.
"""

REQUIRED = ("entry_id", "platform_id", "merchant_id", "occurred_at", "kind", "amount_fen")
OPTIONAL = (
    "refers_to",
    "district_code",
    "mcc",
    "channel",
    "scene_tags",
    "program_id",
    "subsidy_fen",
)
FIELDS = REQUIRED + OPTIONAL
_FIELDS = frozenset(FIELDS)
KINDS = {"sale": 1, "refund": -1, "sale_reversal": -1, "refund_reversal": 1}
CHANGE_MS = 1_767_196_800_000
OLD_TO_NEW = {"500105": "500157", "500112": "500157"}
_DAY_MS = 86_400_000
_ZONE_MS = 8 * 3_600_000
_EPOCH = date(1970, 1, 1)
_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:([Zz])|([+-])(\d\d):(\d\d))",
    re.ASCII,
)
_PLATFORM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_DISTRICT = re.compile(r"[0-9]{6}")
_MCC = re.compile(r"[0-9]{4}")
_INTEGER = re.compile(r"-?[0-9]+")
_DIGITS = re.compile(r"-?[0-9]+")


@dataclass
class Cell:
    net_fen: int = 0
    sales_fen: int = 0
    refunds_fen: int = 0
    entries: int = 0

    def add(self, other: Cell) -> None:
        self.net_fen += other.net_fen
        self.sales_fen += other.sales_fen
        self.refunds_fen += other.refunds_fen
        self.entries += other.entries


@dataclass
class ControlTotals:
    entries: int = 0
    sales_fen: int = 0
    refunds_fen: int = 0
    reversals_fen: int = 0
    net_fen: int = 0


@dataclass(frozen=True)
class BadRow:
    """A row that must be refused. `faults`: every (field, code) that is wrong with it; `raw`: its own
    bytes (text formats), or None."""

    index: int
    faults: tuple[tuple[str | None, str], ...]
    raw: bytes | None


@dataclass
class Expected:
    """The receipt that a request must get. `repeated`: the same key and body came before."""

    status: int = 200
    received: int = 0
    accepted: int = 0
    rejected: int = 0
    booked: int = 0
    duplicates: int = 0
    conflicts: int = 0
    bad: list[BadRow] = field(default_factory=list)
    duplicate_rows: list[int] = field(default_factory=list)
    conflict_rows: list[int] = field(default_factory=list)
    repeated: bool = False
    key_reused: bool = False


class Undecodable(Exception):
    """The body as a whole: 400 (or 413)."""

    def __init__(self, code: str, status: int = 400) -> None:
        super().__init__(code)
        self.status = status


class _Bad(Exception):
    def __init__(self, faults: list[tuple[str | None, str]]) -> None:
        self.faults = tuple(faults)


# -- reference data and registry -----------------------------------------------------------------


def _table(name: str) -> list[dict[str, str]]:
    with (REFERENCE / name).open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


@dataclass(frozen=True)
class _Span:
    first: int
    last: int
    district: str
    mcc: str | None
    industry: str | None


class Registry:
    """Merchants' spans in days since 1970; a later row replaces what it overlaps."""

    def __init__(self) -> None:
        self._spans: dict[tuple[str, str], list[_Span]] = {}
        self._industries = {row["gbt4754_2017"]: row["sector"] for row in _table("gbt4754_map.csv")}
        self._mccs = {row["mcc"]: row["sector"] for row in _table("mcc_map.csv")}

    def put(self, rows: Iterable[dict[str, Any]]) -> None:
        for row in rows:
            first = _day(row["valid_from"])
            last = _day(row["valid_to"]) if row.get("valid_to") else 10**9
            new = _Span(first, last, row["district_code"], row.get("mcc"), row.get("industry"))
            who = (row["platform_id"], row["merchant_id"])
            kept = []
            for old in self._spans.get(who, []):
                if old.last < first or old.first > last:
                    kept.append(old)
                    continue
                if old.first < first:
                    kept.append(_Span(old.first, first - 1, old.district, old.mcc, old.industry))
                if old.last > last:
                    kept.append(_Span(last + 1, old.last, old.district, old.mcc, old.industry))
            self._spans[who] = [*kept, new]

    def classify(
        self, platform: str, merchant: str, ms: int, own_district: str | None, own_mcc: str | None
    ) -> tuple[str, str]:
        """(district, sector) that the entry is booked under."""
        day = (ms + _ZONE_MS) // _DAY_MS
        district, sector = own_district, None
        mcc = own_mcc
        for span in self._spans.get((platform, merchant), ()):
            if span.first <= day <= span.last:
                district = span.district
                sector = self._industry(span.industry)
                if span.mcc is not None:
                    mcc = span.mcc
                break
        if sector is None:
            sector = self._mccs.get(mcc, "U00") if mcc is not None else "U00"
        if district is None:
            district = "000000"
        elif ms >= CHANGE_MS:
            district = OLD_TO_NEW.get(district, district)
        elif district == "500157":
            district = "000000"
        return district, sector

    def _industry(self, industry: str | None) -> str | None:
        if not industry:
            return None
        for length in range(len(industry), 0, -1):
            sector = self._industries.get(industry[:length])
            if sector is not None:
                return sector
        return None


def _day(text: str) -> int:
    return (date.fromisoformat(text) - _EPOCH).days


# -- bodies into raw rows: (index, row or _Bad, bytes) ---------------------------------------------

RawRow = tuple[dict[str, Any] | _Bad, bytes | None]


def _no_constants(name: str) -> Any:
    raise ValueError(name)


_decoder = json.JSONDecoder(parse_constant=_no_constants)


def _json_value(raw: bytes) -> dict[str, Any] | _Bad:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return _Bad([(None, "not_utf8")])
    try:
        value = _decoder.decode(text)
    except (ValueError, RecursionError):
        return _Bad([(None, "not_json")])
    return value if isinstance(value, dict) else _Bad([(None, "not_object")])


def _ndjson(body: bytes) -> Iterator[RawRow]:
    for line in body.split(b"\n"):
        line = line[:-1] if line.endswith(b"\r") else line
        if line.strip():
            yield _json_value(line), line


def _json(body: bytes) -> Iterator[RawRow]:
    stripped = body.strip(b" \t\r\n")
    if not stripped:
        return
    if stripped[:1] == b"{":
        value = _json_value(stripped)
        if isinstance(value, _Bad) and value.faults[0][1] != "not_utf8":
            raise Undecodable("body_undecodable")
        yield value, stripped
        return
    if stripped[:1] != b"[" or stripped[-1:] != b"]":
        raise Undecodable("body_undecodable")
    for element in list(_elements(stripped)):
        value = _json_value(element)
        if isinstance(value, _Bad) and value.faults[0][1] == "not_json":
            raise Undecodable("body_undecodable")
        yield value, element


_JSON_MARKS = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{},]|"', re.DOTALL)


def _elements(array: bytes) -> Iterator[bytes]:
    """The elements' bytes, by brackets and strings alone."""
    depth, start, closed = 0, 1, False
    blank = b" \t\r\n"
    elements: list[bytes] = []
    for mark in _JSON_MARKS.finditer(array):
        char = array[mark.start() : mark.start() + 1]
        if closed or mark.group() == b'"':
            raise Undecodable("body_undecodable")
        if char in b"[{":
            depth += 1
        elif char in b"]}":
            depth -= 1
            if depth == 0:
                last = array[start : mark.start()].strip(blank)
                if last:
                    elements.append(last)
                elif elements:
                    raise Undecodable("body_undecodable")
                closed = True
        elif char == b"," and depth == 1:
            element = array[start : mark.start()].strip(blank)
            if not element:
                raise Undecodable("body_undecodable")
            elements.append(element)
            start = mark.end()
    if not closed:
        raise Undecodable("body_undecodable")
    yield from elements


def _csv(body: bytes) -> Iterator[RawRow]:
    records = _csv_records(body)
    header: list[str] | None = None
    for cells, raw in records:
        if header is None:
            try:
                header = [cell.decode("utf-8") for cell in cells or []]
            except UnicodeDecodeError:
                raise Undecodable("body_undecodable") from None
            _check_columns(header)
            continue
        if cells is None:
            yield _Bad([(None, "not_csv")]), raw
        elif len(cells) != len(header):
            yield _Bad([(None, "field_count")]), raw
        else:
            try:
                text = [cell.decode("utf-8") for cell in cells]
            except UnicodeDecodeError:
                yield _Bad([(None, "not_utf8")]), raw
                continue
            yield _csv_typed(dict(zip(header, text, strict=True))), raw


def _csv_typed(cells: dict[str, str]) -> dict[str, Any]:
    row: dict[str, Any] = {name: text for name, text in cells.items() if text != ""}
    for name in ("amount_fen", "subsidy_fen"):
        if name in row and _INTEGER.fullmatch(row[name]):
            row[name] = int(row[name]) if len(row[name]) < 30 else 10**29
    if "occurred_at" in row and _DIGITS.fullmatch(row["occurred_at"]):
        row["occurred_at"] = int(row["occurred_at"]) if len(row["occurred_at"]) < 30 else 10**29
    if "scene_tags" in row:
        row["scene_tags"] = row["scene_tags"].split("|")
    return row


_QUOTED = re.compile(rb'"((?:[^"]|"")*)"', re.DOTALL)


def _csv_records(body: bytes) -> Iterator[tuple[list[bytes] | None, bytes]]:
    """(cells, bytes without the line end) of each non-empty record; cells None where the quotes are
    wrong. A quote opens a field only at its start."""
    at, size = 0, len(body)
    while at < size:
        end = body.find(b"\n", at)
        end = size if end < 0 else end
        line = body[at:end]
        if b'"' not in line:
            line = line[:-1] if line.endswith(b"\r") else line
            at = end + 1
            if line.strip():
                yield line.split(b","), line
            continue
        start, cells, wrong = at, [], False
        while True:
            if body[at : at + 1] == b'"' and (quoted := _QUOTED.match(body, at)):
                cells.append(quoted.group(1).replace(b'""', b'"'))
                at = quoted.end()
                rest = re.compile(rb"[^,\n]*").match(body, at)
                assert rest is not None
                wrong |= rest.group() not in (b"", b"\r")
                at = rest.end()
            else:
                plain = re.compile(rb"[^,\n]*").match(body, at)
                assert plain is not None
                at = plain.end()
                cell = plain.group()
                if at >= size or body[at : at + 1] == b"\n":
                    cell = cell[:-1] if cell.endswith(b"\r") else cell
                wrong |= b'"' in cell
                cells.append(cell)
            if at >= size or body[at : at + 1] == b"\n":
                break
            at += 1  # the comma
        raw = body[start:at]
        at += 1
        yield (None if wrong else cells), raw[:-1] if raw.endswith(b"\r") else raw


def _check_columns(names: list[str]) -> None:
    if len(set(names)) != len(names) or not set(names) <= _FIELDS:
        raise Undecodable("unknown_column")
    if not set(REQUIRED) <= set(names):
        raise Undecodable("missing_column")


def _columnar(body: bytes, form: str) -> Iterator[RawRow]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not body:
        return
    try:
        if form == "arrow":
            with pa.ipc.open_stream(body) as reader:
                table = reader.read_all()
        else:
            table = pq.read_table(pa.BufferReader(body))
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError):
        raise Undecodable("body_undecodable") from None
    _check_columns(table.column_names)
    columns = []
    for name in table.column_names:
        columns.append(_column_values(name, table.column(name)))
    names = table.column_names
    for values in zip(*columns, strict=True):
        yield {n: v for n, v in zip(names, values, strict=True) if v is not None}, None


def _column_values(name: str, column: Any) -> list[Any]:
    import pyarrow as pa
    import pyarrow.types as t

    kind = column.type
    if t.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if t.is_null(kind):
        return [None] * len(column)
    text = t.is_string(kind) or t.is_large_string(kind) or t.is_string_view(kind)
    if name == "occurred_at" and t.is_timestamp(kind):
        if kind.tz is None:
            raise Undecodable("column_type")
        per_ms = {"s": (1_000, 1), "ms": (1, 1), "us": (1, 1_000), "ns": (1, 1_000_000)}[kind.unit]
        raw = column.cast(pa.int64()).to_pylist()
        return [None if v is None else v * per_ms[0] // per_ms[1] for v in raw]
    if name in ("amount_fen", "subsidy_fen"):
        good = t.is_integer(kind)
    elif name == "occurred_at":
        good = text or t.is_integer(kind)
    elif name == "scene_tags":
        good = (t.is_list(kind) or t.is_large_list(kind)) and (
            t.is_string(kind.value_type)
            or t.is_large_string(kind.value_type)
            or t.is_null(kind.value_type)
        )
    else:
        good = text
    if not good:
        raise Undecodable("column_type")
    return column.to_pylist()


# -- one row ---------------------------------------------------------------------------------------


def _instant_ms(value: Any) -> int | None:
    """Epoch milliseconds, None where it is no instant."""
    if isinstance(value, int):
        return value
    found = _RFC3339.fullmatch(value)
    if not found:
        return None
    year, month, day, hour, minute, second = (int(found.group(n)) for n in range(1, 7))
    try:
        at = datetime(year, month, day, hour, minute, second)
    except ValueError:
        return None
    fraction = (found.group(7) or "")[:3].ljust(3, "0")
    ms = (at - datetime(1970, 1, 1)) // timedelta(milliseconds=1) + int(fraction)
    if not found.group(8):
        hours, minutes = int(found.group(10)), int(found.group(11))
        if hours > 23 or minutes > 59:
            return None
        ms -= (hours * 60 + minutes) * 60_000 * (1 if found.group(9) == "+" else -1)
    return ms


def _years_before(ms: int, years: int) -> int:
    now = datetime(1970, 1, 1) + timedelta(milliseconds=ms)
    try:
        then = now.replace(year=now.year - years)
    except ValueError:
        then = now.replace(year=now.year - years, day=28)
    return (then - datetime(1970, 1, 1)) // timedelta(milliseconds=1)


def _encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _text_fault(value: Any) -> str | None:
    if type(value) is not str:
        return "wrong_type"
    if not value or not (value.isascii() or _encodable(value)):
        return "invalid_value"
    return "too_long" if len(value) > 64 else None


def _number_fault(value: Any, low: int, high: int) -> str | None:
    if type(value) is not int:
        return "wrong_type"
    return None if low <= value <= high else "out_of_range"


class Recount:
    """The books as they must be. `now_ms`: what the doors' clock shows (epoch ms); may be moved."""

    def __init__(self, registry_rows: Iterable[dict[str, Any]], now_ms: int | datetime) -> None:
        self.registry = Registry()
        self.registry.put(registry_rows)
        self.now_ms = now_ms
        self._districts = {row["code"] for row in _table("districts.csv")}
        self._first: dict[bytes, bytes] = {}
        self._receipts: dict[tuple[str, str], dict[bytes, Expected]] = {}
        self._cells: dict[tuple[str | None, int, str, str, str], Cell] = {}
        self._totals: dict[tuple[str, int], ControlTotals] = {}
        self.dead: list[tuple[str | None, BadRow]] = []
        """(key or None, bad row) of every request, in order; a repeated request adds nothing."""
        self._memo: dict[Any, Any] = {}

    @property
    def now_ms(self) -> int:
        return self._now_ms

    @now_ms.setter
    def now_ms(self, now: int | datetime) -> None:
        self._now_ms = now if isinstance(now, int) else int(now.timestamp() * 1000)
        self._latest = self._now_ms + 5 * 60_000
        self._earliest = _years_before(self._now_ms, 5)

    # -- what happens ------------------------------------------------------------------------------

    def put_merchants(self, rows: Iterable[dict[str, Any]]) -> None:
        """`PUT /v1/merchants`: entries of later requests are classified with it."""
        self.registry.put(rows)

    def request(
        self,
        platform: str | None,
        form: str,
        body: bytes,
        key: str | None = None,
        *,
        encoding: str | None = None,
        recorded_on: str | None = None,
    ) -> Expected:
        """One request to the HTTP door. `platform` None: the bureau's token. `form`: json, ndjson, csv,
        arrow, parquet. A 400, 413 or 422 books nothing."""
        try:
            body = _decoded(body, encoding)
        except Undecodable as error:
            return Expected(status=error.status)
        sha = hashlib.sha256(body).digest()
        known: dict[bytes, Expected] = {}
        if key is not None:
            known = self._receipts.setdefault((platform or "", key), {})
            if sha in known:
                return Expected(**{**vars(known[sha]), "repeated": True})
        try:
            rows = list(_rows(body, form))
        except Undecodable as error:
            return Expected(status=error.status)
        expected = Expected(received=len(rows), key_reused=bool(known))
        for index, (row, raw) in enumerate(rows):
            verdict = self._take(platform, row, raw, index, recorded_on)
            if isinstance(verdict, BadRow):
                expected.rejected += 1
                expected.bad.append(verdict)
                self.dead.append((key, verdict))
                continue
            expected.accepted += 1
            if verdict == "booked":
                expected.booked += 1
            elif verdict == "duplicate":
                expected.duplicates += 1
                expected.duplicate_rows.append(index)
            else:
                expected.conflicts += 1
                expected.conflict_rows.append(index)
        if key is not None:
            known[sha] = expected
        return expected

    def feed(self, platform: str, record: bytes) -> str:
        """One record of the Kafka door, delivered once: booked, duplicate, conflict or rejected."""
        verdict = self._take(platform, _json_value(record), record, 0, None)
        if isinstance(verdict, BadRow):
            self.dead.append((None, verdict))
            return "rejected"
        return verdict

    def _take(
        self,
        platform: str | None,
        row: dict[str, Any] | _Bad,
        raw: bytes | None,
        index: int,
        recorded_on: str | None,
    ) -> str | BadRow:
        if isinstance(row, _Bad):
            return BadRow(index, row.faults, raw)
        try:
            ms = self._checked(platform, row)
        except _Bad as bad:
            return BadRow(index, bad.faults, raw)
        get = row.get
        who, merchant, kind, amount = (
            row["platform_id"],
            row["merchant_id"],
            row["kind"],
            row["amount_fen"],
        )
        tags = get("scene_tags")
        said = (
            merchant, ms, kind, amount, get("refers_to"), get("district_code"), get("mcc"), get("channel"),
            sorted(tags) if tags else None, get("program_id"), get("subsidy_fen"),
        )  # fmt: skip
        digest = hashlib.blake2b(repr(said).encode(), digest_size=16).digest()
        name = hashlib.blake2b(f"{who}\x1f{row['entry_id']}".encode(), digest_size=16).digest()
        first = self._first.setdefault(name, digest)
        if first is not digest:
            return "duplicate" if first == digest else "conflict"
        district, sector = self.registry.classify(
            who, merchant, ms, get("district_code"), get("mcc")
        )
        hour = (ms + _ZONE_MS) // 3_600_000
        at = (recorded_on, hour, district, sector, who)
        cell = self._cells.get(at)
        if cell is None:
            cell = self._cells[at] = Cell()
        total = self._totals.get((who, hour // 24))
        if total is None:
            total = self._totals[who, hour // 24] = ControlTotals()
        signed = KINDS[kind] * amount
        cell.entries += 1
        cell.net_fen += signed
        total.entries += 1
        total.net_fen += signed
        if kind == "sale":
            cell.sales_fen += amount
            total.sales_fen += amount
        elif kind == "refund":
            cell.refunds_fen += amount
            total.refunds_fen += amount
        else:
            total.reversals_fen += amount
        return "booked"

    def _checked(self, platform: str | None, row: dict[str, Any]) -> int:
        """When it occurred, in epoch ms; raises _Bad with everything that is wrong."""
        faults: list[tuple[str | None, str]] = []
        if not row.keys() <= _FIELDS:
            faults += [(name, "unknown_field") for name in row if name not in _FIELDS]
        get = row.get
        for name in ("entry_id", "merchant_id"):
            value = get(name)
            if value is None:
                faults.append((name, "missing_field"))
            elif fault := _text_fault(value):
                faults.append((name, fault))
        value = get("platform_id")
        if value is None:
            faults.append(("platform_id", "missing_field"))
        elif fault := _text_fault(value):
            faults.append(("platform_id", fault))
        elif not _PLATFORM.fullmatch(value):
            faults.append(("platform_id", "invalid_value"))
        elif platform is not None and value != platform:
            faults.append(("platform_id", "platform_mismatch"))
        ms = 0
        value = get("occurred_at")
        if value is None:
            faults.append(("occurred_at", "missing_field"))
        elif type(value) not in (str, int):
            faults.append(("occurred_at", "wrong_type"))
        else:
            instant = _instant_ms(value)
            if instant is None:
                faults.append(("occurred_at", "invalid_time"))
            elif instant > self._latest:
                faults.append(("occurred_at", "in_future"))
            elif instant < self._earliest:
                faults.append(("occurred_at", "too_old"))
            else:
                ms = instant
        value = get("kind")
        if value is None:
            faults.append(("kind", "missing_field"))
        elif type(value) is not str:
            faults.append(("kind", "wrong_type"))
        elif value not in KINDS:
            faults.append(("kind", "invalid_value"))
        value = get("amount_fen")
        if value is None:
            faults.append(("amount_fen", "missing_field"))
        elif fault := _number_fault(value, 1, 10**13):
            faults.append(("amount_fen", fault))
        for name in ("refers_to", "program_id"):
            value = get(name)
            if value is not None and (fault := _text_fault(value)):
                faults.append((name, fault))
        value = get("district_code")
        if value is not None and value not in self._districts_of(value):
            known = type(value) is str and _DISTRICT.fullmatch(value)
            wrong = (
                "unknown_district"
                if known
                else "wrong_type"
                if type(value) is not str
                else "invalid_value"
            )
            faults.append(("district_code", wrong))
        value = get("mcc")
        if value is not None and not (type(value) is str and _MCC.fullmatch(value)):
            faults.append(("mcc", "wrong_type" if type(value) is not str else "invalid_value"))
        value = get("channel")
        if value is not None and value not in ("online", "offline"):
            faults.append(("channel", "wrong_type" if type(value) is not str else "invalid_value"))
        value = get("scene_tags")
        if value is not None:
            if type(value) is not list:
                faults.append(("scene_tags", "wrong_type"))
            elif len(value) > 16 or any(_text_fault(tag) for tag in value):
                faults.append(("scene_tags", "invalid_value"))
        value = get("subsidy_fen")
        if value is not None and (fault := _number_fault(value, 0, 10**13)):
            faults.append(("subsidy_fen", fault))
        if faults:
            raise _Bad(faults)
        return ms

    def _districts_of(self, value: Any) -> set[str]:
        return self._districts if type(value) is str else set()

    # -- what must be found --------------------------------------------------------------------------

    def cells(
        self, grain: str = "day", *, recorded_until: str | None = None
    ) -> dict[tuple[str, str, str, str], Cell]:
        """(period, district, sector, platform) -> sums. `grain`: hour, day, month, year; periods are
        written as `/v1/cells` does. `recorded_until`: only what a `recorded_on` up to then imported."""
        result: dict[tuple[str, str, str, str], Cell] = {}
        for (recorded, hour, district, sector, platform), cell in self._cells.items():
            if recorded_until is not None and (recorded is None or recorded > recorded_until):
                continue
            at = (_period(hour, grain), district, sector, platform)
            result.setdefault(at, Cell()).add(cell)
        return result

    def control_totals(self, platform: str, day: str) -> ControlTotals:
        """Of what occurred on that day, as booked."""
        return self._totals.get((platform, _day(day)), ControlTotals())

    def days(self) -> list[str]:
        """Days (of Shanghai) on which anything booked occurred, in order."""
        return sorted({_period(hour, "day") for _, hour, *_ in self._cells})


def _period(hour: int, grain: str) -> str:
    day = (_EPOCH + timedelta(days=hour // 24)).isoformat()
    if grain == "hour":
        return f"{day}T{hour % 24:02d}:00+08:00"
    return {"day": day, "month": day[:7], "year": day[:4]}[grain]


def _decoded(body: bytes, encoding: str | None) -> bytes:
    if len(body) > BODY_MAX:
        raise Undecodable("too_large", 413)
    try:
        if encoding == "gzip":
            body = gzip.decompress(body)
        elif encoding == "zstd":
            import pyarrow as pa

            with pa.input_stream(pa.py_buffer(body), compression="zstd") as stream:
                body = stream.read()
    except (OSError, EOFError, zlib.error):
        raise Undecodable("body_undecodable") from None
    if len(body) > BODY_MAX:
        raise Undecodable("too_large", 413)
    return body


def _rows(body: bytes, form: str) -> Iterator[RawRow]:
    if form in ("arrow", "parquet"):
        return _columnar(body, form)
    if body.startswith(b"\xef\xbb\xbf"):
        body = body[3:]
    return {"json": _json, "ndjson": _ndjson, "csv": _csv}[form](body)
