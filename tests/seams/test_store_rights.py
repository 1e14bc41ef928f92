"""Who may ask the embedded store, and what no statement can reach: files, servers, programs, other directories.

One file, since all of it asks one store that is started once.
"""

import base64
import http.client
import json
import socket
import subprocess
import sys
import threading
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest

from embedded import secret_files
from tests.conftest import ROOT
from tests.seams.test_store import Store

SECRET = "the-signing-key"


class Server:
    """Somebody else's port, which hears whether it was asked."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.asked = 0
        threading.Thread(target=self._hear, daemon=True).start()

    def _hear(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.asked += 1
            connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + SECRET.encode())
            connection.close()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.listener.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    store = Store(tmp_path_factory.mktemp("store")).start()
    # One where the kernel's wall stands (on Linux), and one where only the engine's rights do.
    (store.data_dir.parent / "outside").write_text(SECRET)
    (store.data_dir / "inside").write_text(SECRET)
    for statement in (
        "CREATE DATABASE d",
        "CREATE TABLE d.t (a String, n UInt8) ENGINE = MergeTree ORDER BY a",
        "INSERT INTO d.t VALUES ('x', 1)",
    ):
        assert store.post(statement.encode())[0] == 200
    yield store
    store.stop()


READ = [
    "SELECT file('{f}')",
    "SELECT file ( '{f}' )",
    "SELECT file/* */('{f}')",
    "SELECT file -- x\n('{f}')",
    "SELECT `file`('{f}')",
    "SELECT \"file\"('{f}')",
    "SELECT `\\x66ile`('{f}')",
    "SELECT \"\\x66\\x69le\"('{f}')",
    "SELECT file($${f}$$)",
    "SELECT file($a${f}$a$)",
    "SELECT /* /* */ ' */ file('{f}') -- '",
    "SELECT /* ' */ file('{f}') /* ' */",
    "SELECT '\\'', file('{f}'), '\\''",
    "SELECT 'a''', file('{f}'), ''''",
    "SELECT * APPLY file FROM (SELECT '{f}')",
    "SELECT * APPLY(file) FROM (SELECT '{f}')",
    "SELECT * APPLY (`\\x66ile`) FROM (SELECT '{f}')",
    "SELECT arrayMap(x -> file(x), ['{f}'])",
    "WITH (p) -> file(p) AS f SELECT f('{f}')",
    "WITH a AS (SELECT file('{f}') AS c) SELECT c FROM a",
    "SELECT (SELECT file('{f}'))",
    "SELECT 1 WHERE throwIf(file('{f}') != '', 'x') = 0",
    "EXPLAIN SELECT file('{f}')",
    "EXPLAIN QUERY TREE SELECT file('{f}')",
    "CREATE VIEW d.v{n} AS SELECT file('{f}') AS c",
    "CREATE MATERIALIZED VIEW d.v{n} REFRESH EVERY 1 SECOND ENGINE = Memory AS SELECT file('{f}') AS c",
    "CREATE TABLE d.c{n} (a UInt8, b String DEFAULT file('{f}')) ENGINE = Memory",
    "CREATE TABLE d.c{n} (a UInt8, b String ALIAS file('{f}')) ENGINE = Memory",
    "CREATE TABLE d.c{n} ENGINE = Memory AS SELECT file('{f}') AS c",
    "ALTER TABLE d.t UPDATE n = length(file('{f}')) WHERE 1",
    "INSERT INTO d.t (a) SELECT file('{f}')",
    "INSERT INTO d.t (a) VALUES (file('{f}'))",
    "INSERT INTO d.t (a) SETTINGS input_format_values_interpret_expressions = 1 VALUES (`\\x66ile`('{f}'))",
    "INSERT INTO d.t (a) FORMAT Values ( /* */ file ( '{f}' ) )",
    "SET input_format_values_interpret_expressions = 1",
    "INSERT INTO d.t (a) VALUES ('y'), (concat(file('{f}'), ''))",
    "SELECT x FROM generateRandom('a UInt8, x String ALIAS file(\\'{f}\\')') LIMIT 1",
    "SELECT x FROM generateRandom(concat('x String ALIAS fi', 'le(\\'{f}\\')')) LIMIT 1",
    "SELECT x FROM values('a UInt8, x String ALIAS file(\\'{f}\\')', 1)",
    "SELECT x FROM values('a UInt8, x String ALIAS `\\\\x66ile`(\\'{f}\\')', 1)",
    "SELECT x FROM format('JSONEachRow', 'a UInt8, x String DEFAULT file(\\'{f}\\')', '{{\"a\":1}}')",
    "SELECT x FROM format(JSONEachRow, concat('x String DEFAULT fi', 'le(\\'{f}\\')'), '{{}}')",
    "SELECT * FROM eval('SELECT fi' || 'le(\\'{f}\\')')",
    "SELECT * FROM eval('SELECT 1') SETTINGS allow_experimental_eval_table_function = 1",
    "SELECT a FROM d.t SETTINGS additional_table_filters = {{'d.t': 'file(\\'{f}\\') = a'}}",
    "SELECT a FROM d.t SETTINGS additional_table_filters = {{'d.t': '`\\\\x66ile`(\\'{f}\\') = 1'}}",
    "SELECT a FROM d.t SETTINGS additional_result_filter = 'file(\\'{f}\\') = a'",
    "SET additional_table_filters = {{'d.t': 'file(\\'{f}\\') = a'}}",
    "SELECT * FROM file('{f}', 'LineAsString')",
    "SELECT * FROM `file`('{f}', 'LineAsString', 'line String')",
    "SELECT * FROM FILE('{f}', 'LineAsString')",
    "SELECT * FROM '{f}'",
    "SELECT * FROM `{f}`",
    'SELECT * FROM "{f}"',
    "SELECT * FROM default.`{f}`",
    "DESCRIBE file('{f}')",
    "SELECT count() FROM fileCluster('default', '{f}', 'LineAsString')",
    "SELECT * FROM loop(file('{f}', 'LineAsString'))",
    "SELECT * FROM view(SELECT * FROM file('{f}', 'LineAsString'))",
    "SELECT * FROM cluster('default', file('{f}', 'LineAsString'))",
    "SELECT * FROM filesystem('{f}')",
    "SELECT * FROM sqlite('{f}', 't')",
    "SELECT * FROM icebergLocal('{f}')",
    "SELECT * FROM deltaLakeLocal('{f}')",
    "SELECT * FROM paimonLocal('{f}')",
    "SELECT * FROM python('SECRET')",
    "SELECT * FROM executable('{f}', 'TSV', 'a String')",
    "SELECT * FROM d.t WHERE a IN file('{f}', 'LineAsString')",
    "CREATE TABLE d.e{n} (a String) ENGINE = File('LineAsString', '{f}')",
    "CREATE TABLE d.e{n} AS file('{f}', 'LineAsString')",
    "CREATE TABLE d.e{n} CLONE AS file('{f}')",
    "CREATE TEMPORARY TABLE e (a String) ENGINE = File('LineAsString', '{f}')",
    "CREATE TABLE d.e{n} (a String) ENGINE = SQLite('{f}', 't')",
    "CREATE TABLE d.e{n} (a String) ENGINE = Executable('{f}', 'TSV')",
    "CREATE TABLE d.e{n} (a String) ENGINE = FileLog('{f}', 'LineAsString')",
    "CREATE DATABASE e{n} ENGINE = Filesystem('{f}')",
    "CREATE DATABASE e{n} ENGINE = SQLite('{f}')",
    "CREATE DICTIONARY d.d{n} (a String) PRIMARY KEY a SOURCE(FILE(PATH '{f}' FORMAT 'LineAsString'))"
    " LAYOUT(FLAT()) LIFETIME(0)",
    "CREATE FUNCTION f{n} AS (x) -> file(x)",
    "CREATE NAMED COLLECTION c{n} AS path = '{f}'",
    "SELECT '{f}' AS a SETTINGS select = '* APPLY file'",
    "SELECT '{f}' AS a SETTINGS select = $$* APPLY(file)$$",
    "SET select = '* APPLY file'",
    "SELECT a FROM d.t SETTINGS filter = 'a IN (SELECT * APPLY file FROM (SELECT \\'{f}\\'))'",
    "INSERT INTO d.t (a) FROM INFILE '{f}' FORMAT LineAsString",
    "INSERT INTO d.t (a) FROM/**/INFILE '{f}' COMPRESSION 'none' FORMAT LineAsString",
    "SELECT 1 FORMAT Template SETTINGS format_template_row = '{f}'",
    "SELECT 1 SETTINGS format_template_resultset = '{f}' FORMAT Template",
    "SET format_template_row = '{f}'",
    "SELECT 1 AS a FORMAT Protobuf SETTINGS format_schema = '{f}:M'",
    "SET dialect = 'prql'",
    "SELECT 1 SETTINGS dialect = 'kusto'",
    "BACKUP TABLE d.t TO File('{f}')",
    "RESTORE TABLE d.t AS d.r FROM File('{f}')",
    "BACKUP TABLE d.t TO Disk('backups', 'b{n}') SETTINGS base_backup = File('{f}')",
    "ATTACH TABLE d.a{n} FROM '{f}' (a String) ENGINE = MergeTree ORDER BY a",
    "ATTACH DATABASE a{n} ENGINE = Filesystem('{f}')",
    "DROP TABLE IF EXISTS d.zz PARALLEL WITH"
    " ATTACH TABLE d.a{n} FROM '{f}' (a String) ENGINE = MergeTree ORDER BY a",
]
WRITE = [
    "SELECT 1 INTO OUTFILE '{f}'",
    "SELECT 1 INTO/**/OUTFILE '{f}' TRUNCATE",
    "SELECT 1 INTO OUTFILE '{f}' APPEND FORMAT CSV",
    "SELECT 1 into \n outfile $${f}$$",
    "SELECT '/*' INTO OUTFILE '{f}' -- */",
    "EXPLAIN SELECT 1 INTO OUTFILE '{f}'",
    "INSERT INTO FUNCTION file('{f}', 'CSV', 'a String') SELECT 'x'",
    "INSERT INTO TABLE FUNCTION file('{f}', 'CSV', 'a String') VALUES ('x')",
    "INSERT INTO FUNCTION/**/`file`('{f}', 'CSV', 'a String') SELECT 'x'",
    "SET input_format_record_errors_file_path = '{f}'",
    "SELECT 1 AS a FORMAT Protobuf SETTINGS output_format_schema = '{f}'",
    "SET output_format_schema = '{f}'",
    "CREATE TABLE d.w{n} (a String) ENGINE = File('CSV', '{f}')",
    "CREATE TABLE d.w{n} (a String) ENGINE = EmbeddedRocksDB(0, '{f}') PRIMARY KEY a",
    "CREATE TABLE d.w{n} (a String) ENGINE = MergeTree ORDER BY a"
    " SETTINGS disk = disk(type = local, path = '{f}/')",
    "BACKUP TABLE d.t TO File('{f}')",
    "BACKUP TABLE d.t TO Disk('default', '{f}')",
    "BACKUP TABLE d.t TO Disk('backups', '../../outside')",
    "BACKUP TABLE d.t TO Disk('backups', '{f}')",
    "CREATE TABLE d.w{n} (a String) ENGINE = MergeTree ORDER BY a"
    " SETTINGS disk = disk(type = local_blob_storage, path = '{f}/')",
    "SYSTEM SHUTDOWN",
    "CREATE USER u{n}",
    "GRANT ALL ON *.* TO default WITH GRANT OPTION",
]
ASK = [
    "SELECT * FROM url('http://{a}/x', 'LineAsString')",
    "SELECT * FROM url('http://{a}/x', LineAsString, 'a String')",
    "SELECT * FROM s3('http://{a}/b/k', NOSIGN, 'LineAsString')",
    "SELECT * FROM gcs('http://{a}/b/k', NOSIGN, 'LineAsString')",
    "SELECT * FROM azureBlobStorage('http://{a}/c', 'c', 'k', 'n', 'a2V5')",
    "SELECT * FROM hdfs('hdfs://{a}/k', 'LineAsString', 'a String')",
    "SELECT * FROM remote('{a}', system.one)",
    "SELECT * FROM remoteSecure('{a}', system.one)",
    "SELECT * FROM mysql('{a}', 'd', 't', 'u', 'p')",
    "SELECT * FROM postgresql('{a}', 'd', 't', 'u', 'p')",
    "SELECT * FROM mongodb('{a}', 'd', 'c', 'u', 'p', 'a String')",
    "SELECT * FROM redis('{a}', 'k', 'k String, v String')",
    "SELECT * FROM odbc('DSN=x', 't')",
    "SELECT * FROM jdbc('jdbc:x', 't')",
    "INSERT INTO FUNCTION url('http://{a}/x', 'CSV', 'a String') VALUES ('x')",
    "CREATE TABLE d.u{n} (a String) ENGINE = URL('http://{a}/x', 'CSV')",
    "CREATE TABLE d.u{n} (a String) ENGINE = S3('http://{a}/b/k', 'CSV')",
    "CREATE TABLE d.u{n} (a String) ENGINE = MySQL('{a}', 'd', 't', 'u', 'p')",
    "CREATE TABLE d.u{n} (a String) ENGINE = Kafka('{a}', 't', 'g', 'CSV')",
    "CREATE DATABASE u{n} ENGINE = MySQL('{a}', 'd', 'u', 'p')",
    "CREATE DATABASE u{n} ENGINE = DataLakeCatalog('http://{a}/')"
    " SETTINGS catalog_type = 'rest', warehouse = 'w', allow_database_iceberg = 1",
    "CREATE DATABASE u{n} ENGINE = `\\x44ataLakeCatalog`('http://{a}/')"
    " SETTINGS catalog_type = 'rest', warehouse = 'w'",
    "CREATE TABLE d.u{n} (a String) ENGINE = MergeTree ORDER BY a"
    " SETTINGS disk = disk(type = web, endpoint = 'http://{a}/')",
    "CREATE TABLE d.u{n} (a String) ENGINE = MergeTree ORDER BY a"
    " SETTINGS disk = `\\x64isk`(type = web, endpoint = 'http://{a}/')",
    "CREATE TABLE d.u{n} (a String) ENGINE = MergeTree ORDER BY a SETTINGS disk ="
    " disk(type = s3, endpoint = 'http://{a}/b/c/', access_key_id = 'a', secret_access_key = 'b')",
    "BACKUP TABLE d.t TO S3('http://{a}/bucket/k', 'a', 'b')",
    "RESTORE TABLE d.t AS d.r FROM S3('http://{a}/bucket/k', 'a', 'b')",
    "SELECT * FROM format('AvroConfluent', 'a String', '\\0\\0\\0\\0\\1a')"
    " SETTINGS format_avro_schema_registry_url = 'http://{a}/'",
    "CREATE DICTIONARY d.d{n} (a String) PRIMARY KEY a"
    " SOURCE(HTTP(URL 'http://{a}/' FORMAT 'CSV')) LAYOUT(FLAT()) LIFETIME(0)",
]


def filled(statement: str, file: Path | str, address: str = "") -> bytes:
    return statement.format(f=file, a=address, n=uuid.uuid4().hex[:8]).encode()


@pytest.mark.parametrize("where", ["outside", "inside"])
@pytest.mark.parametrize("statement", READ)
def test_no_statement_reads_a_file(served: Store, statement: str, where: str) -> None:
    folder = served.data_dir if where == "inside" else served.data_dir.parent
    text = filled(statement, folder / where)
    for status, _, body in (
        served.post(text),
        served.post(b"", query=text.decode()),
        served.post(text, session_id=uuid.uuid4().hex),
    ):
        assert status != 200, body
        assert SECRET.encode() not in body
    left = served.post(b"SELECT name FROM system.tables WHERE database = 'd'")[2].split()
    assert left == [b"t"]
    assert SECRET.encode() not in served.post(b"SELECT * FROM d.t")[2]


@pytest.mark.parametrize("statement", WRITE)
def test_no_statement_writes_a_file(served: Store, statement: str) -> None:
    for folder in (served.data_dir.parent, served.data_dir):
        made = folder / f"made-{uuid.uuid4().hex}"
        status, _, body = served.post(filled(statement, made))
        assert status != 200, body
        assert not made.exists()
    assert sorted(p.name for p in served.data_dir.parent.iterdir()) == [
        *("backups", "data", "data.password", "outside")
    ]


@pytest.mark.parametrize("statement", ASK)
def test_no_statement_asks_a_server(served: Store, server: Server, statement: str) -> None:
    before = server.asked
    text = filled(statement, "", f"127.0.0.1:{server.port}")
    status, _, body = served.post(text, allow_database_iceberg="1")
    assert status != 200, body
    assert server.asked == before


@pytest.mark.parametrize(
    "parameters",
    [
        {"max_threads = 1; SELECT 1 INTO OUTFILE '{f}' -- ": "1"},
        {"max_threads = 1, readonly": "0"},
        {"database": "default`; SELECT 1 INTO OUTFILE '{f}' -- "},
        {"database": "default\\`; SELECT 1 INTO OUTFILE '{f}' -- "},
        {"param_a = 1; SELECT 1 INTO OUTFILE '{f}' -- ": "1"},
        {"additional_table_filters": "{'d.t': 'a = file(''{f}'')'}"},
        {"additional_table_filters": "{'d.t': 'a = `\\x66ile`(''{f}'')'}"},
        {"format_template_row": "{f}"},
        {"dialect": "prql"},
        {"select": "* APPLY file"},
        {"order": "(SELECT * APPLY file FROM (SELECT '{f}'))"},
        {"output_format_schema": "{f}", "default_format": "Protobuf"},
        {"default_format": "Template", "format_template_resultset": "{f}"},
    ],
)
def test_no_parameter_becomes_a_statement(served: Store, parameters: dict[str, str]) -> None:
    made = served.data_dir / f"made-{uuid.uuid4().hex}"
    values = {
        k.replace("{f}", str(made)): v.replace("{f}", str(made)) for k, v in parameters.items()
    }
    status, _, body = served.post(b"SELECT a FROM d.t", **values)
    assert status != 200, body
    assert not made.exists()


@pytest.mark.parametrize("data", ["(file('{f}'))", "(`\\x66ile`('{f}'))", "('x'), (file('{f}'))"])
def test_data_of_values_call_nothing_that_is_forbidden(served: Store, data: str) -> None:
    body = data.format(f=served.data_dir / "inside").encode()
    for head in ("INSERT INTO d.t (a) VALUES", "INSERT INTO d.t (a) FORMAT Values"):
        for more in ({}, {"input_format_values_interpret_expressions": "1"}):
            assert served.post(body, query=head, **more)[0] != 200
    assert served.post(b"SELECT groupArray(a) FROM d.t")[2] == b"['x']\n"


def test_expressions_are_data_where_all_of_them_were_looked_into(served: Store) -> None:
    body = b"('z'), (upper('y'))"
    assert served.post(body, query="INSERT INTO d.t (a) VALUES")[0] == 200
    assert (
        served.post(b"SELECT arraySort(groupArray(a)) FROM d.t WHERE a != 'x'")[2] == b"['Y','z']\n"
    )
    assert served.post(b"ALTER TABLE d.t DELETE WHERE a != 'x'", mutations_sync="1")[0] == 200


def test_a_description_of_external_data_calls_nothing(served: Store) -> None:
    for structure, name in (
        (f"a UInt8, x String DEFAULT file('{served.data_dir / 'inside'}')", "e"),
        (f"a UInt8) ENGINE = File('CSV', '{served.data_dir / 'made'}') --", "e"),
        ("a UInt8", f"e`(a UInt8) ENGINE = File('CSV', '{served.data_dir / 'made'}') -- "),
        ("a UInt8", f"e\\`(a UInt8) ENGINE = File('CSV', '{served.data_dir / 'made'}') -- "),
    ):
        body = (
            f'--b\r\nContent-Disposition: form-data; name="{name}"; filename="x"\r\n\r\n1\r\n--b--\r\n'
        ).encode()
        parameters = {f"{name}_structure": structure, "query": "SELECT * FROM e"}
        status, _, text = served.post(
            body, {"Content-Type": "multipart/form-data; boundary=b"}, **parameters
        )
        assert status != 200, text
        assert SECRET.encode() not in text
    assert not (served.data_dir / "made").exists()


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 'file(1)' = 'x' OR 'eval (2' = 'outfile'",
        "SELECT 1 AS file, 2 AS disk, 3 AS outfiles, 'INTO OUTFILE' AS said",
        "SELECT concat('a', '\\x1F', 'b'), format('{} {}', a, n) FROM d.t",
        "SELECT a IS NULL, (NULL, 1) FROM d.t",
        "SELECT * FROM values('a UInt8, b String', (1, 'file'))",
        "ALTER TABLE d.t ATTACH PARTITION tuple()",
    ],
)
def test_what_only_looks_like_it_is_answered(served: Store, statement: str) -> None:
    """A text that holds a call in its quotes is refused, as an expression may stand in one."""
    status, _, body = served.post(statement.encode())
    assert status == (403 if "(1)" in statement else 200), body


# -- who asks ------------------------------------------------------------------------------------------


def ask(
    store: Store, method: str, path: str, body: bytes = b"", **headers: str
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", store.port, timeout=20)
    try:
        connection.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_every_way_to_name_oneself_is_taken(served: Store) -> None:
    password = served.password
    for path, headers in (
        ("/?query=SELECT+1", {"X_ClickHouse_Key": password}),
        ("/?query=SELECT+1", {"X_ClickHouse_User": "default", "X_ClickHouse_Key": password}),
        ("/?query=SELECT+1", {"Authorization": basic("default", password)}),
        (f"/?{urlencode({'query': 'SELECT 1', 'user': 'default', 'password': password})}", {}),
    ):
        assert ask(served, "POST", path, **headers) == (200, b"1\n")


def test_without_the_password_nothing_is_answered(served: Store) -> None:
    for path, headers in (
        ("/?query=SELECT+1", {}),
        ("/?query=SELECT+1&password=", {}),
        ("/?query=SELECT+1", {"X_ClickHouse_User": "default"}),
        ("/?query=SELECT+1", {"X_ClickHouse_User": "other", "X_ClickHouse_Key": served.password}),
        ("/?query=SELECT+1", {"X_ClickHouse_Key": served.password[:-1]}),
        ("/?query=SELECT+1", {"Authorization": basic("default", "")}),
        ("/?query=SELECT+1", {"Authorization": f"Bearer {served.password}"}),
        ("/?query=SELECT+1", {"Authorization": "Basic \xe4"}),
        ("/query", {}),
        ("/", {}),
        ("/anything", {}),
    ):
        for method in ("GET", "POST", "PUT", "OPTIONS"):
            status, body = ask(served, method, path, **headers)
            assert status == 403, (method, path, headers)
            assert b"516" in body
    assert ask(served, "GET", "/ping") == (200, b"Ok.\n")


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example:{port}"},
        {"Host": "evil.example"},
        {"Host": "127.0.0.1"},
        {"Host": "127.0.0.1:1"},
        {"Host": "localhost.evil.example:{port}"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:{port}"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
def test_a_page_is_not_answered_even_with_the_password(
    served: Store, headers: dict[str, str]
) -> None:
    sent = {k: v.format(port=served.port) for k, v in headers.items()}
    for method in ("GET", "POST", "HEAD"):
        status, body = ask(served, method, f"/?query=SELECT+42&password={served.password}", **sent)
        assert (status, b"42" in body) == (403, False)
        assert ask(served, method, "/ping", **sent)[0] == 403


def test_get_changes_nothing(served: Store) -> None:
    for statement in (
        "CREATE DATABASE by_get",
        "INSERT INTO d.t VALUES ('get', 1)",
        "DROP TABLE d.t",
        "SET readonly = 0",
        "SELECT 1 SETTINGS readonly = 0",
    ):
        for extra in ("", "&readonly=0", "&session_id=get"):
            path = f"/?query={quote(statement)}{extra}"
            status, _ = ask(served, "GET", path, X_ClickHouse_Key=served.password)
            assert status != 200, statement
    assert ask(served, "GET", "/?query=SELECT+7", X_ClickHouse_Key=served.password)[1] == b"7\n"
    assert served.post(b"SELECT count() FROM d.t WHERE a = 'get'")[2] == b"0\n"


# -- the secret ----------------------------------------------------------------------------------------


def test_the_password_is_private_and_on_no_command_line(served: Store, tmp_path: Path) -> None:
    file = served.data_dir.with_name("data.password")
    assert file.stat().st_mode & 0o777 == 0o600
    assert served.data_dir.stat().st_mode & 0o077 == 0
    command = Path(f"/proc/{served.process.pid}/cmdline")
    if command.exists():
        assert served.password.encode() not in command.read_bytes()
    seen = tmp_path / "seen"
    seen.write_text("word")
    seen.chmod(0o644)
    arguments = ["--data-dir", str(tmp_path / "data"), "--port", "0", "--password-file", str(seen)]
    refused = subprocess.run(
        [sys.executable, "-m", "embedded.store", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (refused.returncode, "others may read it" in refused.stderr) == (1, True)


def test_a_secret_is_made_once_by_many_at_once(tmp_path: Path) -> None:
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(secret_files.ensure(tmp_path / "a" / "word")))
        for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 12
    assert set(found) == {(tmp_path / "a" / "word").read_text()}


_TRIES = """
import json, socket, sys
from pathlib import Path
from embedded.store.confined import confine

own, other, port = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
held = confine([own])
def tried(work):
    try:
        work()
        return "done"
    except OSError as error:
        return type(error).__name__
print(json.dumps({
    "held": held,
    "own": tried(lambda: (own / "made").write_text("x")),
    "read": tried((other / "secret").read_text),
    "write": tried(lambda: (other / "made").write_text("x")),
    "list": tried(lambda: list(other.iterdir())),
    "link": tried(lambda: (own / "link").symlink_to(other / "secret") or (own / "link").read_text()),
    "move": tried(lambda: (other / "secret").rename(own / "moved")),
    "environment": tried(Path("/proc/1/environ").read_bytes),
    "connect": tried(lambda: socket.create_connection(("127.0.0.1", port), 5).close()),
}))
"""


def test_the_kernel_keeps_the_process_to_its_directories(tmp_path: Path, server: Server) -> None:
    own, other = tmp_path / "own", tmp_path / "other"
    own.mkdir()
    other.mkdir()
    (other / "secret").write_text(SECRET)
    done = subprocess.run(
        [sys.executable, "-c", _TRIES, str(own), str(other), str(server.port)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    if not found.pop("held"):
        pytest.skip("this system has no Landlock")
    assert found.pop("own") == "done"
    # A move from one directory into another shows as EXDEV.
    assert set(found.values()) <= {"PermissionError", "OSError"}, found


def test_ping_is_all_that_is_open(served: Store) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{served.port}/ping") as answer:
        assert answer.read() == b"Ok.\n"
