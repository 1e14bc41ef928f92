"""What a large request has left over goes back, also what was still in use when it was looked for."""

import asyncio

import pytest

from services.ingest import memory

MIB = 1024 * 1024


def test_what_is_freed_after_a_trim_goes_back_too(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(memory, "_LOOK_SECONDS", 0.05)
    held = 400
    trims: list[int] = []
    freed = 0

    def trim() -> int:
        nonlocal held, freed
        held, freed = held - freed, 0
        trims.append(held)
        return held * MIB

    async def lives() -> None:
        nonlocal held, freed
        held = 100
        task = asyncio.create_task(memory.give_back())
        await asyncio.sleep(0.02)
        held = 400  # a body in work
        await asyncio.sleep(0.1)
        freed = 300  # resident until the next trim
        await asyncio.sleep(0.5)
        assert held == 100
        so_far = len(trims)
        await asyncio.sleep(0.5)
        assert len(trims) <= so_far + 1  # nobody trims what is at rest
        task.cancel()

    monkeypatch.setattr(memory, "resident", lambda: held * MIB)
    monkeypatch.setattr(memory, "_trim", trim)
    asyncio.run(lives())
