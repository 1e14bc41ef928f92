"""The page in a real Chromium, driven over its own protocol; skipped where there is none."""

import asyncio
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import aiohttp
import httpx
import pytest

from tests.conftest import free_port
from tests.seams.alerts_place import fresh_topics
from tests.seams.test_gateway import CELLS, World, book_progress, world
from yumai.districts import districts_of
from yumai.store.client import connect

SHANGHAI = ZoneInfo("Asia/Shanghai")
CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")


async def _opened(address: str) -> tuple[aiohttp.ClientSession, aiohttp.ClientWebSocketResponse]:
    session = aiohttp.ClientSession()
    return session, await session.ws_connect(address, max_msg_size=0)


class Browser:
    """One tab. `errors`: what the page threw or logged as an error."""

    def __init__(self, folder: Path) -> None:
        assert CHROMIUM is not None
        port = free_port()
        command = [CHROMIUM, *FLAGS, f"--user-data-dir={folder}", f"--remote-debugging-port={port}"]
        self.process = subprocess.Popen(
            [*command, "--accept-lang=zh-CN", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=5) as answer:
                    tabs = json.load(answer)
                break
            except OSError:
                assert time.monotonic() < deadline, "Chromium did not start"
                time.sleep(0.2)
        address = next(tab for tab in tabs if tab["type"] == "page")["webSocketDebuggerUrl"]
        self._loop = asyncio.new_event_loop()
        self._session, self._socket = self._loop.run_until_complete(_opened(address))
        self._number = 0
        self.errors: list[str] = []
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=1440,
            height=900,
            deviceScaleFactor=1,
            mobile=False,
        )
        self.call("Emulation.setFocusEmulationEnabled", enabled=True)

    def call(self, method: str, **parameters: object) -> dict:
        self._number += 1
        return self._loop.run_until_complete(
            self._call({"id": self._number, "method": method, "params": parameters})
        )

    async def _call(self, message: dict) -> dict:
        await self._socket.send_json(message)
        while True:
            got = await self._socket.receive_json(timeout=60)
            if got.get("method") == "Runtime.exceptionThrown":
                self.errors.append(json.dumps(got["params"])[:500])
            elif (
                got.get("method") == "Log.entryAdded" and got["params"]["entry"]["level"] == "error"
            ):
                self.errors.append(got["params"]["entry"]["text"])
            if got.get("id") == message["id"]:
                return got.get("result", {})

    def ask(self, expression: str) -> object:
        answer = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        return answer["result"].get("value")

    def until(self, expression: str, seconds: float = 20.0) -> object:
        deadline = time.monotonic() + seconds
        while not (value := self.ask(expression)):
            assert time.monotonic() < deadline, f"never so: {expression}; {self.errors}"
            time.sleep(0.1)
        return value

    def text(self, selector: str) -> str:
        return str(self.ask(f"document.querySelector({selector!r}).textContent"))

    def press(self, key: str) -> None:
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                text="\r" if key == "Enter" else "",
            )

    def close(self) -> None:
        self._loop.run_until_complete(self._session.close())
        self._loop.close()
        self.process.terminate()
        self.process.wait(20)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    made = Browser(tmp_path_factory.mktemp("chromium"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def gateway(kafka: str, store: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """This year and last, the same every day; 500101's target is far off, the others' are met."""
    fresh_topics(kafka)
    with world(kafka, store, tmp_path_factory.mktemp("page")) as made:
        now = datetime.now(SHANGHAI)
        start = datetime(now.year - 1, 1, 1, tzinfo=SHANGHAI)
        rows = []
        for n in range((now - start).days + 1):
            day = start + timedelta(days=n)
            codes = [
                "500101",
                "500102",
                *(c for c in ("500105", "500157") if c in districts_of(day.year)),
            ]
            rows += [
                [day, day.date(), int(code), "S04", "p1", 1, 0, 0, 1, 10, 10_000_000_000, 0, 0, 0]
                for code in codes
            ]
        client = connect(made.dsn)
        client.insert("cells", rows, CELLS)
        client.close()
        book_progress(made.dsn, [datetime.now(UTC)] * 2)
        year_fen = 365 * 10_000_000_000
        wanted = [
            {"year": now.year, "district": code, "sector": None, "form": "amount", "value": fen}
            for code, fen in (("500101", year_fen * 5 // 4), ("500102", year_fen * 9 // 10))
        ]
        answer = httpx.put(
            f"{made.url}/v1/targets",
            json=wanted,
            headers={"Authorization": f"Bearer {made.identity.issue_token('bureau')}"},
            timeout=60,
        )
        assert answer.status_code == 200, answer.text
        yield made


def enter(browser: Browser, made: World, role: str = "bureau") -> None:
    browser.call("Page.navigate", url="about:blank")
    browser.errors.clear()
    browser.call("Page.navigate", url=f"{made.url}/")
    browser.until("document.body.dataset.state && document.body.dataset.state !== 'starting'")
    browser.ask("sessionStorage.clear(); localStorage.clear()")
    browser.call("Page.navigate", url="about:blank")
    browser.call("Page.navigate", url=f"{made.url}/#token={made.identity.issue_token(role)}")
    browser.until("document.body.dataset.state === 'ready'")


def test_without_a_token_the_page_asks_for_one_and_a_wrong_one_is_refused(browser, gateway):
    browser.call("Page.navigate", url=f"{gateway.url}/")
    browser.until("document.body.dataset.state === 'signed-out'")
    assert browser.ask("document.querySelector('#board').hidden")
    assert browser.ask("document.activeElement.id") == "token"
    browser.ask(
        "document.querySelector('#token').value = 'x'; document.querySelector('#sign-in-form').requestSubmit()"
    )
    browser.until("!document.querySelector('#sign-in-error').hidden")
    assert "令牌" in browser.text("#sign-in-error")


def test_the_map_is_coloured_by_pace_and_read_by_the_keyboard(browser, gateway):
    enter(browser, gateway)
    assert browser.ask("location.hash") == ""
    assert browser.ask("document.querySelectorAll('.district[role=button]').length") == 37
    assert (
        browser.ask("document.querySelectorAll('.district[role=button][aria-label]').length") == 37
    )
    fill = "document.querySelector('.district[data-code=\"%s\"]').getAttribute('class')"
    assert "band-0" in str(browser.ask(fill % "500101"))
    assert "none" in str(browser.ask(fill % "500243"))
    assert browser.ask("document.querySelectorAll('.district[tabindex=\"0\"]').length") == 1
    browser.ask("document.querySelector('.district[data-code=\"500101\"]').focus()")
    browser.until("!document.querySelector('#tip').hidden")
    assert "万州区" in browser.text("#tip")
    browser.press("Enter")
    browser.until("!document.querySelector('#district-card').hidden")
    assert browser.text("#district-title") == "万州区"
    browser.press("ArrowDown")
    assert browser.ask("document.activeElement.dataset.code") not in (None, "500101")
    browser.press("Escape")
    assert browser.ask("document.querySelector('#district-card').hidden")
    assert browser.errors == []


def test_who_lags_and_on_what_basis_stands_there_in_both_languages(browser, gateway):
    enter(browser, gateway)
    assert browser.text("html").count("估算") >= 1
    assert "万州区" in browser.text("#lagging")
    assert browser.ask("document.querySelectorAll('#lagging li').length") == 1
    assert browser.ask("document.querySelectorAll('#sectors li').length") == 13
    browser.ask("document.querySelector('#language').click()")
    assert "Wanzhou" in browser.text("#lagging")
    assert "estimate from platforms" in browser.text("#foot-basis")
    assert browser.ask("document.documentElement.lang") == "en-GB"
    untranslated = browser.ask(
        "[...document.querySelectorAll('[data-text]')].filter(e => e.textContent === e.dataset.text).map(e => e.dataset.text)"
    )
    assert untranslated == []


def test_a_district_whose_data_are_in_doubt_says_so_and_does_not_lag(browser, gateway):
    """Shown as told by the gateway; that it is told so is tested where it is judged."""
    enter(browser, gateway)
    doubt = """(async () => {
      const real = window.fetch;
      window.fetch = async (url, options) => {
        const answer = await real(url, options);
        if (!String(url).includes("/v1/overview")) return answer;
        const body = await answer.json();
        for (const one of body.data.districts)
          if (one.code === "500102")
            Object.assign(one, {guards: ["stale"], feeds: [{platform_id: "p1", state: "late"}]});
        return new Response(JSON.stringify(body), {status: 200});
      };
      dispatchEvent(new Event("online"));
    })()"""
    browser.ask(doubt)
    shape = "document.querySelector('.district[data-code=\"500102\"]')"
    browser.until(f"{shape}.getAttribute('class').includes('data')")
    assert "平台 p1 迟报" in str(browser.ask(f"{shape}.getAttribute('aria-label')"))
    assert "数据" in browser.text(".map .word")
    assert browser.ask("document.querySelectorAll('#lagging li').length") == 1
    browser.ask("document.querySelector('#language').click()")
    assert "p1 is late" in str(browser.ask(f"{shape}.getAttribute('aria-label')"))
    assert browser.text(".map .word") == "DATA"
    assert browser.errors == []


def test_what_is_booked_moves_the_counter_by_itself(browser, gateway):
    enter(browser, gateway)
    browser.until("document.querySelector('#link').className.includes('live')")
    before = browser.text("#counter-value")
    now = datetime.now(SHANGHAI).replace(minute=0, second=0, microsecond=0)
    client = connect(gateway.dsn)
    client.insert(
        "cells",
        [[now, now.date(), 500102, "S01", "p1", 1, 1, 0, 9, 3, 777_000_000_000, 0, 0, 0]],
        CELLS,
    )
    client.close()
    gateway.commit(int(time.time()), [("500102", "S01", 777_000_000_000, 3)], part=1)
    browser.until(f"document.querySelector('#counter-value').textContent !== {before!r}", 10)
    assert browser.errors == []


def test_a_platform_sees_no_pace_and_a_district_no_other(browser, gateway):
    enter(browser, gateway, "platform:p1")
    assert browser.ask("document.querySelectorAll('#lagging li').length") == 0
    assert "volume-" in str(
        browser.ask(
            "document.querySelector('.district[data-code=\"500101\"]').getAttribute('class')"
        )
    )
    enter(browser, gateway, "district:500102")
    assert "hidden" in str(
        browser.ask(
            "document.querySelector('.district[data-code=\"500101\"]').getAttribute('class')"
        )
    )
    assert "万州" not in browser.text("#lagging")


def test_a_districts_totals_that_leave_something_out_say_so(browser, gateway):
    shown = """[...document.querySelectorAll('#fact-year, #fact-share, #counter')].map(
        (e) => e.innerText.trim().endsWith('*')).concat(
        !document.querySelector('#totals-suppressed').hidden)"""
    enter(browser, gateway, "district:500102")
    assert browser.ask(shown) == [False] * 4
    today = datetime.now(SHANGHAI).replace(hour=0, minute=0, second=0, microsecond=0)
    client = connect(gateway.dsn)
    cell = [today, today.date(), 500110, "S04", "p1", 1, 0, 0, 1, 5, 77_00, 0, 0, 0]
    few = [today, today.date(), 500110, "S01", "p1", 1, 0, 0, 1, 2, 333_00, 0, 0, 0]
    client.insert("cells", [cell, few], CELLS)
    client.close()
    enter(browser, gateway, "district:500110")
    assert browser.ask(shown) == [True] * 4
    assert "三笔" in browser.text("#totals-suppressed")
    assert browser.text("#fact-year").startswith("77.00 元")
    browser.ask(
        "document.querySelector('.district[data-code=\"500110\"]').dispatchEvent(new Event('click', {bubbles: true}))"
    )
    assert "77.00 元 *" in browser.text("#district-facts")
    enter(browser, gateway)
    assert browser.ask(shown) == [False] * 4
    assert browser.errors == []


@pytest.mark.parametrize("width", [360, 768, 1920])
def test_nothing_is_wider_than_the_screen(browser, gateway, width):
    enter(browser, gateway)
    browser.call(
        "Emulation.setDeviceMetricsOverride",
        width=width,
        height=900,
        deviceScaleFactor=1,
        mobile=False,
    )
    time.sleep(0.3)
    assert browser.ask("document.documentElement.scrollWidth") <= width
    browser.call(
        "Emulation.setDeviceMetricsOverride",
        width=1440,
        height=900,
        deviceScaleFactor=1,
        mobile=False,
    )
