"""Text from outside, fit for eyes."""

import json
import logging
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yumai import printable
from yumai.observability import logs

UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def test_every_unseen_character_is_escaped_and_no_other() -> None:
    for number in range(sys.maxunicode + 1):
        character = chr(number)
        is_unseen = unicodedata.category(character) in UNSEEN
        # Unicode grows: what a newer version calls so may be escaped already.
        if is_unseen or unicodedata.category(character) != "Cn":
            assert (printable.line(character) != character) is is_unseen, hex(number)


@given(st.text(st.characters(), max_size=20))
def test_inside_json_it_stays_the_same_text(text: str) -> None:
    whole = json.dumps({"a": text}, ensure_ascii=False)
    shown = printable.line(whole)
    assert json.loads(shown) == {"a": text}
    assert not UNSEEN & {unicodedata.category(c) for c in shown}


def test_breaks_stay_where_lines_are_meant() -> None:
    assert printable.lines("a\n\tb\r\x1b[2J") == "a\n\tb\\u000d\\u001b[2J"
    assert printable.line("a\nb") == "a\\u000ab"
    assert printable.line("渝脉" * 99, 3) == "渝脉渝…"


@pytest.mark.parametrize(
    "text",
    [
        "=HYPERLINK(1)",
        "+1+1",
        "-1+cmd|' /C calc'!A0",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        " =1",
        "＝1",
        "\n@x",
    ],
)
def test_no_text_begins_a_formula(text: str) -> None:
    shown = printable.cell(text)
    assert isinstance(shown, str)
    assert shown.startswith("'")


@pytest.mark.parametrize(
    "value", [-5, 1.5, None, "-12", "+3.5", "1e-7", "-1.5E+10", "field", "S01", "", "a=b"]
)
def test_numbers_and_plain_texts_are_untouched(value: object) -> None:
    assert printable.cell(value) == value


@pytest.mark.parametrize("formatter", [logs.Json("s", "i"), logs.Pretty(False), logs.Pretty(True)])
def test_a_record_is_one_line_that_commands_nothing(formatter: logging.Formatter) -> None:
    said = "x\r\n2026 CRITICAL forged\x1b]0;title\x07\u202e\x9b31m\u2028"
    record = logging.LogRecord("l", logging.INFO, "", 1, "field %s", (said,), None)
    shown = formatter.format(record)
    assert not UNSEEN & {unicodedata.category(c) for c in shown}
