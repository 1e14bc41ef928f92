"""Small bodies that become much: each is answered with a reason, within 512 MB, which come back."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from tests.bombs import BOMBS
from tests.mutations import TYPES
from tests.seams.ingest_place import Place, entry, ndjson, place_of

MIB = 1024 * 1024
MOST_BYTES = 512_000_000
LEFT_BYTES = 150 * MIB
"""Over what an idle one has, some seconds after a body."""
SECONDS = 60.0
"""An idle machine takes up to 10; this is for a busy one."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, store: str) -> Iterator[Place]:
    with place_of(tmp_path_factory.mktemp("bombs"), f"{store}/ingest_bombs") as place:
        yield place


def resident(place: Place) -> int:
    """Of ingest and what it has started."""
    total = 0
    leash = psutil.Process(place.processes["ingest"].pid)
    for process in [leash, *leash.children(recursive=True)]:
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


@contextmanager
def watched(place: Place) -> Iterator[list[int]]:
    """The most that was resident meanwhile, also where that took no time."""
    most, ending = [resident(place)], threading.Event()

    def look() -> None:
        while not ending.wait(0.01):
            most[0] = max(most[0], resident(place))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield most
    finally:
        most[0] = max(most[0], resident(place))
        ending.set()
        watcher.join()


def settled(place: Place, most: int) -> int:
    """What is resident when it is no more than `most`."""
    deadline = time.monotonic() + SECONDS
    while (now := resident(place)) > most:
        assert time.monotonic() < deadline, (now // MIB, most // MIB)
        time.sleep(0.25)
    return now


def test_no_body_takes_more_than_its_memory_and_all_of_it_comes_back(place: Place, unique: str):
    place.http.timeout = 120
    assert place.post(ndjson(entry(unique))).status_code == 200
    idle = resident(place)
    told = {}
    for name, (form, encoding, make) in BOMBS.items():
        body = make()
        begun = time.monotonic()
        with watched(place) as most:
            headers = {"Content_Encoding": encoding} if encoding else {}
            answer = place.post(body, TYPES[form], **headers)
        took, grew = time.monotonic() - begun, most[0] - idle
        left = settled(place, idle + LEFT_BYTES) - idle
        told[name] = (answer.status_code, grew // MIB, left // MIB, round(took, 1))
        assert answer.status_code in (200, 400, 413), (name, answer.text)
        assert answer.status_code == 200 or answer.json()["errors"][0]["message"], name
        assert took < SECONDS, told[name]
        assert grew < MOST_BYTES, told[name]
        print(f"{name}: status, MiB more, MiB left, seconds: {told[name]}")
    assert place.post(ndjson(entry(f"{unique}-2"))).json()["accepted"] == 1
