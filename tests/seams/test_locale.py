"""A state directory whose name is Chinese, in a locale that knows ASCII only, with a proxy set for the outside."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.running import probes
from embedded import broker, secret_files
from tests.conftest import free_port, running
from yumai import topics
from yumai.broker import provision
from yumai.store.client import connect

PROXY = "http://127.0.0.1:9"


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("PYTHONUTF8", "PYTHONIOENCODING", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("LC_ALL", "LANG"):
        monkeypatch.setenv(name, "C")
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, PROXY)
        monkeypatch.setenv(name.lower(), PROXY)
    yield
    # `bypass` said in the environment whom no proxy is for.
    for name in ("NO_PROXY", "no_proxy"):
        os.environ.pop(name, None)


@pytest.mark.parametrize("coerced", ["", "0"])
def test_the_broker_keeps_its_log_there(
    tmp_path: Path, bare: None, monkeypatch: pytest.MonkeyPatch, coerced: str
) -> None:
    if coerced:
        monkeypatch.setenv("PYTHONCOERCECLOCALE", coerced)
    data, port = tmp_path / "状态" / "kafka", free_port()
    arguments = ["embedded.broker", "--data-dir", str(data), "--port", str(port)]
    arguments += ["--controller-port", str(free_port()), "--plaintext"]
    address = f"127.0.0.1:{port}"
    with running(arguments, tmp_path / "log", lambda: probes.broker(address).healthy, 120):
        provision.ensure(address, (topics.TARGETS,))
    assert (data / "log" / "meta.properties").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "状态"]


def test_a_log_that_lay_elsewhere_comes_home(tmp_path: Path) -> None:
    home = tmp_path / "状态" / "kafka" / "log"
    elsewhere = Path(str(home).encode().decode("latin-1"))
    elsewhere.mkdir(parents=True)
    (elsewhere / "meta.properties").write_text("x")
    home.parent.mkdir(parents=True)
    broker.prepare(home.parent, 1, 2)
    assert (home / "meta.properties").read_text() == "x"


def test_the_store_keeps_its_data_there(tmp_path: Path, bare: None) -> None:
    data, port = tmp_path / "状态" / "store", free_port()
    ping = f"http://127.0.0.1:{port}/ping"
    arguments = ["embedded.store", "--data-dir", str(data), "--port", str(port)]
    with running(arguments, tmp_path / "log", lambda: probes.get(ping).healthy, 120):
        password = secret_files.read(data.with_name("store.password"))
        client = connect(f"http://default:{password}@127.0.0.1:{port}/default")
        assert client.query("SELECT 1").result_rows == [(1,)]
        client.close()
    assert any(data.iterdir())
