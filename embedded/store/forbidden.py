"""What no statement may contain, for which the engine has no right that could be withheld.

The function `file()`, a disk described inside a statement, INTO OUTFILE, FROM INFILE, and ATTACH of a directory from
anywhere. Comments, quotes and escapes can hide these words from a scanner of our own. So a text in which none of
the words stands in any reading passes at once, and any other is first reformatted by the engine's own parser:
without comments, and with one way to quote.
"""

import re
from collections.abc import Callable, Iterator

from .errors import EngineError, refused

# Called they reach files, run programs, or run text that nobody has looked at.
_CALLS = (
    *(b"file", b"disk", b"python", b"executable", b"eval", b"filesystem", b"catboostevaluate"),
    *(b"generaterandom", b"fuzzquery", b"fuzzjson", b"input", b"viewexplain", b"arrowstream"),
    b"embeddedrocksdb",
)
EXPRESSIONS = (
    "input_format_values_interpret_expressions",
    "input_format_values_deduce_templates_of_expressions",
)
"""Settings that let data of VALUES be expressions: off, but for data that `check_text` has seen."""
_CLAUSES = (b"outfile", b"infile", *(name.encode() for name in EXPRESSIONS))
# A database of which every table lies on a server that is asked at once; engines of databases need no grant.
_ENGINES = (b"datalakecatalog",)
# Of these the first argument may describe columns, with expressions in it: a plain text is looked into.
_DESCRIBING = (b"values", b"format", b"null")

_CALL_WORD = re.compile(rb"(?<!\w)(?:%b)(?!\w)" % b"|".join(_CALLS), re.IGNORECASE)
_SUSPECT = re.compile(
    rb"(?<!\w)(?:(?:%b)(?!\w)|(?:%b)(?!\w)(?!\s+[A-Za-z]))|\\x"
    % (b"|".join((*_CALLS, *_CLAUSES, *_ENGINES, b"attach")), b"|".join(_DESCRIBING)),
    re.IGNORECASE,
)
_TOKEN = re.compile(
    rb"""\s+
    |'(?P<text>(?:[^'\\]|\\.)*)'
    |`(?P<quoted>(?:[^`\\]|\\.)*)`|"(?P<double>(?:[^"\\]|\\.)*)"
    |(?P<word>[A-Za-z_]\w*)
    |(?P<number>-?[0-9.][\w.]*)
    |(?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(rb"\\(?:x([0-9A-Fa-f]{2})|(.))", re.DOTALL)


def is_suspect(statement: bytes) -> bool:
    """Whether `check` has to look closer; cheap, and true rather too often."""
    return _SUSPECT.search(statement) is not None


def check(statement: bytes, rewrite: Callable[[bytes], bytes]) -> None:
    """Raises EngineError 497. `rewrite`: the statement as the engine's parser writes it."""
    if is_suspect(statement):
        _check_rewritten(rewrite(statement))


def check_text(text: bytes) -> None:
    """Raises EngineError 497. Of a setting's value, a description of columns, a text in quotes: any may be expressions."""
    if b"(" in text and (b"\\x" in text or _CALL_WORD.search(text)):
        raise _denied("a call in a text")


Token = tuple[str, bytes]


def _tokens(statement: bytes) -> Iterator[Token]:
    """(kind, text) with escapes undone: `text`, `name` (quoted), `word`, `number`, `other`."""
    for found in _TOKEN.finditer(statement):
        kind = found.lastgroup
        if kind is None:
            continue
        text = found[kind]
        if kind in ("text", "quoted", "double"):
            text = _ESCAPE.sub(lambda e: bytes([int(e[1], 16)]) if e[1] else e[2], text)
        yield {"quoted": "name", "double": "name"}.get(kind, kind), text


def _check_rewritten(statement: bytes) -> None:
    tokens = list(_tokens(statement))
    is_backup = bool(tokens) and tokens[0][1].upper() in (b"BACKUP", b"RESTORE")
    nothing: Token = ("other", b"")
    padded = [nothing, nothing, *tokens, nothing, nothing]
    for at in range(2, len(tokens) + 2):
        kind, text = padded[at]
        before, after = padded[at - 1], padded[at + 1]
        if kind == "text":
            check_text(text)
            continue
        if kind not in ("word", "name"):
            continue
        word = text.lower()
        if word in _ENGINES and b"ENGINE" in (before[1].upper(), padded[at - 2][1].upper()):
            raise _denied(f"the engine {word.decode()}")
        if kind == "word" and word in _CLAUSES:
            raise _denied(f"{word.decode().upper()}")
        if kind == "word" and word == b"attach" and after[1].upper() not in (b"PARTITION", b"PART"):
            raise _denied("ATTACH")
        called = after[1] == b"(" or b"APPLY" in (before[1].upper(), padded[at - 2][1].upper())
        if word in _CALLS and called and not (is_backup and word == b"disk"):
            raise _denied(f"{word.decode()}()")
        if word in _DESCRIBING and after[1] == b"(" and not _describes_itself(padded[at + 2 :]):
            raise _denied(f"{word.decode()}() of a computed description")


def _describes_itself(arguments: list[Token]) -> bool:
    """Whether what stands behind the bracket is plain; of a pattern for text only the pattern has to be."""
    kind, text = arguments[0]
    if kind == "text" and b"{" in text:
        return True
    for kind, text in arguments:
        if (kind, text) == ("other", b")"):
            return True
        if kind not in ("text", "number") and (kind, text) not in (
            ("other", b","),
            ("other", b"("),
        ):
            return False
    return False


def _denied(what: str) -> EngineError:
    return refused(
        497, "ACCESS_DENIED", f"Not enough privileges. Nobody has the right to use {what} here"
    )
