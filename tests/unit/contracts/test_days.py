"""Days as text."""

from datetime import date

import pytest

from contracts.days import FIRST_DAY, LAST_DAY, book_day, calendar_day
from contracts.entries.codec import recorded_date


@pytest.mark.parametrize("day", [FIRST_DAY, date(2026, 11, 24), LAST_DAY])
def test_a_day_of_the_books_is_read(day):
    assert book_day(day.isoformat()) == recorded_date(day.isoformat()) == day


@pytest.mark.parametrize(
    "text",
    ["", "20261124", "2026-W45-1", "2026W451", "2026-W45", "2026-11", "2026-1-1", " 2026-11-24",
     "2026-11-24 ", "2026-11-24\n", "２０２６-11-24", "٢٠٢٦-11-24", "2026-02-30", "+2026-11-24"],
)  # fmt: skip
def test_no_other_form_is(text):
    for read in (calendar_day, book_day, recorded_date):
        with pytest.raises(ValueError, match=r"."):
            read(text)


@pytest.mark.parametrize("text", ["0001-01-01", "1969-12-31", "2149-06-07", "9999-12-31"])
def test_a_day_that_the_books_cannot_hold_is_one_of_the_calendar_only(text):
    assert calendar_day(text) == date.fromisoformat(text)
    for read in (book_day, recorded_date):
        with pytest.raises(ValueError, match=r"."):
            read(text)


@pytest.mark.parametrize("text", ["2026-W45-1", "20261102", "1969-12-31"])
@pytest.mark.parametrize(
    "words",
    [["send", "a.csv", "--recorded-on"], ["audit", "--from"], ["simulate", "--from"], ["simulate", "--to"]],
)  # fmt: skip
def test_the_console_reads_days_alike(words, text, capsys):
    from console.cli import main

    with pytest.raises(SystemExit) as end:
        main([*words, text])
    assert end.value.code == 2
    assert text in capsys.readouterr().err
