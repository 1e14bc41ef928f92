"""What a large request has left over goes back, also what was still in use when it was looked for."""

import asyncio

import pytest

from services.ingest import memory

MIB = 1024 * 1024


@pytest.mark.parametrize("also", [0, 1])
def test_what_is_freed_after_a_trim_goes_back_too(monkeypatch: pytest.MonkeyPatch, also: int):
    """Also where a small request of somebody else ends at every look."""
    monkeypatch.setattr(memory, "_LOOK_SECONDS", 0.02)
    monkeypatch.setattr(memory, "_LOOKS_BUSY", 5)
    held, freed, ended = 100, 0, 0
    trims: list[int] = []

    def trim() -> int:
        nonlocal held, freed
        held, freed = held - freed, 0
        trims.append(held)
        return held * MIB

    async def until(done) -> None:
        nonlocal ended
        async with asyncio.timeout(10):
            while not done():
                ended += also
                await asyncio.sleep(0.005)

    async def lives() -> None:
        nonlocal held, freed, ended
        task = asyncio.create_task(memory.give_back(lambda: ended))
        await asyncio.sleep(0.01)
        held = 400  # a body in work
        await until(lambda: trims)
        freed, ended = 300, ended + 1  # resident until the next trim
        await until(lambda: held == 100)
        await asyncio.sleep(0.1)
        so_far = len(trims)
        await asyncio.sleep(0.2)
        assert len(trims) <= so_far + 1  # nobody trims what is at rest
        task.cancel()

    monkeypatch.setattr(memory, "resident", lambda: held * MIB)
    monkeypatch.setattr(memory, "_trim", trim)
    asyncio.run(lives())
