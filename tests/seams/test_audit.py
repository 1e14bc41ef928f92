"""The audit finds what is wrong in the books, and nothing where a flush is only under way."""

import json
from collections import defaultdict
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from clickhouse_connect.driver.client import Client

from contracts.entries.ids import id_of
from yumai.store import audit as auditing
from yumai.store.audit import audit
from yumai.store.client import connect
from yumai.store.migrate import migrate

SHANGHAI = ZoneInfo("Asia/Shanghai")
START = datetime(2026, 3, 1, 9, 30, tzinfo=SHANGHAI)
KINDS = ("sale", "refund", "sale_reversal", "refund_reversal")
LEDGER = [
    "epoch",
    "part",
    "off",
    "row",
    "id",
    "content",
    "receipt_low",
    "receipt_row",
    "recorded_date",
    "occurred_at",
    "kind",
    "amount_fen",
    "district",
    "sector",
    "platform",
    "merchant",
    "classified_by",
    "map_version",
]
CELLS = [
    "period",
    "recorded_date",
    "district",
    "sector",
    "platform",
    "epoch",
    "part",
    "block",
    "last_offset",
    "entries",
    "sales_fen",
    "refunds_fen",
    "sale_reversals_fen",
    "refund_reversals_fen",
]
BLOCKS = [
    "epoch",
    "part",
    "block",
    "last_offset",
    "entries",
    "net_fen",
    "complete",
    "function_version",
    "written_at",
]
PARTS = (0, 1)
RECORDS, ROWS = 1030, 3  # a complete block and an open one in each partition


def entry(part: int, off: int, row: int) -> list:
    number = (off * ROWS + row) * len(PARTS) + part
    return [
        *(1, part, off, row, id_of("wxpay", str(number)), number, number, row),
        date(2026, 3, 2),
        START + timedelta(minutes=37 * (number % 200)),
        KINDS[number % 4],
        number % 977 + 1,
        (500101, 500157, 0)[number % 3],
        ("S01", "G00")[number % 2],
        ("wxpay", "alipay")[number % 5 == 0],
        *(number, 17, 3),
    ]


class Books:
    """Writes what a metrics worker writes, in its order, each part on its own."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def ledger(self, rows: list[list]) -> None:
        self.client.insert("entries", rows, column_names=LEDGER)

    def cells(self, rows: list[list], last_offset: int, block: int) -> None:
        cells: dict = defaultdict(lambda: [0, 0, 0, 0, 0])
        for row in rows:
            at = dict(zip(LEDGER, row, strict=True))
            hour = at["occurred_at"].replace(minute=0)
            key = (hour, at["recorded_date"], at["district"], at["sector"], at["platform"])
            cells[*key, 1, at["part"], block][0] += 1
            cells[*key, 1, at["part"], block][1 + KINDS.index(at["kind"])] += at["amount_fen"]
        written = [[*key, last_offset, *sums] for key, sums in cells.items()]
        self.client.insert("cells", written, column_names=CELLS)

    def announce(self, rows: list[list], part: int, block: int, last_offset: int) -> None:
        net = sum(r[11] if r[10] in ("sale", "refund_reversal") else -r[11] for r in rows)
        complete = last_offset % 1024 == 1023
        row = [1, part, block, last_offset, len(rows), net, complete, 1, datetime.now(SHANGHAI)]
        self.client.insert("blocks", [row], column_names=BLOCKS)


@pytest.fixture
def client(store: str, unique: str) -> Iterator[Client]:
    dsn = f"{store}/{unique}"
    migrate(dsn)
    client = connect(dsn)
    yield client
    client.command(f"DROP DATABASE {unique}")
    client.close()


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auditing, "_PAUSE_SECONDS", 0.0)


@pytest.fixture
def books(client: Client) -> Books:
    books = Books(client)
    for part in PARTS:
        rows = [entry(part, off, row) for off in range(RECORDS) for row in range(ROWS)]
        books.ledger(rows)
        for block in (0, 1):
            mine = [row for row in rows if row[2] // 1024 == block]
            books.cells(mine, mine[-1][2], block)
            books.announce(mine, part, block, mine[-1][2])
    return books


def change(client: Client, table: str, assignment: str, where: str) -> None:
    client.command(
        f"ALTER TABLE {table} UPDATE {assignment} WHERE {where} SETTINGS mutations_sync = 2"
    )


def remove(client: Client, table: str, where: str) -> None:
    client.command(f"ALTER TABLE {table} DELETE WHERE {where} SETTINGS mutations_sync = 2")


def test_equal_books_are_ok(client: Client, books: Books) -> None:
    report = audit(client)
    assert report.ok
    assert (report.blocks, report.entries, report.difference_fen) == (4, 2 * RECORDS * ROWS, 0)
    assert report.blocks_recounted_by_cell == 0
    net = client.query("SELECT sum(net_fen) FROM blocks FINAL").first_row[0]
    assert report.net_fen == net
    json.dumps(report.to_dict())


def test_empty_books_are_ok(client: Client) -> None:
    assert audit(client).ok


def test_a_changed_amount_is_found_with_its_cell(client: Client, books: Books) -> None:
    change(client, "entries", "amount_fen = amount_fen + 5", "part = 1 AND off = 7 AND row = 2")
    report = audit(client)
    assert not report.ok
    assert (report.difference_fen, report.cells_differing_total) == (5, 1)
    (cell,) = report.cells_differing
    wrong = entry(1, 7, 2)
    assert cell["period"] == wrong[9].replace(minute=0).isoformat(timespec="minutes")
    assert (cell["part"], cell["block"], cell["platform"]) == (1, 0, wrong[14])
    assert cell["district"] == f"{wrong[12]:06}"
    assert cell["ledger"] != cell["cell"]
    assert [b["part"] for b in report.blocks_differing] == ([1] if wrong[10] else [])


def test_kinds_that_change_places_are_found_though_the_net_is_equal(
    client: Client, books: Books
) -> None:
    moved = "sales_fen = sales_fen + 9, sale_reversals_fen = sale_reversals_fen + 9"
    where = "block = 0 AND part = 0 AND district = 500157 AND sector = 'S01' AND platform = 'wxpay'"
    change(client, "cells", moved, where)
    report = audit(client)
    assert report.difference_fen == 18 * report.cells_differing_total > 0
    assert report.blocks_differing == []


@pytest.mark.parametrize("off", [7, 1027])
def test_a_missing_row_is_found(client: Client, books: Books, off: int) -> None:
    remove(client, "entries", f"part = 0 AND off = {off} AND row = 1")
    report = audit(client)
    assert report.cells_differing_total == 1
    assert report.difference_fen == entry(0, off, 1)[11]
    assert [b["block"] for b in report.blocks_differing] == [off // 1024]


def test_a_missing_cell_is_found(client: Client, books: Books) -> None:
    where = "part = 0 AND block = 1 AND sector = 'S01'"
    missing = client.query(f"SELECT count() FROM cells FINAL WHERE {where}").first_row[0]
    remove(client, "cells", where)
    report = audit(client)
    assert report.cells_differing_total == missing > 0
    assert all(cell["cell"]["entries"] == 0 for cell in report.cells_differing)
    assert {cell["last_offset"] for cell in report.cells_differing} == {None}


def test_a_cell_without_rows_is_found(client: Client, books: Books) -> None:
    client.command(
        "INSERT INTO cells SELECT * REPLACE(500240 AS district) FROM cells FINAL WHERE part = 1 LIMIT 1"
    )
    report = audit(client)
    assert [cell["district"] for cell in report.cells_differing] == ["500240"]


def test_an_id_at_two_positions_is_found(client: Client, books: Books) -> None:
    row = entry(0, 3, 0)
    row[1:3] = [1, 1030]
    books.ledger([row])
    report = audit(client)
    (twice,) = report.ids_twice
    assert twice["id"] == id_of("wxpay", str(3 * ROWS * 2)).hex()
    assert [(p["part"], p["offset"]) for p in twice["positions"]] == [(0, 3), (1, 1030)]
    assert report.cells_differing_total == 0
    assert not report.ok


def test_a_row_written_twice_is_one_row(client: Client, books: Books) -> None:
    client.command("INSERT INTO entries SELECT * FROM entries WHERE off < 9 OR off > 1026")
    client.command("INSERT INTO cells SELECT * FROM cells FINAL")
    assert audit(client).ok


def test_what_is_not_announced_yet_is_no_fault(client: Client, books: Books) -> None:
    """A flush in each state that a crash may leave it in."""
    rows = [entry(0, off, row) for off in range(RECORDS, RECORDS + 20) for row in range(ROWS)]
    block = [entry(0, off, row) for off in range(1024, RECORDS) for row in range(ROWS)] + rows
    books.ledger(rows)
    assert audit(client).ok
    ten = [row for row in block if row[2] < RECORDS + 10]
    touched = {(r[9].replace(minute=0), *r[12:15]) for r in ten if r[2] >= RECORDS}
    ten = [row for row in ten if (row[9].replace(minute=0), *row[12:15]) in touched]
    books.cells(ten, RECORDS + 9, 1)
    report = audit(client)
    assert report.ok
    assert report.blocks_recounted_by_cell == 1
    assert report.entries == 2 * RECORDS * ROWS
    books.announce(block, 0, 1, RECORDS + 19)
    assert not audit(client).ok  # announced with cells that never came
    books.cells(block, RECORDS + 19, 1)
    assert audit(client).ok


def test_a_new_block_that_is_not_announced_is_no_fault_unless_its_cells_are_wrong(
    client: Client, books: Books
) -> None:
    rows = [entry(1, off, row) for off in range(2048, 2060) for row in range(ROWS)]
    books.ledger(rows)
    assert audit(client).ok
    books.cells(rows, 2059, 2)
    assert audit(client).ok
    change(client, "cells", "refunds_fen = refunds_fen + 1", "block = 2")
    assert not audit(client).ok


def test_a_block_read_again_after_a_crash_is_no_fault(client: Client, books: Books) -> None:
    rows = [entry(0, off, row) for off in range(1024, 1026) for row in range(ROWS)]
    books.ledger(rows)
    books.cells(rows, 1025, 1)
    books.announce(rows, 0, 1, 1025)
    assert audit(client).ok


def test_a_block_row_that_says_another_sum_is_found(client: Client, books: Books) -> None:
    change(client, "blocks", "net_fen = net_fen - 1", "part = 1 AND block = 0")
    (block,) = audit(client).blocks_differing
    assert block["ledger_net_fen"] - block["net_fen"] == 1


def test_only_the_days_asked_for_are_recounted(client: Client, books: Books) -> None:
    change(client, "entries", "amount_fen = amount_fen + 5", "part = 1 AND off = 7 AND row = 2")
    day = entry(1, 7, 2)[9].date()
    report = audit(client, day, day)
    assert report.difference_fen == 5
    assert 0 < report.entries < 2 * RECORDS * ROWS
    assert audit(client, day + timedelta(days=1), None).ok
    assert audit(client, None, day - timedelta(days=1)).ok


def test_a_receipt_with_more_verdicts_than_accepted_rows_is_found(
    client: Client, books: Books
) -> None:
    now = datetime.now(SHANGHAI)
    names = ["receipt", "platform", "received", "accepted", "rejected", "format", "at", "version"]
    receipts = [[bytes([n] * 16), "wxpay", 5, 4, 1, "ndjson", now, n] for n in (1, 2)]
    client.insert("receipts", receipts, column_names=names)
    names = ["receipt", "epoch", "part", "block", "last_offset", "booked"]
    bookings = [[bytes([n] * 16), 1, 0, 0, off, off] for n, off in ((1, 2), (1, 3), (2, 3))]
    client.insert("receipt_bookings", bookings, column_names=names)
    names = ["receipt", "row", "verdict", "platform", "epoch", "part", "off", "recorded_at"]
    verdicts = [[bytes([1] * 16), 3, "duplicate", "wxpay", 1, 0, 4, now]] * 2
    verdicts += [[bytes([2] * 16), n, "conflict", "wxpay", 1, 0, 4, now] for n in (3, 4)]
    client.insert("verdicts", verdicts, column_names=names)
    (receipt,) = audit(client).receipts_overbooked
    assert receipt["receipt_id"] == "02" * 16
    assert (receipt["accepted"], receipt["booked"], receipt["conflicts"]) == (4, 3, 2)
