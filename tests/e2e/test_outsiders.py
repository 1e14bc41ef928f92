"""A page on another origin, and another user of this machine, at every port, socket and file of a running Yumai:
they read nothing and change nothing."""

from __future__ import annotations

import http.client
import json
import os
import pwd
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest
from kafka import KafkaConsumer
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError

from console.running import kafka_users
from tests.e2e.conftest import port_base
from tests.e2e.harness import Yumai, running, until
from tests.seams import test_page
from yumai.store.client import connect

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]

PLATFORM = "seen-by-nobody"
OPEN = {"/", "/ping", "/replicas_status", "/health/live", "/health/ready", "/docs", "/openapi.json"}
"""What answers without a name: the page and the doors' contract (which hold nothing), and whether a process works."""
PATHS = (
    *("/", "/metrics", "/health/live", "/health/ready", "/last", "/ping", "/query"),
    *(
        "/?query=SELECT+currentDatabase()",
        "/v1/cells",
        "/v1/receipts",
        "/v1/merchants",
        "/v1/stream",
    ),
    *("/stats", "/stats/", "/table/", "/router/", "/graph", "/live/", "/docs", "/openapi.json"),
)


@pytest.fixture(scope="module")
def system() -> Iterator[Yumai]:
    # pytest's own directories are closed to others already: that would prove nothing.
    folder = Path(tempfile.mkdtemp(prefix="yumai-outsiders-"))
    folder.chmod(0o755)
    try:
        with running(folder / "state", port_base(), canary=True) as made:
            row = {
                "entry_id": "e", "platform_id": PLATFORM, "merchant_id": "m", "kind": "sale",
                "occurred_at": int(time.time() * 1000), "amount_fen": 1, "district_code": "500103",
            }  # fmt: skip
            answer = made.http.post(
                f"{made.ingest}/v1/entries",
                content=json.dumps(row),
                headers={"Authorization": f"Bearer {made.key(PLATFORM)}"}
                | {"Content-Type": "application/x-ndjson"},
            )
            assert answer.status_code == 200, answer.text
            made.settle()
            yield made
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def ports(system: Yumai) -> list[int]:
    """Every TCP port on which `up` or a process below it listens."""
    assert system.up is not None
    up = psutil.Process(system.up.pid)

    def listening() -> set[int]:
        return {
            connection.laddr.port
            for process in (up, *up.children(recursive=True))
            for connection in process.net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN
        }

    # The canary is started when everything else is ready.
    needed = {system.base + n for n in (0, 1, 2, 3, 4, 5, 6, 11, 41)}
    until(lambda: needed <= listening(), 60, lambda: f"{needed - listening()} listened on")
    return sorted(listening())


def holdings(system: Yumai) -> dict[str, Any]:
    """What may not change: identities, Kafka's topics, users and ends, the store's databases and tables."""
    state = system.state
    found: dict[str, Any] = {p.name: p.read_bytes() for p in state.identity.iterdir()}
    consumer = KafkaConsumer(**system.kafka())
    found["topics"] = sorted(consumer.topics())
    consumer.close()
    quiet = ("targets.v1", "actions.v1", "subscriptions.v1", "work-items.v1", f"feed.{PLATFORM}.v1")
    found["ends"] = {topic: system.log_ends(topic) for topic in quiet}
    with kafka_users.administrator(state, f"127.0.0.1:{system.base + 5}") as admin:
        found["acls"] = sorted(kafka_users.allowed(admin))
    client = connect(system.dsn)
    found["tables"] = client.query(
        "SELECT database, name FROM system.tables WHERE database NOT IN"
        " ('system', 'information_schema', 'INFORMATION_SCHEMA') ORDER BY ALL"
    ).result_rows
    found["entries"] = client.query(
        "SELECT count() FROM entries WHERE platform = {p:String}", {"p": PLATFORM}
    ).result_rows
    client.close()
    found["processes"] = sorted(system.children())
    return found


# -- a page ------------------------------------------------------------------------------------------

_PAGE = "<!doctype html><title>elsewhere</title><body></body>"
_TRY = """
(async () => {
  const found = [];
  const bounded = (work) => Promise.race([work, new Promise((done) => setTimeout(done, 3000))]);
  const body = 'CREATE DATABASE by_a_page';
  const forms = {'text/plain': body, 'application/x-www-form-urlencoded': 'query=' + body};
  for (const port of PORTS) for (const host of ['127.0.0.1', 'localhost']) {
    const at = `http://${host}:${port}`;
    const tries = [];
    for (const path of PATHS) for (const mode of ['no-cors', 'cors'])
      tries.push(fetch(at + path, {mode, credentials: 'include'}).then(async (answer) => {
        const text = await answer.text();
        if (answer.type !== 'opaque' || text) found.push([at + path, mode, text.slice(0, 80)]);
      }, () => {}));
    for (const [type, text] of Object.entries(forms)) for (const path of ['/', '/?query=' + body, '/v1/targets'])
      tries.push(fetch(at + path, {mode: 'no-cors', method: 'POST', body: text, headers: {'Content-Type': type}})
        .catch(() => {}));
    for (const method of ['PUT', 'PATCH', 'DELETE'])
      tries.push(fetch(at + '/v1/targets', {method, body: '[]', headers: {'X-Own': '1'}})
        .then(() => found.push([at, method])).catch(() => {}));
    tries.push(new Promise((done) => {
      const image = new Image();
      image.onload = () => { found.push([at, 'img']); done(); };
      image.onerror = done;
      image.src = `${at}/?query=${encodeURIComponent(body)}`;
    }));
    tries.push(new Promise((done) => {
      const script = document.createElement('script');
      script.onload = script.onerror = done;
      script.src = `${at}/?query=${encodeURIComponent(body)}`;
      document.body.append(script);
    }));
    tries.push(new Promise((done) => {
      const frame = document.createElement('iframe');
      frame.name = `f${host}${port}`;
      document.body.append(frame);
      const form = document.createElement('form');
      form.method = 'POST'; form.enctype = 'text/plain'; form.target = frame.name;
      form.action = `${at}/?query=${encodeURIComponent(body)}`;
      document.body.append(form);
      frame.onload = () => {
        try { if (frame.contentDocument.body.textContent) found.push([at, 'form']); } catch (e) {}
        done();
      };
      form.submit();
    }));
    tries.push(new Promise((done) => {
      const socket = new WebSocket(`ws://${host}:${port}/v1/stream`);
      socket.onopen = () => { found.push([at, 'WebSocket']); done(); };
      socket.onerror = done;
    }));
    tries.push(new Promise((done) => {
      const source = new EventSource(`${at}/v1/stream`);
      source.onopen = source.onmessage = () => { found.push([at, 'EventSource']); done(); };
      source.onerror = () => { source.close(); done(); };
    }));
    await bounded(Promise.all(tries));
  }
  return JSON.stringify(found);
})()
"""


class _Elsewhere(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(_PAGE.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[test_page.Browser]:
    """One for which `rebound.test` is this machine, as it is after DNS rebinding."""
    if test_page.CHROMIUM is None:
        pytest.skip("no Chromium: apt-get install chromium")
    with pytest.MonkeyPatch.context() as patch:
        rules = "--host-resolver-rules=MAP rebound.test 127.0.0.1"
        # Without its own guard of private networks: ours has to do.
        guard = "--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests"
        patch.setattr(test_page, "FLAGS", [*test_page.FLAGS, rules, guard])
        made = test_page.Browser(tmp_path)
    yield made
    made.close()


def test_a_page_of_another_origin_reads_and_changes_nothing(
    system: Yumai, browser: test_page.Browser
) -> None:
    before = holdings(system)
    elsewhere = ThreadingHTTPServer(("127.0.0.1", 0), _Elsewhere)
    threading.Thread(target=elsewhere.serve_forever, daemon=True).start()
    try:
        browser.call("Page.navigate", url=f"http://127.0.0.1:{elsewhere.server_port}/")
        browser.until("document.title === 'elsewhere'")
        wanted = ports(system)
        assert browser.ask("fetch(location.href).then((a) => a.text())") == _PAGE  # it can fetch
        for port in wanted:
            script = _TRY.replace("PORTS", json.dumps([port])).replace("PATHS", json.dumps(PATHS))
            assert json.loads(str(browser.ask(script))) == [], port
    finally:
        elsewhere.shutdown()
        elsewhere.server_close()
    assert holdings(system) == before


def test_a_page_whose_name_becomes_this_machine_reads_nothing(
    system: Yumai, browser: test_page.Browser
) -> None:
    before = holdings(system)
    asked = ["/metrics", "/last", "/?query=SELECT+currentDatabase()", "/v1/cells", "/stats/"]
    for port in ports(system):
        browser.call("Page.navigate", url=f"http://rebound.test:{port}/health/live")
        time.sleep(0.3)
        for path in asked:
            answer = browser.ask(
                f"fetch({path!r}).then(async (a) => [a.status, await a.text()], () => [0, ''])"
            )
            status, text = answer if isinstance(answer, list) else (0, "")
            is_page = port == system.base and path.startswith("/?")
            assert is_page or status in (0, 401, 403, 404), (port, path, status, text)
            assert "# HELP" not in text, (port, path)
    assert holdings(system) == before


# -- another user --------------------------------------------------------------------------------------


def as_nobody(work: Callable[[], Any]) -> Any:
    """What `work` gives in a process of the user `nobody`."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    nobody = pwd.getpwnam("nobody")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setgroups([])
            os.setgid(nobody.pw_gid)
            os.setuid(nobody.pw_uid)
            os.write(writing, json.dumps(work()).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        text = answer.read()
    _, status = os.waitpid(child, 0)
    assert status == 0, f"the process of nobody ended with {status}"
    return json.loads(text)


def tried(work: Callable[[], Any]) -> str:
    """Why it could not be done; empty where it could."""
    try:
        work()
    except OSError as error:
        return type(error).__name__
    return ""


def test_another_user_opens_no_file_and_no_socket(system: Yumai) -> None:
    state = system.state.directory.resolve()
    everything = [state, *sorted(state.rglob("*"))]
    control = state / "run" / "control.sock"
    assert control in everything

    def work() -> list[str]:
        os.listdir(state.parent)  # so far it gets
        done = []
        for path in everything:
            if not tried(lambda path=path: os.listdir(path)):  # type: ignore[misc]
                done.append(f"lists {path}")
            for mode in ("rb", "ab"):
                if not tried(lambda path=path, mode=mode: path.open(mode).close()):  # type: ignore[misc]
                    done.append(f"opens {path} {mode}")
        if not tried(lambda: (state / "made").touch()):
            done.append("makes a file")
        with socket.socket(socket.AF_UNIX) as connection:
            if not tried(lambda: connection.connect(str(control))):
                done.append("connects to the control socket")
        return done

    assert as_nobody(work) == []
    assert "others could read it" in system.log("up")
    for path in everything:
        if path.is_file() and not path.is_symlink() and path.exists() and path.name != "up.log":
            assert path.stat().st_mode & 0o077 == 0, path


def test_another_user_finds_no_secret_in_a_process(system: Yumai) -> None:
    state = system.state
    words = [p.read_text().strip() for p in state.secrets.rglob("*") if p.is_file()]
    words += [(state.identity / "signing.key").read_text().strip()]
    secrets = [line for word in words for line in word.splitlines() if len(line) >= 32]
    secrets = [line for line in secrets if "=" not in line.rstrip("=")]  # not the paths of a file
    assert len(secrets) > 6
    pids = [*system.children().values(), system.up.pid if system.up else 0]

    def work() -> list[str]:
        done = []
        for pid in pids:
            command = Path(f"/proc/{pid}/cmdline").read_text()
            done += [f"{pid}: a secret in its command" for s in secrets if s in command]
            if not tried(lambda pid=pid: Path(f"/proc/{pid}/environ").read_bytes()):  # type: ignore[misc]
                done.append(f"{pid}: its environment")
            if not tried(lambda pid=pid: os.kill(pid, 0)):  # type: ignore[misc]
                done.append(f"{pid}: may be signalled")
        return done

    assert as_nobody(work) == []
    written = json.loads((state.run / "up.json").read_text())
    logs = "".join(p.read_text(errors="replace") for p in state.logs.iterdir())
    assert not [s for s in secrets if s in json.dumps(written) or s in logs]
    assert not [s for s in secrets if s in (state.kafka / "server.properties").read_text()]


def _asked(port: int, method: str, path: str, body: bytes | None = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=3)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read(2_000_000).decode(errors="replace")
    except (OSError, http.client.HTTPException):
        return 0, ""
    finally:
        connection.close()


def test_another_user_reads_and_changes_nothing_at_any_port(system: Yumai) -> None:
    before = holdings(system)
    wanted = ports(system)
    kafka = {
        "plaintext": {"bootstrap_servers": system.bootstrap},
        "plaintext inside": {"bootstrap_servers": f"127.0.0.1:{system.base + 5}"},
        "an invented user": {
            "bootstrap_servers": system.bootstrap,
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_plain_username": "yumai-operator",
            "sasl_plain_password": "guessed",
        },
    }

    def work() -> list[str]:
        done = []
        for port in wanted:
            for path in PATHS:
                status, text = _asked(port, "GET", path)
                if 200 <= status < 400 and path.partition("?")[0] not in OPEN:
                    done.append(f"{port}{path}: {status} {text[:80]}")
                if "# HELP" in text or PLATFORM in text or text == "default\n":
                    done.append(f"{port}{path}: {text[:80]}")
            for method in ("POST", "PUT", "PATCH", "DELETE"):
                for path in (
                    "/",
                    "/?query=CREATE+DATABASE+by_nobody",
                    "/v1/targets",
                    "/v1/entries",
                ):
                    status, text = _asked(port, method, path, b"CREATE DATABASE by_nobody")
                    if 200 <= status < 400:
                        done.append(f"{method} {port}{path}: {status}")
        for name, options in kafka.items():
            try:
                KafkaAdminClient(**options, bootstrap_timeout_ms=2_500).close()
                done.append(f"Kafka, {name}")
            except (KafkaError, OSError):
                pass
        return done

    assert as_nobody(work) == []
    assert holdings(system) == before
