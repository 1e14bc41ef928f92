from kafka import TopicPartition

from yumai.broker.lag import Standing

A0, A1, B = (
    TopicPartition("feed.a.v1", 0),
    TopicPartition("feed.a.v1", 1),
    TopicPartition("feed.b.v1", 0),
)


def test_a_feed_stands_from_when_it_was_first_seen_where_it_is():
    standing = Standing()
    assert standing.look({A0: 5, B: 1}, 100.0) == {"feed.a.v1": 0.0, "feed.b.v1": 0.0}
    assert standing.look({A0: 5, B: 2}, 160.0) == {"feed.a.v1": 60.0, "feed.b.v1": 0.0}


def test_one_partition_that_stands_is_not_hidden_by_one_that_moves():
    standing = Standing()
    standing.look({A0: 5, A1: 1}, 0.0)
    assert standing.look({A0: 5, A1: 9}, 30.0) == {"feed.a.v1": 30.0}


def test_what_has_nothing_waiting_does_not_stand_and_begins_anew():
    standing = Standing()
    standing.look({A0: 5}, 0.0)
    assert standing.look({}, 10.0) == {}
    assert standing.look({A0: 5}, 20.0) == {"feed.a.v1": 0.0}
