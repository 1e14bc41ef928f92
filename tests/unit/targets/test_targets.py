"""Targets: what they come to, their versions, what is wrong with them."""

import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.targets.codec import Version, decode, encode, of_versions
from yumai.targets import plan
from yumai.targets.asked import Asked, read
from yumai.targets.decision import (
    Base,
    Setter,
    base_districts,
    decide,
    next_version,
    years_needed,
)
from yumai.targets.held import Held
from yumai.targets.versions import merged, target_fen


def asked(**row):
    found, wrong = read([{"year": 2026, "district": "500101", "form": "amount", **row}])
    assert not wrong, wrong
    return found[0]


@given(st.integers(1, 10**15), st.decimals(Decimal("-0.9"), 10, places=6))
def test_a_growth_is_exact_and_rounded_half_up(base: int, growth: Decimal):
    exact = Fraction(base) * (1 + Fraction(growth))
    rounded = int(exact + Fraction(1, 2))
    assert target_fen("growth", growth, base) == (rounded or None)


def test_half_a_fen_goes_up():
    assert target_fen("growth", Decimal("0.1"), 5) == 6
    assert target_fen("growth", Decimal("0.06"), 25) == 27


@pytest.mark.parametrize(
    ("row", "field", "code"),
    [
        ({"district": "500105"}, "district", "unknown_district"),
        ({"district": 500101}, "district", "wrong_type"),
        ({"year": "2026"}, "year", "wrong_type"),
        ({"year": True}, "year", "wrong_type"),
        ({"sector": "G00"}, "sector", "invalid_value"),
        ({"form": "ratio"}, "form", "invalid_value"),
        ({"form": "share", "value": Decimal("0.4")}, "form", "invalid_value"),
        ({"value": Decimal("1.5")}, "value", "invalid_value"),
        ({"value": 0}, "value", "out_of_range"),
        ({"value": 2**63}, "value", "out_of_range"),
        ({"value": "5"}, "value", "wrong_type"),
        ({"value": None}, "value", "missing_field"),
        ({"form": "growth", "value": -1}, "value", "out_of_range"),
        ({"base_fen": 5}, "base_fen", "invalid_value"),
        ({"form": "growth", "value": 0, "base_fen": 1.5}, "base_fen", "wrong_type"),
        ({"note": 5}, "note", "wrong_type"),
        ({"who": "me"}, "who", "unknown_field"),
    ],
)
def test_what_is_wrong_is_named_by_row_and_field(row, field, code):
    right = {"year": 2026, "district": "500102", "form": "amount", "value": 1}
    found, wrong = read([right, {**right, "district": "500101", **row}])
    assert len(found) == 1
    assert [(w.index, w.field, w.code) for w in wrong] == [(1, field, code)]


def test_a_district_is_judged_on_its_own_years_division():
    old = {"year": 2025, "form": "amount", "value": 1}
    assert not read([{**old, "district": "500105"}])[1]
    assert read([{**old, "district": "500157"}])[1][0].code == "unknown_district"


def test_a_key_twice_in_one_request_is_refused():
    row = {"year": 2026, "district": "500101", "form": "amount", "value": 1}
    _, wrong = read([row, {**row, "value": 2}])
    assert [(w.index, w.code) for w in wrong] == [(1, "duplicate")]


def test_what_holds_makes_no_new_version_and_what_changes_makes_the_next():
    one = next_version(asked(value=7), (), None, Setter("bureau", 1_000))
    assert one is not None
    assert (one.version, one.target_fen, one.by) == (1, 7, "bureau")
    assert next_version(asked(value=7), (one,), None, Setter("else", 2_000)) is None
    two = next_version(asked(value=7, note="n"), (one,), None, Setter("else", 500))
    assert two is not None
    assert (two.version, two.at) == (2, 1_000)


def test_a_growth_keeps_the_base_that_it_was_set_on():
    row = asked(form="growth", value=Decimal("0.06"))
    one = next_version(row, (), Base(100), Setter("bureau", 1))
    assert one is not None
    assert (one.base_fen, one.target_fen) == (100, 106)
    two = next_version(row, (one,), Base(200), Setter("bureau", 2))
    assert two is not None
    assert (two.base_fen, two.target_fen) == (200, 212)


def test_a_citys_amount_and_its_share_stand_side_by_side():
    held = Held()
    for seed in plan.plan_targets(1):
        held.take(seed.key, seed)
    key = (2027, "city", None)
    amount = Version(2, "amount", 9, 9, by="bureau", at=2)
    held.take("2027/city/", of_versions(*key, (*held.of(key), amount)))
    assert held.share(2027) == 0.4
    assert held.amounts(2027) == {("city", None): 9}


def test_as_of_sees_what_was_set_by_the_end_of_that_day():
    zone = timezone(timedelta(hours=8))
    late = int(datetime(2026, 3, 2, 23, 59, 59, tzinfo=zone).timestamp() * 1000)
    versions = (
        Version(1, "amount", 1, 1, at=late),
        Version(2, "amount", 2, 2, at=late + 1_000),
    )
    held = Held()
    held.take("2026/500101/", of_versions(2026, "500101", None, versions))
    assert held.amounts(2026, date(2026, 3, 1)) == {}
    assert held.amounts(2026, date(2026, 3, 2)) == {("500101", None): 1}
    assert held.amounts(2026, date(2026, 3, 3)) == {("500101", None): 2}


def test_a_record_carries_its_keys_whole_history():
    versions = (Version(1, "amount", 1, 1, at=1), Version(2, "amount", 2, 2, at=2))
    target = decode(encode(of_versions(2026, "500101", "S01", versions)))
    assert target.versions == versions
    assert json.loads(encode(target))["version"] == 2


def test_the_plans_points_and_the_path_between_them():
    shares = plan.plan_shares()
    assert (shares[2027], shares[2035]) == (0.4, 0.45)
    logits = [plan._logit(shares[year]) for year in range(2027, 2036)]
    steps = [b - a for a, b in pairwise(logits)]
    assert max(steps) - min(steps) < 1e-9
    basis = {t.year: t.basis for t in plan.plan_targets(0)}
    assert basis[2027] == basis[2035] == "plan"
    assert {basis[year] for year in range(2028, 2035)} == {"path"}
    assert not plan.missing({t.key for t in plan.plan_targets(0)}, plan.plan_targets(0))


def test_the_base_across_the_division_change_is_marked():
    assert base_districts("500157", 2026) == (("500157", "500105", "500112"), True)
    assert base_districts("500109", 2026) == (("500109",), True)
    assert base_districts("500103", 2026) == (("500103",), False)
    assert base_districts("500109", 2027) == (("500109",), False)


def version(number: int, fen: int, at: int | None = None, by: str | None = None) -> Version:
    return Version(number, "amount", fen, fen, by=by, at=at)


def test_two_who_write_at_once_both_stay_in_the_history():
    first, mine, theirs = version(1, 5, 1), version(2, 6, 2, "a"), version(2, 7, 1, "b")
    held = Held()
    key = (2026, "500101", None)
    for versions in ((first,), (first, mine), (first, theirs)):
        held.take("", of_versions(*key, versions))
    third = version(3, 7, 1, "b")
    assert held.of(key) == (first, mine, third)
    assert held.torn == {key}
    # Read again, by whoever mends it late, nothing is new.
    held.take("", of_versions(*key, (first, theirs)))
    assert held.of(key) == (first, mine, third)
    # The record that mends it says all, and says it again to whoever reads it alone.
    held.take("", of_versions(*key, held.of(key)))
    assert (held.of(key), held.torn) == ((first, mine, third), set())


def test_two_who_write_the_same_at_once_make_one_version():
    first, mine, theirs = version(1, 5), version(2, 6, 2, "a"), version(2, 6, 3, "b")
    assert merged((first, mine), (first, theirs)) == (first, mine)


@given(st.lists(st.integers(1, 3), min_size=1, max_size=6))
def test_the_last_record_holds_whoever_wrote_it(values: list[int]):
    """Records of writers that know nothing of the ones before."""
    held = Held()
    key = (2026, "500101", None)
    for fen in values:
        held.take("", of_versions(*key, (version(1, fen),)))
    assert held.amounts(2026) == {("500101", None): values[-1]}
    assert [v.version for v in held.of(key)] == list(range(1, len(held.of(key)) + 1))


def test_targets_are_those_that_held_at_an_instant():
    held = Held()
    versions = tuple(version(n, n, n * 1_000) for n in (1, 2, 3))
    held.take("", of_versions(2026, "500101", None, versions))
    assert held.as_set_by(datetime.fromtimestamp(2.5, UTC)).amounts(2026) == {("500101", None): 2}
    assert held.as_set_by(datetime.fromtimestamp(0.5, UTC)).years() == []


def test_a_copy_stays_as_it_was():
    held = Held()
    held.take("", of_versions(2026, "500101", None, (version(1, 5, 1),)))
    copy = held.copy()
    held.take("2026/500101/", None)
    assert (copy.years(), held.years()) == ([2026], [])


def test_the_oldest_records_take_the_brokers_time():
    held = Held()
    value = b'{"year":2026,"district":"500101","sector":null,"target_fen":5}'
    held.take("", decode(value), 86_400_000)
    assert [v.at for v in held.of((2026, "500101", None))] == [86_400_000]


BY = Setter("bureau", 9)


def growth(district: str, value: str = "0.06", **more) -> Asked:
    return asked(district=district, form="growth", value=Decimal(value), **more)


def test_a_request_is_decided_as_a_whole():
    rows = [growth("500101"), growth("500103"), asked(district="500104", value=3)]
    booked = {2025: {("500101", "S01"): 60, ("500101", "S02"): 40, ("500103", "S01"): 100}}
    assert years_needed(rows) == [2025]
    found = decide(rows, Held(), booked, BY)
    assert not found.wrong
    said = {key[1]: [v.target_fen for v in versions] for key, versions in found.versions.items()}
    assert said == {"500101": [106], "500103": [106], "500104": [3]}


def test_each_row_that_can_be_no_target_is_named():
    rows = [growth("500101"), asked(district="500104", value=3), growth("500103", "-0.999999")]
    found = decide(rows, Held(), {2025: {("500103", "S01"): 1}}, BY)
    assert [(w.index, w.field, w.code) for w in found.wrong] == [
        (0, "base_fen", "missing_field"),
        (2, "value", "out_of_range"),
    ]


def test_what_is_held_already_changes_nothing():
    held = Held()
    first = decide([asked(value=3)], held, {}, BY)
    for key, versions in first.versions.items():
        held.take("", of_versions(*key, versions))
    assert decide([asked(value=3)], held, {}, BY).versions == {}
    again = decide([asked(value=4)], held, {}, BY)
    assert [[v.version for v in versions] for versions in again.versions.values()] == [[1, 2]]


def test_a_growths_base_across_the_division_change_is_marked_approximate():
    booked = {2025: {("500105", "S01"): 60, ("500112", "S01"): 40}}
    (versions,) = decide([growth("500157")], Held(), booked, BY).versions.values()
    assert (versions[0].base_fen, versions[0].base_approximate) == (100, True)
    own = decide([growth("500157", base_fen=100)], Held(), {}, BY).versions
    ((version,),) = own.values()
    assert (version.base_fen, version.base_approximate) == (100, False)
