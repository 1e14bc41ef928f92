"""`yumai audit` and `yumai dead-letters` as a user meets them."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from console.cli import main
from console.commands import books
from tests.conftest import free_port
from yumai.store.client import connect
from yumai.store.migrate import migrate

AT = datetime.now(UTC).replace(microsecond=250_000)  # after 30 days they are gone
NAMES = ["receipt", "row", "platform", "code", "field", "message", "at", "size", "sha256", "bytes"]
BYTES = [b"\xff\xfe\x00 not utf-8 \n", b'{"a": "\xe6\xb8\x9d"}', b""]


def letter(n: int) -> list:
    code, field = [("not_utf8", ""), ("wrong_type", "mcc"), ("conflict", "")][n]
    data = BYTES[n]
    digest = hashlib.sha256(data).digest()
    at = AT + timedelta(seconds=n)
    return [bytes([n] * 16), n, f"p{n}", code, field, "", at, len(data), digest, data]


@pytest.fixture
def state(tmp_path: Path, store: str, unique: str) -> Iterator[str]:
    dsn = f"{store}/{unique}"
    migrate(dsn)
    client = connect(dsn)
    for _ in range(2):  # a request that was sent again
        client.insert("dead_letters", [letter(n) for n in range(3)], column_names=NAMES)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "up.json").write_text(json.dumps({"dsn": dsn}))
    yield str(tmp_path)
    client.command(f"DROP DATABASE {unique}")
    client.close()


def listed(capsys: pytest.CaptureFixture, *arguments: str) -> list[dict]:
    assert main(["dead-letters", "list", "--json", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


def test_each_dead_letter_is_listed_once_newest_first(
    state: str, capsys: pytest.CaptureFixture
) -> None:
    found = listed(capsys, "--state", state)
    assert [letter["row"] for letter in found] == [2, 1, 0]
    assert found[1] == {
        "receipt_id": "01" * 16,
        "row": 1,
        "platform_id": "p1",
        "code": "wrong_type",
        "field": "mcc",
        "at": (AT + timedelta(seconds=1)).isoformat(timespec="milliseconds"),
        "size": len(BYTES[1]),
        "sha256": hashlib.sha256(BYTES[1]).hexdigest(),
    }
    assert found[2]["field"] is None
    assert datetime.fromisoformat(found[2]["at"]) == AT


def test_the_list_is_filtered_and_carries_bytes_on_demand(
    state: str, capsys: pytest.CaptureFixture
) -> None:
    assert [x["row"] for x in listed(capsys, "--state", state, "--platform", "p1")] == [1]
    assert [x["row"] for x in listed(capsys, "--state", state, "--code", "conflict")] == [2]
    assert [x["row"] for x in listed(capsys, "--state", state, "--limit", "2")] == [2, 1]
    assert listed(capsys, "--state", state, "--platform", "nobody's '") == []
    found = listed(capsys, "--state", state, "--bytes")
    assert [base64.b64decode(letter["bytes"]) for letter in found] == BYTES[::-1]


@pytest.mark.parametrize("n", [0, 1, 2])
def test_show_writes_the_bytes_and_nothing_else(
    state: str, capfdbinary: pytest.CaptureFixture, n: int
) -> None:
    assert main(["dead-letters", "show", f"{n:02x}" * 16, str(n), "--state", state]) == 0
    assert capfdbinary.readouterr().out == BYTES[n]


def test_show_waits_for_a_row_that_was_refused_a_moment_ago(
    state: str, store: str, unique: str, capfdbinary: pytest.CaptureFixture
) -> None:
    def insert() -> None:
        client = connect(f"{store}/{unique}")
        late = [bytes([9] * 16), *letter(1)[1:]]
        client.insert("dead_letters", [late], column_names=NAMES)
        client.close()

    timer = threading.Timer(1.0, insert)
    timer.start()
    assert main(["dead-letters", "show", "09" * 16, "1", "--state", state]) == 0
    timer.join()
    assert capfdbinary.readouterr().out == BYTES[1]


def test_an_unknown_dead_letter_is_an_error(
    state: str, capfd: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(books, "SHOW_WAITS", 0.0)
    assert main(["dead-letters", "show", "ab" * 16, "0", "--state", state]) == 1
    assert main(["dead-letters", "show", "00" * 16, "1", "--state", state]) == 1
    assert main(["dead-letters", "show", "xy", "1", "--state", state]) == 2
    printed = capfd.readouterr()
    assert printed.out == ""
    assert "no dead letter" in printed.err


def test_the_audit_tells_right_wrong_and_unknown_apart(
    state: str, store: str, unique: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main(["audit", "--json", "--state", state]) == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True

    client = connect(f"{store}/{unique}")
    client.command(
        "INSERT INTO cells (period, recorded_date, district, sector, platform, epoch, block, entries, sales_fen)"
        " VALUES ('2026-05-01 13:00:00', '2026-05-01', 500103, 'S01', 'p1', 1, 0, 1, 700)"
    )
    client.close()
    assert main(["audit", "--json", "--state", state]) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["ok"], report["difference_fen"]) == (False, 700)
    (cell,) = report["cells_differing"]
    assert (cell["period"], cell["district"]) == ("2026-05-01T13:00+08:00", "500103")
    assert main(["audit", "--state", state]) == 1
    assert "700 fen of difference" in capsys.readouterr().out
    assert main(["audit", "--to", "2026-04-30", "--state", state]) == 0

    nowhere = json.dumps({"dsn": f"http://127.0.0.1:{free_port()}/yumai"})
    (tmp_path / "run" / "up.json").write_text(nowhere)
    assert main(["audit", "--json", "--state", state]) == 2
    assert "yumai up" in capsys.readouterr().err
