"""`yumai send` against a door that stands in for ingest: what it sends, and what it makes of answers."""

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pytest
import zstandard

from console import pieces
from console.cli import main
from console.commands import send

Answer = tuple[int, dict]


class Door:
    """Keeps each request; answers by `reply`, a receipt by default."""

    def __init__(self) -> None:
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.reply: Callable[[int, bytes], Answer] = self.receipt
        door = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                body = {"gzip": gzip.decompress, "zstd": zstandard.decompress}.get(
                    headers.get("content-encoding", ""), bytes
                )(body)
                door.requests.append((headers, body))
                status, answer = door.reply(len(door.requests), body)
                content = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Retry-After", "0")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def receipt(self, number: int, body: bytes, errors: tuple[int, ...] = ()) -> Answer:
        received = len(body.split())
        listed = [
            {"index": i, "field": "mcc", "code": "wrong_type", "message": "wrong"} for i in errors
        ]
        return 200, {
            "receipt_id": f"{number:032x}",
            "received": received,
            "accepted": received - len(errors),
            "rejected": len(errors),
            "errors": listed,
            "errors_truncated": False,
        }

    @property
    def keys(self) -> list[str]:
        return [headers["idempotency-key"] for headers, _ in self.requests]


@pytest.fixture
def door() -> Iterator[Door]:
    door = Door()
    thread = threading.Thread(target=door.server.serve_forever, daemon=True)
    thread.start()
    yield door
    door.server.shutdown()
    door.server.server_close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.ndjson"
    path.write_bytes(b'{"a":1}\n' * 1000)
    return path


def run(door: Door, *arguments: object) -> int:
    return main(["send", "--url", door.url, "--key", "yk_x", *map(str, arguments)])


def test_a_file_gets_a_receipt(door: Door, file: Path, capsys: pytest.CaptureFixture) -> None:
    assert run(door, file, "--json") == 0
    ((headers, body),) = door.requests
    assert body == file.read_bytes()
    assert headers["authorization"] == "Bearer yk_x"
    assert headers["content-type"] == "application/x-ndjson"
    assert "recorded-on" not in headers
    (answer,) = json.loads(capsys.readouterr().out)
    assert (answer["receipt_id"], answer["received"]) == (f"{1:032x}", 1000)


def test_the_same_content_has_the_same_key_whatever_its_file_and_compression(
    door: Door, file: Path
) -> None:
    copies = [
        file.with_name("b.jsonl"),
        file.with_name("b.ndjson.gz"),
        file.with_name("b.ndjson.zst"),
    ]
    copies[0].write_bytes(file.read_bytes())
    copies[1].write_bytes(gzip.compress(file.read_bytes()))
    copies[2].write_bytes(zstandard.compress(file.read_bytes()))
    assert run(door, file, *copies) == 0
    assert len(set(door.keys)) == 1
    assert {body for _, body in door.requests} == {file.read_bytes()}
    encodings = [headers.get("content-encoding") for headers, _ in door.requests]
    assert encodings == [None, None, "gzip", "zstd"]
    run(door, file, "--recorded-on", "2025-01-31")
    assert door.requests[-1][0]["recorded-on"] == "2025-01-31"
    assert len(set(door.keys)) == 2  # another meaning: another receipt


def test_a_large_file_is_cut_and_its_errors_count_rows_of_the_file(
    door: Door, file: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(send, "pieces", lambda path: pieces.pieces(path, 3000))
    door.reply = lambda number, body: door.receipt(number, body, (2,) if number == 3 else ())
    assert run(door, file) == 1
    bodies = [body for _, body in door.requests]
    assert [len(body) for body in bodies] == [3000, 3000, 2000]
    assert b"".join(bodies) == file.read_bytes()
    printed = capsys.readouterr().out
    assert "row 752: mcc: wrong (wrong_type)" in printed
    assert "together" in printed
    assert "999" in printed


def test_503_and_broken_connections_are_tried_again_with_the_same_key(
    door: Door, file: Path
) -> None:
    door.reply = lambda number, body: (503, {}) if number < 4 else door.receipt(number, body)
    assert run(door, file) == 0
    assert len(door.requests) == 4
    assert len(set(door.keys)) == 1


def test_a_refused_file_does_not_keep_the_next_from_being_sent(
    door: Door, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    bad = tmp_path / "bad.json"
    bad.write_bytes(b"[1,")
    error = {"code": "body_undecodable", "field": None, "message": "the body can't be decoded"}
    refusal = {"errors": [error]}
    door.reply = lambda n, body: door.receipt(n, body) if body != b"[1," else (400, refusal)
    assert run(door, bad, file, "--json") == 1
    first, second = json.loads(capsys.readouterr().out)
    assert first["status"] == 400
    assert first["error"] == "body_undecodable: the body can't be decoded"
    assert second["accepted"] == 1000


def test_without_a_valid_key_nothing_more_is_sent(door: Door, file: Path, tmp_path: Path) -> None:
    door.reply = lambda number, body: (401, {"code": "unauthorized", "message": "no valid key"})
    other = tmp_path / "b.csv"
    other.write_bytes(b"x\n1\n")
    assert run(door, file, other) == 1
    assert len(door.requests) == 1


@pytest.mark.parametrize("name", ["a.json", "a.ndjson", "a.csv", "a.arrows", "a.parquet"])
def test_an_empty_file_is_sent_as_it_is(door: Door, tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert run(door, tmp_path / name) == 0
    assert [body for _, body in door.requests] == [b""]


def test_arrow_file_format_is_sent_as_a_stream(door: Door, tmp_path: Path) -> None:
    table = pa.table({"a": [1, 2, 3]})
    with (
        pa.OSFile(str(tmp_path / "a.arrow"), "wb") as sink,
        pa.ipc.new_file(sink, table.schema) as w,
    ):
        w.write_table(table)
    assert run(door, tmp_path / "a.arrow") == 0
    ((headers, body),) = door.requests
    assert headers["content-type"] == "application/vnd.apache.arrow.stream"
    assert pa.ipc.open_stream(body).read_all() == table


def test_what_can_not_be_sent_is_said_before_anything_is(
    door: Door, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "a.txt").touch()
    for arguments in ([file, tmp_path / "a.txt"], [file, tmp_path / "none.csv"]):
        assert run(door, *arguments) == 2
    assert main(["send", str(file), "--key", "x", "--state", str(tmp_path)]) == 2
    assert "does not run" in capsys.readouterr().err
    assert door.requests == []


def test_the_key_may_come_from_the_environment(
    door: Door, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("YUMAI_KEY", raising=False)
    assert main(["send", "--url", door.url, str(file)]) == 2
    monkeypatch.setenv("YUMAI_KEY", "yk_env")
    assert main(["send", "--url", door.url, str(file)]) == 0
    assert door.requests[0][0]["authorization"] == "Bearer yk_env"
