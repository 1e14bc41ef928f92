"""`/docs` in a browser: Swagger UI shows every route under the page's own strict policy, from nowhere but here."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn

from services.gateway import app as gateway
from services.ingest import app as ingest
from tests.conftest import free_port
from tests.seams.test_page import CHROMIUM, Browser
from yumai.process.settings import Settings

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    made = Browser(tmp_path_factory.mktemp("chromium"))
    yield made
    made.close()


@pytest.mark.parametrize("build", [gateway.build, ingest.build], ids=["gateway", "ingest"])
def test_it_shows_every_route_and_asks_nobody_else(browser: Browser, build, tmp_path: Path) -> None:
    app, port = build(Settings(identity_dir=tmp_path)), free_port()
    # Without its lifespan: neither broker nor store is needed to read.
    config = uvicorn.Config(app, port=port, lifespan="off", log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    try:
        browser.errors.clear()
        browser.call("Page.navigate", url=f"http://127.0.0.1:{port}/docs")
        many = sum(len(of) for of in app.state.document["paths"].values())
        browser.until(f"document.querySelectorAll('.opblock').length === {many}")
        browser.ask("document.querySelector('.opblock-summary-control').click()")
        browser.until("document.querySelectorAll('.opblock.is-open .responses-table').length")
        time.sleep(0.5)
        asked = browser.ask("performance.getEntriesByType('resource').map((r) => r.name)")
        assert isinstance(asked, list)
        assert all(url.startswith((f"http://127.0.0.1:{port}/", "data:")) for url in asked), asked
        assert browser.errors == []
    finally:
        server.should_exit = True
        thread.join(10)
