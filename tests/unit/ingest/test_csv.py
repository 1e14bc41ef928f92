"""CSV: a row is a record, whatever line breaks it has; what is broken stays in its own line."""

import csv
import io

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.ingest.refused import BodyRefused

HEADER = "entry_id,platform_id,merchant_id,occurred_at,kind,amount_fen"
GOOD = "{},p1,m1,2026-01-31T13:05:06Z,sale,100"


def body(*lines: str, end: str = "\n") -> bytes:
    return end.join([HEADER, *lines]).encode()


@pytest.mark.parametrize(
    ("line", "field", "code"),
    [
        ('x,p1,"m1,2026-01-31T13:05:06Z,sale,100', None, "not_csv"),
        ('"x"y,p1,m1,2026-01-31T13:05:06Z,sale,100', None, "not_csv"),
        ("x,p1,m1", None, "field_count"),
        ("x,p1,m1,2026-01-31T13:05:06Z,sale,100,", None, "field_count"),
        ("x", None, "field_count"),
        ("x,p1,m1,2026-01-31T13:05:06Z,sale,1.5", "amount_fen", "wrong_type"),
        ("x,p1,m1,2026-01-31T13:05:06Z,sale, 1", "amount_fen", "wrong_type"),
        ("x,p1,m1,2026-01-31T13:05:06Z,sale,1e3", "amount_fen", "wrong_type"),
        (",,,,,", "entry_id", "missing_field"),
        ("x,p1,m1,1.5,sale,1", "occurred_at", "invalid_time"),
    ],
)
def test_a_broken_line_spoils_only_itself(line, field, code, judged):
    for end in ("\n", "\r\n"):
        result = judged(
            "csv", body(GOOD.format("a"), line, GOOD.format("b"), GOOD.format('"c"'), end=end)
        )
        assert result.errors == [(1, field, code)]
        assert [row["row"] for row in result.rows] == [0, 2, 3]
        assert [d["bytes"] for d in result.dead] == [line.encode()]


def test_an_unclosed_quote_in_the_last_line_spoils_only_that(judged):
    result = judged("csv", body(GOOD.format("a"), GOOD.format("b"), '"' + GOOD.format("c")))
    assert result.errors == [(2, None, "not_csv")]


def test_a_quoted_line_break_is_one_row_and_counts_as_one(judged):
    bad = '"a\r\nb",p1,m1,2026-01-31T13:05:06Z,sale,0'
    result = judged("csv", body(GOOD.format("a"), bad, "", "  ", GOOD.format("b"), "x"))
    assert result.received == 4
    assert result.errors == [(1, "amount_fen", "out_of_range"), (3, None, "field_count")]
    assert result.dead[0]["bytes"] == bad.encode()


def test_invalid_utf8_is_a_bad_row(judged):
    sent = (
        body(GOOD.format("a"))
        + b"\n\xff"
        + GOOD.format("b").encode()
        + b"\n"
        + GOOD.format("c").encode()
    )
    result = judged("csv", sent)
    assert result.errors == [(1, None, "not_utf8")]
    assert result.received == 3


def test_a_bom_is_not_part_of_the_first_column(judged):
    assert judged("csv", b"\xef\xbb\xbf" + body(GOOD.format("a"))).errors == []


@pytest.mark.parametrize("sent", [b"", b"\n\r\n", HEADER.encode(), HEADER.encode() + b"\r\n\r\n"])
def test_only_a_header_or_less_is_nothing_received(sent, judged):
    assert judged("csv", sent).received == 0


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (HEADER + ",phone", "unknown_column"),
        (HEADER + ",kind", "unknown_column"),
        (HEADER.replace(",kind", ""), "missing_column"),
        (HEADER + ',"mcc', "body_undecodable"),
    ],
)
def test_a_wrong_header_refuses_the_body(header, code, judged):
    with pytest.raises(BodyRefused) as refused:
        judged("csv", f"{header}\n{GOOD.format('a')}".encode())
    assert refused.value.code == code


@pytest.mark.parametrize("tags", ['"[""b"",""a""]"', "a;b", "a|b", " b ; a "])
def test_tags_are_a_json_array_or_texts_with_separators(tags, judged):
    header = HEADER + ",scene_tags"
    plain = judged("csv", f"{header}\n{GOOD.format('a')},b;a".encode()).rows[0]["content"]
    result = judged("csv", f"{header}\n{GOOD.format('a')},{tags}".encode())
    assert result.rows[0]["content"] == plain


fields = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=8)


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(fields, fields), max_size=6), st.booleans())
def test_records_are_cut_as_the_csv_module_cuts_them(judged, made, quote_all):
    """What the module writes is read again, field by field, and no record runs into the next."""
    out = io.StringIO()
    quoting = csv.QUOTE_ALL if quote_all else csv.QUOTE_MINIMAL
    writer = csv.writer(out, quoting=quoting, lineterminator="\r\n")
    writer.writerow(HEADER.split(","))
    for entry_id, merchant_id in made:
        writer.writerow([entry_id, "p1", merchant_id, "2026-01-31T13:05:06Z", "sale", "100"])
    result = judged("csv", out.getvalue().encode())
    assert result.received == len(made)
    for row, (entry_id, merchant_id) in enumerate(made):
        fine = bool(entry_id and merchant_id)
        assert (row in {r["row"] for r in result.rows}) == fine
