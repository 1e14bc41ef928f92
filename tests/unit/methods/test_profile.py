"""Which days are alike, by their properties."""

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from yumai.methods import profile
from yumai.methods.festival import (
    FESTIVE_DAYS,
    each_day,
    is_festive,
    is_fixed,
    spring_festival,
)

years = st.integers(2021, 2060)


def test_spring_festival_is_where_the_reference_says():
    assert [spring_festival(y) for y in (2024, 2025, 2026, 2030)] == [
        date(2024, 2, 10),
        date(2025, 1, 29),
        date(2026, 2, 17),
        date(2030, 2, 3),
    ]


@given(years, st.integers(1, 3))
def test_festive_days_are_alike_by_distance_and_others_are_ordinary(year, back):
    past = year - back
    for day, source in zip(each_day(year), profile.aligned_days(year, past), strict=True):
        like = date(past, 1, 1) + timedelta(days=int(source))
        distance = (day - spring_festival(year)).days
        if abs(distance) <= FESTIVE_DAYS:
            assert (like - spring_festival(past)).days == distance or like == date(past, 1, 1)
        else:
            assert not is_festive(like)
            if not is_fixed(like):
                assert like.weekday() == day.weekday()
