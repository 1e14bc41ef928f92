"""Inbox, board and history in a real Chromium, by the keyboard alone; skipped where there is none."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.seams.alerts_place import TODAY, YEAR_FEN, Place, place
from tests.seams.test_page import CHROMIUM, Browser
from yumai.methods.guards import is_warming_up

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium"),
    pytest.mark.skipif(is_warming_up(TODAY), reason="nobody is judged before March"),
]
ID = f"{TODAY.year}-500101"


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    made = Browser(tmp_path / "chromium")
    yield made
    made.close()


def enter(browser: Browser, at: Place, role: str, query: str = "") -> None:
    browser.call("Page.navigate", url="about:blank")
    browser.call("Page.navigate", url=f"{at.url}/{query}#token={at.identity.issue_token(role)}")
    browser.until(
        "document.body.dataset.state === 'ready' && !document.querySelector('#desk').hidden"
    )


def press(browser: Browser, key: str) -> None:
    """A letter, as if typed."""
    for kind in ("keyDown", "keyUp"):
        browser.call(
            "Input.dispatchKeyEvent", type=kind, key=key, text=key if kind == "keyDown" else ""
        )


def test_alerts_are_read_and_answered_by_the_keyboard(
    browser: Browser, kafka: str, store: str, tmp_path: Path
) -> None:
    with place(kafka, store, tmp_path) as at, at.worker():
        at.set_target("500101", int(YEAR_FEN * 1.015))
        at.set_target("500102", int(YEAR_FEN * 1.1))
        at.until(lambda: at.kinds("500101") and at.kinds("500102"))
        enter(browser, at, "bureau")
        browser.until("document.querySelectorAll('#lanes [data-alert]').length === 2")
        assert browser.ask("document.querySelectorAll('#lanes .lane').length") == 5
        assert browser.ask("document.querySelectorAll('#lanes [tabindex=\"0\"]').length") == 1
        browser.ask("document.querySelector('#lanes [tabindex=\"0\"]').focus()")
        browser.press("ArrowDown")
        assert browser.ask("document.activeElement.dataset.alert") == ID
        browser.press("Enter")
        browser.until("!document.querySelector('#alert').hidden")
        assert browser.ask("document.querySelectorAll('#alert .history li').length") == 1
        press(browser, "a")
        browser.until("document.querySelectorAll('#alert .history li').length === 2")
        browser.until(
            f"document.querySelector('.lane:nth-child(2) [data-alert]')?.dataset.alert === '{ID}'"
        )
        browser.press("Escape")
        browser.until("document.querySelector('#alert').hidden")
        assert browser.ask("document.activeElement.dataset.alert") == ID

        # The link of a message opens the alert in the district's inbox.
        enter(browser, at, "district:500101", f"?alert={ID}")
        browser.until("!document.querySelector('#alert').hidden")
        assert browser.ask("document.querySelectorAll('#lanes .lane').length") == 1
        assert browser.ask("document.querySelectorAll('#lanes [data-alert]').length") == 1
        press(browser, "e")
        browser.until("document.activeElement?.name === 'text'")
        for letter in "works":
            press(browser, letter)
        browser.ask("document.querySelector('[name=measure]').value = 'a <b>season</b>'")
        browser.ask("document.querySelector('#alert form').requestSubmit()")
        browser.until("document.querySelectorAll('#alert .history li').length === 3")
        assert "works" in browser.text("#alert .history li")
        assert "a <b>season</b>" in browser.text("#alert")
        alert = at.get(f"/v1/alerts/{ID}")
        assert (alert["state"], alert["history"][-1]["by"]) == ("explained", "district:500101")
        browser.ask("document.querySelector('#language').click()")
        assert (
            browser.text("#desk-title") == "Inbox"
            if browser.ask("document.documentElement.lang") == "en-GB"
            else "收件箱"
        )
        shot = browser.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        (tmp_path / "desk.png.b64").write_text(str(shot))
        assert browser.errors == []
