"""README's first block, as a newcomer types it: `make run`, with nothing in the environment."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from tests.conftest import ROOT
from tests.e2e.conftest import port_base

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

POURED = 4_900_000

BLOCK = re.search(r"^```\n(.*?)^```", (ROOT / "README.md").read_text("utf-8"), re.M | re.S)


def test_make_run_does_the_main_job_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    assert BLOCK is not None
    command = next(line for line in BLOCK[1].splitlines() if line.startswith("make run"))
    home, state, base = tmp_path / "home", tmp_path / "state", port_base()
    home.mkdir()
    words = [*command.partition("#")[0].split(), f"STATE={state}", f"PORT_BASE={base}"]
    out = tmp_path / "out"
    with out.open("wb") as said:
        run = subprocess.Popen(
            words,
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "HOME": str(home)},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 400
        while not (links := re.findall(r"(http://\S+)#token=(\S+)", out.read_text("utf-8"))):
            assert run.poll() is None, out.read_text("utf-8")
            assert time.monotonic() < deadline, out.read_text("utf-8")
            time.sleep(0.5)
        url, token = links[0]
        with httpx.Client(base_url=url, trust_env=False, timeout=30) as http:
            assert "渝脉" in http.get("/").text
            shown = http.get("/v1/overview", headers={"Authorization": f"Bearer {token}"})
            assert shown.status_code == 200, shown.text
            assert len(shown.json()["data"]["districts"]) >= 37
            # All of history is booked, and the live stream goes on.
            while (before := entries(http, token)) < POURED:
                assert time.monotonic() < deadline, f"{before:,} of {POURED:,} booked"
                time.sleep(0.5)
            while entries(http, token) <= before:
                assert time.monotonic() < deadline, "the live stream moves nothing"
                time.sleep(0.5)
        os.killpg(run.pid, signal.SIGINT)
        run.wait(60)  # make itself dies of the signal; what it ran ends in order
        assert re.search(r"^ +[\d.]+ s +stopped$", out.read_text("utf-8"), re.M)
    finally:
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)


def entries(http: httpx.Client, token: str) -> int:
    cells = http.get(
        "/v1/cells",
        params={"from": "2020-01-01", "to": "2100-12-31", "grain": "year"},
        headers={"Authorization": f"Bearer {token}"},
    )
    return sum(row["entries"] for row in cells.json()["data"])
