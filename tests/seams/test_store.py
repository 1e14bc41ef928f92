"""The embedded store, asked by stock clients: that it is not a server shows nowhere.

One file, since all of it asks one store that is started once.
"""

import asyncio
import gzip
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import clickhouse_connect
import lz4.frame
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError
from clickhouse_connect.driver.external import ExternalData

from embedded import secret_files

ROOT = Path(__file__).parents[2]


class Store:
    """A store process of its own, which a test may kill and start again."""

    def __init__(self, folder: Path) -> None:
        self.data_dir = folder / "data"
        self.port = 0

    def start(self) -> "Store":
        """Starts it and waits for its one line."""
        arguments = ["--data-dir", str(self.data_dir), "--port", str(self.port)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "embedded.store", *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line.startswith("store ready on http://127.0.0.1:"), line
        self.port = int(line.split()[3].rsplit(":", 1)[1])
        self.password = secret_files.read(self.data_dir.with_name("data.password"))
        return self

    def client(self, **options) -> Client:
        """A stock client with a connection pool of its own."""
        options.setdefault("autogenerate_session_id", False)
        return clickhouse_connect.get_client(
            host="127.0.0.1", port=self.port, password=self.password, **options
        )

    def post(self, body: bytes, headers: dict[str, str] | None = None, **parameters):
        """A bare HTTP request -> (status, headers, body)."""
        url = f"http://127.0.0.1:{self.port}/?{urlencode(parameters)}"
        known = {"X-ClickHouse-Key": self.password, **(headers or {})}
        request = urllib.request.Request(url, body, known, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()

    def stop(self, number: int = signal.SIGKILL) -> int:
        """Ends it -> its exit code."""
        self.process.send_signal(number)
        try:
            return self.process.wait(10)
        finally:
            self.process.kill()
            if self.process.stdout:
                self.process.stdout.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    store = Store(tmp_path_factory.mktemp("store")).start()
    yield store
    store.stop()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Store]:
    """A store that only this test uses."""
    store = Store(tmp_path).start()
    yield store
    if store.process.poll() is None:
        store.stop()


@pytest.fixture
def database(served: Store) -> Iterator[str]:
    name = f"t{uuid.uuid4().hex[:12]}"
    client = served.client()
    client.command(f"CREATE DATABASE {name}")
    yield name
    client.command(f"DROP DATABASE {name}")
    client.close()


@pytest.fixture
def client(served: Store, database: str) -> Iterator[Client]:
    client = served.client(database=database)
    yield client
    client.close()


def arrow_stream(table: pa.Table, rows_a_batch: int = 65_536) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=rows_a_batch)
    return sink.getvalue()


def test_ping_and_bare_requests_answer(served: Store) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{served.port}/ping") as answer:
        assert answer.read() == b"Ok.\n"
    status, headers, body = served.post(b"SELECT 1 AS one FORMAT JSONEachRow", query_id="mine")
    assert (status, body) == (200, b'{"one":1}\n')
    assert headers["X-ClickHouse-Query-Id"] == "mine"
    assert headers["X-ClickHouse-Format"] == "JSONEachRow"
    assert headers["X-ClickHouse-Server-Display-Name"]
    assert json.loads(headers["X-ClickHouse-Summary"])["result_rows"] == "1"
    assert served.post(b"", query="SELECT 2", default_format="CSV")[2] == b"2\n"
    assert served.post(b" + 1", query="SELECT 2")[2] == b"3\n"


def test_a_statement_without_rows_names_no_format(served: Store, database: str) -> None:
    status, headers, _ = served.post(
        b"CREATE TABLE e (a Int8) ENGINE = MergeTree ORDER BY a", database=database
    )
    assert status == 200
    assert "X-ClickHouse-Format" not in headers


def test_rows_come_back_as_they_went(client: Client) -> None:
    client.command(
        "CREATE TABLE r (a UInt32, b String, c Nullable(Date)) ENGINE = MergeTree ORDER BY a"
    )
    summary = client.insert("r", [[1, "x", None], [2, "tab\t'\"\n\\", None]], ["a", "b", "c"])
    assert summary.written_rows == 2
    assert client.query("SELECT * FROM r ORDER BY a").result_rows == [
        (1, "x", None),
        (2, "tab\t'\"\n\\", None),
    ]
    client.command("INSERT INTO r VALUES (3, 'FORMAT; y', NULL)")
    client.command("INSERT INTO r (a, b) FORMAT JSONEachRow", data='{"a": 4, "b": "z"}\n')
    client.command("ALTER TABLE r DELETE WHERE a = 1", settings={"mutations_sync": 1})
    assert client.query("SELECT a FROM r ORDER BY a").result_columns == [[2, 3, 4]]
    assert client.query("SELECT a FROM r WHERE a > 9").result_rows == []


async def test_the_async_client_works_and_answers_in_parallel(served: Store, database: str) -> None:
    client = await clickhouse_connect.get_async_client(
        host="127.0.0.1",
        port=served.port,
        password=served.password,
        database=database,
        autogenerate_session_id=False,
    )
    async with client:
        await client.command("CREATE TABLE a (n UInt64) ENGINE = MergeTree ORDER BY n")
        await client.insert("a", [[n] for n in range(100)], ["n"])
        started_at = time.monotonic()
        answers = await asyncio.gather(
            *(client.query(f"SELECT count() + {n}, sleep(0.3) FROM a") for n in range(8))
        )
        assert [a.first_row[0] for a in answers] == [100 + n for n in range(8)]
        assert time.monotonic() - started_at < 2.0


def test_arrow_goes_in_and_out_with_its_types(client: Client) -> None:
    client.command(
        "CREATE TABLE w (id FixedString(16), word LowCardinality(String), fen Int64)"
        " ENGINE = MergeTree ORDER BY fen"
    )
    ids = [os.urandom(16) for _ in range(1000)]
    words = pa.array([f"w{n % 7}" for n in range(1000)]).dictionary_encode()
    table = pa.table(
        {
            "id": pa.array(ids, pa.binary(16)),
            "word": words,
            "fen": pa.array(range(1000), pa.int64()),
        }
    )
    client.insert_arrow("w", table)
    client.raw_insert("w", insert_block=arrow_stream(table), fmt="ArrowStream")
    assert client.command("SELECT count(), uniqExact(id), uniqExact(word) FROM w") == [
        *("2000", "1000", "7")
    ]
    back = client.query_arrow("SELECT DISTINCT id, fen FROM w ORDER BY fen")
    assert back.column("id").cast(pa.binary()).to_pylist() == ids


def test_native_bytes_can_be_copied_from_table_to_table(client: Client) -> None:
    client.command("CREATE TABLE n (a UInt64, b String) ENGINE = MergeTree ORDER BY a")
    native = client.raw_query(
        "SELECT number AS a, toString(number) AS b FROM numbers(300000)", fmt="Native"
    )
    summary = client.raw_insert("n", insert_block=native, fmt="Native")
    assert summary.written_rows == 300_000
    assert client.command("SELECT count() FROM n") == 300_000


@pytest.mark.parametrize("coding", ["lz4", "zstd", "gzip"])
def test_no_frame_of_a_compressed_insert_is_lost(client: Client, coding: str) -> None:
    """A stock client sends one lz4 frame for each 16,384 rows."""
    client.command("CREATE TABLE z (a UInt32, b String) ENGINE = MergeTree ORDER BY a")
    client.write_compression = coding
    context = client.create_insert_context(
        "z",
        column_names=["a", "b"],
        data=[range(250_000), ["word"] * 250_000],
        column_oriented=True,
    )
    context.compression = coding
    client.insert(context=context)
    assert client.command("SELECT count(), uniqExact(a) FROM z") == ["250000", "250000"]


def test_many_lz4_frames_cut_anywhere_are_all_read(served: Store, database: str) -> None:
    served.post(b"CREATE TABLE f (a UInt32) ENGINE = MergeTree ORDER BY a", database=database)
    lines = [f"{n}\n".encode() for n in range(210_000)]
    body = b"".join(
        lz4.frame.compress(b"".join(lines[at : at + 1_000])) for at in range(0, len(lines), 1_000)
    )
    where = {"database": database, "query": "INSERT INTO f FORMAT TSV"}
    status, headers, _ = served.post(body, {"Content-Encoding": "lz4"}, **where)
    assert status == 200
    assert json.loads(headers["X-ClickHouse-Summary"])["written_rows"] == "210000"
    cut, _, text = served.post(body[:-9], {"Content-Encoding": "lz4"}, **where)
    assert cut == 500
    assert b"mid-frame" in text
    assert served.post(b"SELECT count() FROM f", database=database)[2] == b"210000\n"


@pytest.mark.parametrize("coding", ["lz4", "zstd", "gzip", False])
def test_answers_are_compressed_as_asked(served: Store, coding: str | bool) -> None:
    client = served.client(compress=coding)
    sums = client.query("SELECT number FROM numbers(500000)").result_columns[0]
    assert len(sums) == 500_000
    assert sums[-1] == 499_999
    client.close()
    _, headers, body = served.post(
        b"SELECT number FROM numbers(5000)",
        {"Accept-Encoding": "gzip"},
        enable_http_compression="1",
    )
    assert headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(body).count(b"\n") == 5000


@pytest.mark.parametrize("value", ["a\tb", 'it\'s "q"', "line\nline", "\\", "渝脉", "", "\\N x"])
def test_string_parameters_arrive_unchanged(client: Client, value: str) -> None:
    query = "SELECT {v:String} AS v, length({v:String}), {n:Int32}, {l:Array(String)}"
    row = client.query(query, {"v": value, "n": -5, "l": [value, "x"]}).first_row
    assert row == (value, len(value.encode()), -5, [value, "x"])


def test_a_long_parameter_is_sent_as_a_form(client: Client) -> None:
    client.form_encode_query_params = True
    long = "长" * 50_000
    assert client.query("SELECT length({v:String})", {"v": long}).first_row == (150_000,)


def test_external_data_is_a_table_of_one_request(client: Client) -> None:
    data = ExternalData(
        file_name="people.csv", data=b"1,a\n2,b\n", fmt="CSV", structure="n UInt8, s String"
    )
    assert client.query("SELECT sum(n) FROM people", external_data=data).first_row == (3,)
    with pytest.raises(DatabaseError, match="UNKNOWN_TABLE"):
        client.query("SELECT sum(n) FROM people")


def test_database_and_settings_hold_for_one_request(served: Store, database: str) -> None:
    def ask(**parameters: str) -> bytes:
        query = b"SELECT currentDatabase(), getSetting('max_block_size')"
        return served.post(query, **parameters)[2].strip()

    plain = ask()
    assert plain.startswith(b"default\t")
    assert ask(database=database, max_block_size="77") == f"{database}\t77".encode()
    assert ask(readonly="1") == plain
    assert ask() == plain
    assert served.post(b"SELECT 1", database="no_such")[0] == 404


def test_a_session_remembers_and_others_do_not_see_it(served: Store, database: str) -> None:
    one = served.client(database=database, session_id="one")
    one.command("SET max_block_size = 123")
    one.command("CREATE TEMPORARY TABLE mine (a UInt8)")
    one.command("INSERT INTO mine VALUES (7)")
    assert one.command("SELECT a, getSetting('max_block_size') FROM mine") == ["7", "123"]
    other = served.client(database=database)
    with pytest.raises(DatabaseError):
        other.command("SELECT a FROM mine")
    assert other.command("SELECT getSetting('max_block_size')") != 123


@pytest.mark.parametrize(
    ("query", "code", "status"),
    [
        ("SELECT nope", 47, 404),
        ("SELECT FROM WHERE", 62, 400),
        ("SELECT * FROM no_such_table", 60, 404),
        ("SELECT throwIf(1)", 395, 500),
        ("SELECT 1; SELECT 2", 62, 400),
        ("INSERT INTO no_such_table FORMAT CSV\n1\n", 60, 404),
        ("SELECT 1 SETTINGS no_such_setting = 1", 115, 400),
        ("gibberish", 62, 400),
    ],
)
def test_errors_carry_code_and_status(
    served: Store, client: Client, query: str, code: int, status: int
) -> None:
    got, headers, text = served.post(query.encode(), database=client.database)
    assert (got, headers["X-ClickHouse-Exception-Code"]) == (status, str(code))
    assert text.startswith(f"Code: {code}. DB::Exception: ".encode())
    with pytest.raises(DatabaseError) as caught:
        client.raw_query(query)
    assert caught.value.code == code


def test_bad_data_is_refused_whole(client: Client) -> None:
    client.command("CREATE TABLE b (a UInt32) ENGINE = MergeTree ORDER BY a")
    lines = "".join(f"{n}\n" for n in range(50_000)) + "x\n" + "1\n" * 50_000
    with pytest.raises(DatabaseError) as caught:
        client.raw_insert("b", insert_block=lines, fmt="CSV")
    assert caught.value.code == 117
    assert client.command("SELECT count() FROM b") == 0


def test_an_error_in_mid_stream_is_seen(client: Client) -> None:
    query = "SELECT number, throwIf(number = 4000000) FROM numbers(5000000)"
    with pytest.raises(StreamFailureError, match="throwIf"):
        _ = client.query(query).result_set
    with (
        pytest.raises(Exception, match=r"broken|prematurely"),
        client.query_arrow_stream(query) as stream,
    ):
        for _ in stream:
            pass
    with pytest.raises(DatabaseError, match="throwIf"):
        client.query_arrow(query)  # FORMAT Arrow is built whole, so it still has its status
    assert client.command("SELECT 1") == 1


def test_readers_are_answered_while_a_long_insert_runs(served: Store, client: Client) -> None:
    client.command("CREATE TABLE l (a UInt64) ENGINE = MergeTree ORDER BY a")
    still_sending = threading.Event()
    still_sending.set()

    def slow() -> Iterator[bytes]:
        block = "".join(f"{n}\n" for n in range(20_000)).encode()
        for _ in range(40):
            time.sleep(0.05)
            yield block
        still_sending.clear()

    def send() -> None:
        writer = served.client(database=client.database)
        writer.raw_insert("l", insert_block=slow(), fmt="TSV")

    writing = threading.Thread(target=send)
    writing.start()
    time.sleep(0.3)
    answers, slowest = 0, 0.0
    while still_sending.is_set():
        started_at = time.monotonic()
        assert client.command("SELECT sum(number) FROM numbers(1000)") == 499_500
        slowest = max(slowest, time.monotonic() - started_at)
        answers += 1
    writing.join()
    assert answers > 20
    assert slowest < 0.5
    assert client.command("SELECT count() FROM l") == 800_000


def test_an_insert_takes_settings_columns_and_formats_that_need_a_whole_file(
    served: Store, client: Client, database: str
) -> None:
    client.command("CREATE TABLE v (a UInt32, settings String) ENGINE = MergeTree ORDER BY a")
    query = "INSERT INTO v (a, `settings`) SETTINGS format_csv_delimiter = ';' -- ;\n FORMAT CSV"
    status, _, text = served.post(b"1;x\n2;y\n", database=database, query=query)
    assert status == 200, text
    table = pa.table({"a": pa.array([3], pa.uint32()), "settings": ["z"]})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    client.command("CREATE TABLE settings AS v")
    for target in ("v", f"TABLE {database}.settings"):
        query = f"INSERT INTO {target} FORMAT Parquet"
        status, _, text = served.post(sink.getvalue().to_pybytes(), query=query, database=database)
        assert status == 200, text
    assert client.command("SELECT count() FROM settings") == 1
    assert (
        served.post(b"(4, 'w'), (2 + 3, 'u')", database=database, query="INSERT INTO v VALUES")[0]
        == 200
    )
    rows = client.query("SELECT DISTINCT a, settings FROM v ORDER BY a").result_rows
    assert rows == [(1, "x"), (2, "y"), (3, "z"), (4, "w"), (5, "u")]


@pytest.mark.parametrize("form", ["CSV", "Native", "RowBinary", "ArrowStream"])
def test_a_sender_that_leaves_half_way_has_stored_nothing(
    served: Store, client: Client, form: str
) -> None:
    """What came is whole rows in every format: only that the end is missing tells it."""
    client.command("CREATE TABLE h (a UInt64) ENGINE = MergeTree ORDER BY a")
    body = client.raw_query("SELECT number AS a FROM numbers(100000)", fmt=form)
    query = urlencode({"query": f"INSERT INTO h FORMAT {form}", "database": client.database})
    for length in (8, len(body) // 16 * 8, len(body)):
        with socket.create_connection(("127.0.0.1", served.port)) as sender:
            sender.sendall(
                f"POST /?{query} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
                + b"%x\r\n%b\r\n" % (length, body[:length])
            )
            time.sleep(0.2)
    deadline = time.monotonic() + 20
    running = "SELECT count() FROM system.processes WHERE query LIKE 'INSERT INTO h%'"
    while client.command(running):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert client.command("SELECT count() FROM h") == 0
    client.raw_insert("h", insert_block=body, fmt=form)
    assert client.command("SELECT count() FROM h") == 100_000


def test_more_slow_senders_than_threads_all_come_to_their_end(
    served: Store, client: Client
) -> None:
    client.command("CREATE TABLE s (a UInt64) ENGINE = MergeTree ORDER BY a")
    senders = 20

    def send(number: int) -> None:
        def rows() -> Iterator[bytes]:
            for piece in range(4):
                time.sleep(0.1)
                yield b"%d\n" % (number * 4 + piece)

        writer = served.client(database=client.database)
        writer.raw_insert("s", insert_block=rows(), fmt="TSV")
        writer.close()

    threads = [threading.Thread(target=send, args=(n,)) for n in range(senders)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert client.command("SELECT count(), uniqExact(a) FROM s") == ["80", "80"]


def test_replacing_rows_are_final_also_unmerged(client: Client) -> None:
    client.command(
        "CREATE TABLE p (k UInt32, v Int64, last UInt64) ENGINE = ReplacingMergeTree(last) ORDER BY k"
    )
    for last in (2, 3, 1):
        table = pa.table(
            {
                "k": pa.array(range(1000), pa.uint32()),
                "v": pa.array([last * 10] * 1000, pa.int64()),
                "last": pa.array([last] * 1000, pa.uint64()),
            }
        )
        client.insert_arrow("p", table, settings={"optimize_on_insert": 0})
    assert client.command("SELECT count(), sum(v) FROM p FINAL") == ["1000", "30000"]


def test_the_engine_knows_murmur_hash_3(client: Client) -> None:
    query = "SELECT hex(murmurHash3_128(concat({p:String}, '\\x1F', {e:String})))"
    first = client.command(query, {"p": "wechat", "e": "4200001"})
    assert len(first) == 32
    assert first == client.command(query, {"p": "wechat", "e": "4200001"})
    assert (
        client.command("SELECT hex(murmurHash3_128('foo'))") == "6145F501578671E2877DBA2BE487AF7E"
    )


def test_the_engine_makes_the_ids_of_the_contract(client: Client) -> None:
    vectors = json.loads((ROOT / "contracts/entries/vectors.json").read_text(encoding="utf-8"))
    new = "substring(SHA256(concat({p:String}, '\\x1F', {e:String})), 1, 16)"
    old = "murmurHash3_128(concat({p:String}, '\\x1F', {e:String}))"
    for vector in vectors["ids"]:
        asked = {"p": vector["platform_id"], "e": vector["entry_id"]}
        for sql, said in ((new, vector), (old, vector["version_1"])):
            slot = f"reinterpretAsUInt64(substring({sql}, 1, 8)) % 720"
            found = client.query(f"SELECT lower(hex({sql})), {slot}", parameters=asked).result_rows
            assert found == [(said["id"], said["slot"])]


def test_three_million_rows_are_one_arrow_stream(client: Client) -> None:
    query = "SELECT number AS n, toLowCardinality(toString(number % 5)) AS w FROM numbers(3000000)"
    dictionary = {"output_format_arrow_low_cardinality_as_dictionary": 1}
    raw = client.raw_query(query, fmt="ArrowStream", settings=dictionary)
    whole = pa.ipc.open_stream(raw).read_all()
    assert whole.num_rows == 3_000_000
    assert whole.column("w").to_pylist()[::500_001] == ["0", "1", "2", "3", "4", "0"]
    rows = 0
    with client.query_arrow_stream(query) as stream:
        for batch in stream:
            rows += batch.num_rows
    assert rows == 3_000_000
    assert client.query_arrow("SELECT number FROM numbers(5) WHERE 0").num_rows == 0


def test_no_acknowledged_insert_is_lost_by_kill_9(own: Store) -> None:
    own.client().command("CREATE DATABASE d")
    own.client().command("CREATE TABLE d.k (n UInt32, part UInt32) ENGINE = MergeTree ORDER BY n")
    acknowledged: list[int] = []
    attempt = 0
    for _ in range(4):

        def insert_until_it_dies() -> None:
            nonlocal attempt
            try:
                client = own.client()
                while True:
                    attempt += 1
                    client.raw_insert(
                        "d.k",
                        insert_block=f"{attempt},7\n" * 2_000,
                        fmt="CSV",
                        column_names=["n", "part"],
                    )
                    acknowledged.append(attempt)
            except Exception:
                pass  # killed

        writing = threading.Thread(target=insert_until_it_dies)
        writing.start()
        time.sleep(random.uniform(0.4, 0.8))
        own.stop(signal.SIGKILL)
        writing.join()
        started_at = time.monotonic()
        own.start()
        assert time.monotonic() - started_at < 5
        stored = dict(own.client().query("SELECT n, count() FROM d.k GROUP BY n").result_rows)
        assert {n: stored.get(n) for n in acknowledged} == dict.fromkeys(acknowledged, 2_000)
    assert len(acknowledged) > 20


def test_sigterm_is_a_clean_exit_with_open_connections(own: Store) -> None:
    own.client().command("SELECT 1")  # its pooled connection stays open
    idle = socket.create_connection(("127.0.0.1", own.port))
    busy = socket.create_connection(("127.0.0.1", own.port))
    host = f"Host: 127.0.0.1:{own.port}\r\nX-ClickHouse-Key: {own.password}\r\n".encode()
    busy.sendall(b"POST /?query=SELECT+sleep(3) HTTP/1.1\r\n%bContent-Length: 0\r\n\r\n" % host)
    half = socket.create_connection(("127.0.0.1", own.port))
    half.sendall(b"POST /?query=SELECT+1 HTTP/1.1\r\n%bContent-Length: 99\r\n\r\nx" % host)
    time.sleep(0.3)
    started_at = time.monotonic()
    assert own.stop(signal.SIGTERM) == 0
    assert time.monotonic() - started_at < 3
    for connection in (idle, busy, half):
        connection.close()


def test_a_lost_directory_starts_empty(own: Store, tmp_path: Path) -> None:
    own.client().command("CREATE DATABASE gone")
    own.stop(signal.SIGINT)
    own.data_dir.rename(tmp_path / "lost")
    own.start()
    assert "gone" not in own.client().command("SHOW DATABASES")
    assert own.client().command("SELECT currentDatabase()") == "default"


def test_a_second_process_on_the_directory_is_told_so(served: Store) -> None:
    arguments = ["--data-dir", str(served.data_dir), "--port", "0"]
    second = subprocess.run(
        [sys.executable, "-m", "embedded.store", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert second.returncode == 1
    assert "one process per directory" in second.stderr
