"""Turns and budgets: nobody starves, nobody holds too much, and there is room for whoever comes next."""

import asyncio
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yumai.sharing.slots import Slots
from yumai.sharing.turns import Budget, Spent, Turns

SENDERS = st.sampled_from("abcdef")


@given(st.lists(st.tuples(SENDERS, st.integers(1, 100)), min_size=1, max_size=200))
def test_who_always_waits_has_as_much_as_anybody_but_for_one_cost(costs):
    """Two who wait all the time differ by at most one cost, whatever others do."""
    turns = Turns()
    had = {"x": 0, "y": 0}
    for sender, cost in costs:
        chosen = turns.next(["x", "y", sender])
        turns.charge(chosen, cost)
        if chosen in had:
            had[chosen] += cost
        assert abs(had["x"] - had["y"]) <= 100


@given(st.integers(1, 1_000))
def test_a_newcomer_is_next_however_much_another_has_waiting(turns_before):
    turns = Turns()
    for _ in range(turns_before):
        assert turns.next(["old"]) == "old"
        turns.charge("old", 5.0)
    turns.charge("old", 5.0)
    assert turns.next(["old", "new"]) == "new"


def test_who_was_away_gains_no_credit_by_it():
    turns = Turns()
    turns.next(["a", "b"])
    turns.charge("a", 1.0)
    for _ in range(100):
        turns.next(["b"])
        turns.charge("b", 1.0)
    served = []
    for _ in range(10):
        sender = turns.next(["a", "b"])
        turns.charge(sender, 1.0)
        served.append(sender)
    assert 4 <= served.count("a") <= 6


def test_what_it_remembers_is_bounded():
    turns = Turns()
    for number in range(20_000):
        turns.charge(turns.next([str(number)]), 1.0)
    assert len(turns._had) <= 2_049


@given(
    st.integers(1, 100),
    st.integers(1, 100),
    st.lists(st.tuples(SENDERS, st.integers(0, 60), st.booleans()), max_size=100),
)
def test_nobody_holds_more_than_each_and_all_together_no_more_than_the_total(total, each, steps):
    budget = Budget(total, each)
    held: dict[str, int] = {}
    for sender, amount, gives in steps:
        mine = held.get(sender, 0)
        if gives:
            amount = min(amount, mine)
            budget.give(sender, amount)
            held[sender] = mine - amount
            continue
        before = budget.held
        try:
            budget.take(sender, amount)
        except Spent:
            assert budget.held == before
        else:
            held[sender] = mine + amount
        assert budget.held == sum(held.values()) <= total
        assert all(budget.of(s) == amount <= each for s, amount in held.items())


@given(st.integers(1, 8))
def test_while_senders_hold_all_they_can_another_finds_room(senders):
    budget = Budget(1 << 30, 256 << 20)
    for sender in range(senders):
        with contextlib.suppress(Spent):
            while True:
                budget.take(str(sender), 1 << 20)
    budget.take("another", 200_000)


def test_one_sender_at_its_most_leaves_half_to_others():
    budget = Budget(100, 100)
    budget.take("a", 50)
    with pytest.raises(Spent) as spent:
        budget.take("a", 1)
    assert spent.value.own
    budget.take("b", 25)
    with pytest.raises(Spent) as spent:
        budget.take("c", 30)
    assert not spent.value.own


# -- slots ------------------------------------------------------------------------------------------


def test_one_sender_never_has_more_than_its_slots_and_one_is_left_for_another():
    async def tried():
        slots = Slots(3, 2)
        many = [asyncio.create_task(slots.take("a")) for _ in range(50)]
        await asyncio.sleep(0)
        assert slots.running("a") == 2
        async with asyncio.timeout(1), slots.of("b"):
            assert slots.running("b") == 1
        for task in many:
            task.cancel()
        await asyncio.gather(*many, return_exceptions=True)

    asyncio.run(tried())


def test_what_one_sender_asks_for_begins_in_order():
    async def tried():
        slots, begun = Slots(1, 1), []

        async def work(number):
            async with slots.of("a"):
                begun.append(number)
                await asyncio.sleep(0)

        await asyncio.gather(*(work(number) for number in range(20)))
        assert begun == list(range(20))

    asyncio.run(tried())


def test_more_than_may_wait_is_refused_and_only_its_own():
    async def tried():
        slots = Slots(2, 1, waiting=2)
        waiting = [asyncio.create_task(slots.take("a")) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(Spent):
            await slots.take("a")
        await slots.take("b")
        for task in waiting:
            task.cancel()

    asyncio.run(tried())


@given(st.lists(st.tuples(SENDERS, st.integers(0, 3), st.booleans()), max_size=60))
def test_every_slot_comes_back_whoever_is_cancelled(steps):
    async def tried():
        slots = Slots(3, 2)

        async def work(sender, yields):
            async with slots.of(sender):
                for _ in range(yields):
                    await asyncio.sleep(0)

        tasks = []
        for sender, yields, cancelled in steps:
            tasks.append(asyncio.create_task(work(sender, yields)))
            await asyncio.sleep(0)
            if cancelled:
                tasks[-1].cancel()
        async with asyncio.timeout(5):
            await asyncio.gather(*tasks, return_exceptions=True)
        assert slots._free == 3
        assert not slots._waiting
        assert not slots._running

    asyncio.run(tried())
