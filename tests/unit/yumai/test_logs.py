"""Logs: one JSON line a record, pretty words on a terminal, no secret in either."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yumai.observability import logs, tracing


@pytest.fixture(autouse=True)
def root() -> Iterator[None]:
    handlers, level = list(logging.root.handlers), logging.root.level
    yield
    logging.root.handlers[:], logging.root.level = handlers, level
    logging.captureWarnings(False)


def lines(stream: io.StringIO) -> list[dict]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_record_is_one_line_with_its_stack_and_its_trace() -> None:
    stream = io.StringIO()
    logs.begin("ingest", "ingest-1", "", stream)
    token = tracing.current.set(("ab" * 16, "cd" * 8))
    try:
        try:
            raise RuntimeError("two\nlines")
        except RuntimeError:
            logging.getLogger("aiokafka.client").exception("went %s", "wrong")
    finally:
        tracing.current.reset(token)
    (line,) = lines(stream)
    assert (line["level"], line["logger"]) == ("error", "aiokafka.client")
    assert (line["message"], line["service"]) == ("went wrong", "ingest")
    assert (line["trace_id"], line["span_id"]) == ("ab" * 16, "cd" * 8)
    assert line["exception"].endswith("RuntimeError: two\nlines")
    assert line["time"].endswith("Z")


def test_a_terminal_gets_words_and_the_setting_decides_over_it() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    logs.begin("ingest", "i", "", stream)
    logging.getLogger("yumai.ingest").warning("hello")
    assert "WARNING yumai.ingest: hello" in stream.getvalue()
    stream = Terminal()
    logs.begin("ingest", "i", "json", stream)
    logging.getLogger("yumai.ingest").warning("hello")
    assert json.loads(stream.getvalue())["message"] == "hello"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("http://default:pa55@store:8123/yumai away", "http://default:***@store:8123/yumai away"),
        ("Authorization: Bearer abc.def.ghi", "Authorization: Bearer ***"),
        ("key yk_abcDEF-1 refused", "key yk_*** refused"),
        ("GET /v1/stream?token=eyJhbGciOi.J9.x HTTP", "GET /v1/stream?token=*** HTTP"),
        ("password='hunter2', user='x'", "password='***', user='x'"),
        ("http://127.0.0.1:8703/yumai does not answer", None),
        ("waiting for 127.0.0.1:8702: refused", None),
        ("partition 3 placed at 1024", None),
    ],
)
def test_secrets_are_masked_and_nothing_else(text: str, kept: str | None) -> None:
    assert logs.masked(text) == (kept or text)


@given(st.text())
def test_any_text_is_one_line_of_json(text: str) -> None:
    record = logging.LogRecord("x", logging.INFO, "f", 1, "%s", (text,), None)
    shown = logs.Json("s", "i").format(record)
    assert "\n" not in shown
    assert json.loads(shown)["logger"] == "x"
