"""What waits to be judged: everything is taken once, in its sender's order, and no sender starves."""

from hypothesis import given
from hypothesis import strategies as st

from services.ingest.queue import CHUNK_BYTES, CHUNK_ROWS, SHARE_BYTES, SHARE_ROWS, Queue

REQUESTS = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.sampled_from(["csv", "json"]),
        st.integers(0, 2 * CHUNK_ROWS) | st.integers(0, 2_000),
        st.integers(0, CHUNK_BYTES) | st.integers(0, 200_000),
    ),
    max_size=60,
)


def drained(queue):
    while (chunk := queue.chunk()) is not None:
        yield chunk


@given(REQUESTS)
def test_everything_is_taken_once_and_in_its_senders_order(requests):
    queue = Queue()
    for number, (sender, kind, rows, size) in enumerate(requests):
        queue.add(sender, kind, (number, sender, kind), rows, size)
    taken = [item for chunk in drained(queue) for item in chunk.items]
    assert sorted(number for number, _, _ in taken) == list(range(len(requests)))
    for sender in "abc":
        for kind in ("csv", "json"):
            own = [n for n, s, k in taken if (s, k) == (sender, kind)]
            assert own == sorted(own)
    assert (len(queue), queue.rows) == (0, 0)


@given(REQUESTS)
def test_a_chunk_has_one_kind_and_a_bounded_cost_unless_it_is_one_request(requests):
    queue = Queue()
    for number, request in enumerate(requests):
        queue.add(*request[:2], (number, *request), *request[2:])
    for chunk in drained(queue):
        assert len({kind for _, _, kind, _, _ in chunk.items}) == 1
        if len(chunk.items) > 1:
            assert sum(rows for *_, rows, _ in chunk.items) <= CHUNK_ROWS
            assert sum(size for *_, size in chunk.items) <= CHUNK_BYTES


@given(REQUESTS)
def test_among_several_senders_each_adds_at_most_a_share(requests):
    queue = Queue()
    for request in requests:
        queue.add(*request[:2], request, *request[2:])
    for chunk in drained(queue):
        senders = {sender for sender, *_ in chunk.items}
        if len(senders) > 1:
            for sender in senders:
                assert sum(rows for s, _, rows, _ in chunk.items if s == sender) <= SHARE_ROWS
                assert sum(size for s, _, _, size in chunk.items if s == sender) <= SHARE_BYTES


@given(st.integers(1, 1_000), st.integers(1, 100_000))
def test_a_body_waits_for_one_chunk_of_another_sender_at_most(many, rows):
    queue = Queue()
    for number in range(many):
        queue.add("worst", "csv", ("worst", number), rows, 64 * 1024)
    queue.chunk()
    queue.add("other", "csv", ("other", 0), 1_000, 190_000)
    taken = []
    for _ in range(2):
        taken += (queue.chunk() or chunkless()).items
    assert ("other", 0) in taken


def chunkless():
    from services.ingest.queue import Chunk

    return Chunk("", [])


def test_small_requests_of_one_kind_share_a_chunk_whoever_sent_them():
    queue = Queue()
    for sender in "abc":
        for number in range(10):
            queue.add(sender, "json", (sender, number), 100, 20_000)
    chunk = queue.chunk()
    assert len(chunk.items) == 30
    assert queue.chunk() is None


def test_a_busy_sender_is_passed_over_and_the_others_are_not():
    queue = Queue()
    queue.add("worst", "json", 1, 10, 10)
    assert queue.chunk(busy=["worst"]) is None
    queue.add("other", "csv", 2, 10, 10)
    assert queue.chunk(busy=["worst"]).items == [2]
    assert queue.chunk().items == [1]
