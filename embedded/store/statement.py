"""What a statement is: its kind, its output format, and for an INSERT where its data begins.

Read with a tokenizer, not with a parser: enough to tell SQL from the data that follows it and to
name the format. Everything else is left to the engine, which parses the statement again.
"""

import re
from dataclasses import dataclass

from .errors import refused

_TOKEN = re.compile(
    rb"""(?P<gap>\s++|--[^\n]*+|\#[ !][^\n]*+|/\*.*?\*/)
    |(?P<quoted>'(?:[^'\\]++|\\.)*+'|"(?:[^"\\]++|\\.)*+"|`(?:[^`\\]++|\\.)*+`
        |\$(?P<tag>\w*+)\$.*?\$(?P=tag)\$)
    |(?P<word>[A-Za-z_]\w*+)
    |(?P<open>[(\[{])|(?P<close>[)\]}])|(?P<end>;)
    |(?P<other>[0-9.]++\w*+|[^\s\w'"`$()\[\]{};\#/-]++|.)""",
    re.VERBOSE | re.DOTALL,
)
# What may stand between a format's name and the data: the blanks, and one end of line.
_BEFORE_DATA = re.compile(rb"[ \t\r]*\n?")

ROWS = {b"SELECT", b"WITH", b"FROM", b"SHOW", b"DESCRIBE", b"DESC", b"EXISTS", b"EXPLAIN", b"("}


@dataclass(frozen=True)
class Statement:
    """One SQL statement; offsets are bytes into its text.

    kind: first keyword in upper case, or "(".
    format: the name after FORMAT as written, or "VALUES"; None when the text names none.
    head_end, data_at: only for an INSERT whose data follows: where the statement proper ends, and
        where the data begins. None when the statement itself says all (SELECT, DDL, INSERT SELECT).
    target_end: of such an INSERT, where its table and columns end (SETTINGS may follow).
    """

    kind: bytes
    format: str | None = None
    head_end: int | None = None
    data_at: int | None = None
    target_end: int | None = None
    temporary: bool = False

    @property
    def gives_rows(self) -> bool:
        """Whether an answer has columns, even if no row."""
        return self.kind in ROWS


def read(sql: bytes) -> Statement:
    """Reads the first statement of `sql`.

    Raises EngineError 62 when a second statement follows, as ClickHouse's HTTP interface does.
    """
    tokens = ((t.lastgroup, t) for t in _TOKEN.finditer(sql) if t.lastgroup != "gap")
    for group, token in tokens:
        if group == "open" or group == "word":
            kind = token[0].upper()
            return _read_insert(sql, tokens) if kind == b"INSERT" else _read_other(kind, tokens)
        if group != "end":
            break
    return Statement(b"")


def _read_insert(sql: bytes, tokens) -> Statement:
    """An INSERT: up to FORMAT name, VALUES, or a SELECT (which then gives the data itself)."""
    depth = 0
    target_next = False  # a database's or table's name may itself be `values`
    target_end = None
    for group, token in tokens:
        if group == "open":
            depth += 1
            target_next = False
        elif group == "close":
            depth -= 1
        elif group == "word":
            word = token[0].upper()
            if target_next and word not in (b"TABLE", b"FUNCTION"):
                target_next = False
            elif word == b"INTO" and depth == 0:
                target_next = True
            elif word in (b"SELECT", b"WITH", b"INFILE"):
                return Statement(b"INSERT")
            elif depth == 0 and word == b"SETTINGS":
                target_end = token.start()
            elif depth == 0 and word == b"VALUES":
                return _with_data("VALUES", token.start(), token.end(), target_end)
            elif depth == 0 and word == b"FORMAT":
                group, name = next(tokens, (None, None))
                if name is None or group != "word":
                    return Statement(b"INSERT")
                if name[0].upper() == b"VALUES":
                    return _with_data("VALUES", token.start(), name.end(), target_end)
                blank = _BEFORE_DATA.match(sql, name.end())
                data_at = blank.end() if blank else name.end()
                return _with_data(name[0].decode(), token.start(), data_at, target_end)
        else:
            target_next = token[0] == b"."
    return _with_data(None, len(sql), len(sql), target_end)


def _with_data(
    data_format: str | None, head_end: int, data_at: int, target_end: int | None
) -> Statement:
    return Statement(b"INSERT", data_format, head_end, data_at, target_end or head_end)


def _read_other(kind: bytes, tokens) -> Statement:
    """Anything else: look for a FORMAT clause at the end, and for a second statement."""
    depth = 1 if kind == b"(" else 0
    words = 0
    temporary = ended = after_name = False
    awaiting_name = False
    candidate: str | None = None
    for group, token in tokens:
        if group == "end":
            ended = True
            continue
        if ended:
            raise refused(62, "SYNTAX_ERROR", "Syntax error (Multi-statements are not allowed)")
        if group == "open":
            depth += 1
        elif group == "close":
            depth -= 1
        word = token[0].upper() if group == "word" else b""
        words += 1
        if kind == b"CREATE" and words <= 3 and word == b"TEMPORARY":
            temporary = True
        if after_name and word != b"SETTINGS":
            candidate = None  # `format` was a name, not the clause
        after_name = False
        if awaiting_name and word:
            candidate, after_name, awaiting_name = token[0].decode(), True, False
            continue
        awaiting_name = depth == 0 and word == b"FORMAT"
    return Statement(kind, candidate, temporary=temporary)
