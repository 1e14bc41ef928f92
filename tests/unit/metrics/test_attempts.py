"""A record that kills its worker is found by itself, and stops its partition only."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

from services.metrics.attempts import Attempts
from tests.conftest import ROOT

WORKER = """
    import asyncio, os, signal, sys
    from pathlib import Path
    from services.metrics.attempts import Attempts
    from services.metrics.processor import Processor
    from services.metrics.pump import Pump
    from tests.unit.metrics.test_edges import columns, record, worker

    POISON, HOW = int(sys.argv[2]), sys.argv[3]

    class Kernel(Processor):
        '''Dies where a real one might: in the middle of sorting.'''
        def _book_one(self, state, item, *rest):
            if (state.part, item.record.offset) == (0, POISON):
                if HOW == "killed":
                    os.kill(os.getpid(), signal.SIGKILL)
                raise MemoryError("a kernel's")
            super()._book_one(state, item, *rest)

    class Written:
        held = []
        def write(self, round_, work):
            for part, share in round_.parts.items():
                print(part, share.last_offset, share.state.stopped.partition(":")[0], flush=True)

    class Event:
        def ack(self): return True

    async def main():
        made = worker()
        made.__class__ = Kernel
        attempts = Attempts(Path(sys.argv[1]))
        pump = Pump(made, Written(), attempts)
        log = []
        for part in (0, 1):
            await pump.place(part, 0, made.states[0].seen.filter, -1)
            if attempts.poison(part) is not None:
                made.states[part].poison = (attempts.poison(part), "twice")
            for n in range(8):
                one = record(n, columns(2, 100 * part + 10 * n))
                one.part = part
                log.append((one, Event()))
        running = asyncio.ensure_future(pump.run())
        await pump.accept(log)
        await pump.drain(30)
        running.cancel()

    asyncio.run(main())
"""


def run(folder: Path, poison: int, how: str) -> tuple[int, list[str]]:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(WORKER), str(folder), str(poison), how],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    return done.returncode, done.stdout.splitlines()


def test_a_record_that_kills_its_worker_twice_stops_its_partition_and_no_other(
    tmp_path: Path,
) -> None:
    codes, last = [], []
    for _ in range(5):
        code, last = run(tmp_path, 5, "killed")
        codes.append(code)
        if code == 0:
            break
    assert codes == [-9, -9, -9, 0]
    told = {line.split()[0]: line for line in last}
    assert told["1"].split()[1] == "7"
    assert told["0"].strip().endswith("offset 5")
    # What came before it is in the books.
    assert any(line.startswith("0 4") for line in last)


def test_a_death_by_chance_stops_nothing(tmp_path: Path) -> None:
    assert run(tmp_path, 5, "killed")[0] == -9
    code, told = run(tmp_path, -1, "killed")
    assert code == 0
    assert {line.split()[0]: line.split()[1] for line in told} == {"0": "7", "1": "7"}
    assert Attempts(tmp_path).share(0, 0) == 0


def test_an_exception_counts_like_a_kill(tmp_path: Path) -> None:
    assert [run(tmp_path, 2, "raised")[0] for _ in range(4)] == [1, 1, 1, 0]


def test_a_torn_note_is_no_note(tmp_path: Path) -> None:
    (tmp_path / "in-hand.json").write_text('{"0": [1,')
    (tmp_path / "deaths.json").write_text("[]")
    attempts = Attempts(tmp_path)
    assert attempts.poison(0) is None
