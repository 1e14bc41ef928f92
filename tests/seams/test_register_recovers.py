"""The gateway's register over a broker that hangs, and one that dies: back within seconds, and never empty meanwhile."""

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from contracts.work_items import codec
from services.gateway.register import Register
from tests.seams.ingest_place import Place
from yumai import topics
from yumai.broker import provision
from yumai.broker.security import Bootstrap
from yumai.http.refusals import Unavailable
from yumai.sealing import Sealer

BACK_SECONDS = 40.0


async def _until(so, seconds: float = BACK_SECONDS) -> float:
    begun = time.monotonic()
    while not await so():
        assert time.monotonic() - begun < seconds
        await asyncio.sleep(0.2)
    return time.monotonic() - begun


def _tree(pid: int) -> list[int]:
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += _tree(int(child))
    return found


def _signal(place: Place, what: signal.Signals) -> None:
    for pid in _tree(place.processes["broker"].pid)[1:]:
        os.kill(pid, what)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["stopped", "killed", "stopped at the start"])
async def test_it_goes_on_by_itself(tmp_path: Path, how: str) -> None:
    place = Place(tmp_path, "")
    place.start_broker()
    bootstrap: Bootstrap = place.bootstrap
    provision.ensure(bootstrap)
    register = Register(bootstrap, Sealer("", tmp_path))
    running = asyncio.ensure_future(register.run())

    async def add(name: str) -> None:
        event = codec.Event(name, f"e-{name}", 1, "b", "created", {"title": name})
        offset = await register.write(topics.WORK_ITEMS, name, codec.encode(event))
        await register.seen(topics.WORK_ITEMS, offset)

    async def can_add() -> bool:
        try:
            await add("after")
        except Unavailable:
            return False
        return True

    try:
        await _until(can_add)
        await add("before")
        if how == "killed":
            place.kill("broker")
            await asyncio.sleep(3)
            await asyncio.to_thread(place.start_broker)
        else:
            if how == "stopped at the start":
                running.cancel()
                await asyncio.wait([running])
                await register.close()
                register = Register(bootstrap, Sealer("", tmp_path))
                running = asyncio.ensure_future(register.run())
                await asyncio.sleep(0.05)
            _signal(place, signal.SIGSTOP)
            await asyncio.sleep(25)
            if how == "stopped at the start" and not register._reader.whole:
                with pytest.raises(Unavailable):
                    await register.ready()
            _signal(place, signal.SIGCONT)
        took = await _until(can_add)
        await register.ready()
        assert "before" in register.journal.items.items
        print(f"\n{how}: {took:.1f} s")
    finally:
        running.cancel()
        await asyncio.wait([running])
        await register.close()
        for name in list(place.processes):
            place.kill(name)
