"""What `yumai` prints is text, whatever it was told."""

import io
import json
import sys

import pytest

from yumai import printable, terminal


def test_what_a_sender_named_a_field_does_not_command_the_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    name = "\x1b]52;c;cm0gLXJm\x07\u202ename\n"
    with terminal.printing():
        print(f"渝脉 {name}", end="")
        print(json.dumps([name], ensure_ascii=False))
    text, data = out.getvalue().split("\n")[0:2]
    assert text == "渝脉 " + printable.lines(name).strip()
    assert json.loads(data) == [name]
    assert "\x1b" not in out.getvalue()
    assert sys.stdout is out


def test_every_character_can_be_printed_in_every_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    with terminal.printing():
        print("状态 \udcff")
        sys.stdout.flush()
    assert raw.getvalue() == b"\\u72b6\\u6001 \\udcff\n"
