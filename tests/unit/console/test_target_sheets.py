"""Sheets of targets, as spreadsheets write them, become rows of the API."""

import io
import json
import zipfile
from html import escape
from pathlib import Path

import pytest

from console.cli import Refusal
from console.commands import targets

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"


def rows_of(path: Path) -> list[dict]:
    return [json.loads(targets.as_json(cells)) for _, cells in targets.read(path)]


def workbook(rows: list[list[tuple[str, str]]], shared: list[str]) -> bytes:
    """Rows of (kind, text) cells, as Excel writes them."""
    lines = []
    for r, row in enumerate(rows, 1):
        cells = []
        for c, (kind, text) in enumerate(row):
            reference = f"{chr(65 + c)}{r}"
            if kind == "inlineStr":
                inner = f"<is><t>{text}</t></is>"
            elif text == "":
                continue
            else:
                inner = f"<v>{text}</v>"
            cells.append(f'<c r="{reference}" t="{kind}">{inner}</c>')
        lines.append(f'<row r="{r}">{"".join(cells)}</row>')
    relations = "http://schemas.openxmlformats.org/package/2006/relationships"
    document = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as book:
        book.writestr(
            "xl/workbook.xml",
            f'<workbook xmlns="{MAIN}" xmlns:r="{document}"><sheets>'
            '<sheet name="x" sheetId="1" r:id="rId7"/></sheets></workbook>',
        )
        book.writestr(
            "xl/_rels/workbook.xml.rels",
            f'<Relationships xmlns="{relations}">'
            '<Relationship Id="rId7" Target="worksheets/sheet1.xml"/></Relationships>',
        )
        strings = "".join(f"<si><t>{text}</t></si>" for text in shared)
        book.writestr("xl/sharedStrings.xml", f'<sst xmlns="{MAIN}">{strings}</sst>')
        book.writestr(
            "xl/worksheets/sheet1.xml",
            f'<worksheet xmlns="{MAIN}"><sheetData>{"".join(lines)}</sheetData></worksheet>',
        )
    return out.getvalue()


def test_a_csv_keeps_numbers_exactly_and_leaves_out_what_is_empty(tmp_path: Path):
    file = tmp_path / "t.csv"
    file.write_text(
        "year,district,sector,form,value,base_fen,basis,note\n"
        "2026,500101,,growth,0.06,,plan,\n"
        '2026,city,S01,amount,"9,007,199,254,740,993",,,x\n'
        "\n"
        "2026,500103,,growth,6%,5,,\n"
    )
    assert targets.as_json(targets.read(file)[1][1]).count("9007199254740993") == 1
    assert rows_of(file) == [
        {"year": 2026, "district": "500101", "form": "growth", "value": 0.06, "basis": "plan"},
        {
            "year": 2026,
            "district": "city",
            "sector": "S01",
            "form": "amount",
            "value": 9007199254740993,
            "note": "x",
        },
        {"year": 2026, "district": "500103", "form": "growth", "value": 0.06, "base_fen": 5},
    ]
    assert [number for number, _ in targets.read(file)] == [2, 3, 5]


def test_a_chinese_sheet_in_gb18030_is_read(tmp_path: Path):
    file = tmp_path / "t.csv"
    file.write_bytes("年份,区县,领域,形式,目标值\n2026,渝中区,,增速,6％\n".encode("gb18030"))
    assert rows_of(file) == [{"year": 2026, "district": "500103", "form": "growth", "value": 0.06}]


def test_a_workbook_is_read_and_its_doubles_mean_what_was_typed(tmp_path: Path):
    file = tmp_path / "t.xlsx"
    names = ["year", "district", "form", "value"]
    head = [("s", str(n)) for n in range(4)]
    file.write_bytes(
        workbook(
            [
                head,
                [
                    ("n", "2026"),
                    ("inlineStr", "500101"),
                    ("s", "4"),
                    ("n", "5.9999999999999998E-2"),
                ],
                [("n", "2026"), ("n", "500103"), ("s", "4"), ("n", "")],
            ],
            [*names, "growth"],
        )
    )
    assert rows_of(file) == [
        {"year": 2026, "district": "500101", "form": "growth", "value": 0.06},
        {"year": 2026, "district": "500103", "form": "growth"},
    ]


def test_a_cell_that_is_no_number_is_never_one(tmp_path: Path):
    names = [("inlineStr", name) for name in ("year", "district", "form", "value")]
    file = tmp_path / "t.xlsx"
    for text, word in (("1", "TRUE"), ("0", "FALSE")):
        row = [("n", "2026"), ("inlineStr", "500101"), ("inlineStr", "amount"), ("b", text)]
        file.write_bytes(workbook([names, row], []))
        assert rows_of(file)[0]["value"] == word
    for cell in (("e", "#DIV/0!"), ("n", "</v><f>A1*2</f><v>")):
        file.write_bytes(workbook([names, [("n", "2026"), cell]], []))
        with pytest.raises(Refusal, match="cell B2"):
            targets.read(file)


@pytest.mark.parametrize("format", ["yyyy-mm-dd", "14", 'h:mm "年"'])
def test_a_date_is_not_taken_for_its_number(tmp_path: Path, format: str):
    plain = workbook(
        [[("inlineStr", "year"), ("inlineStr", "value")], [("n", "2026"), ("n", "5")]], []
    )
    own = "" if format == "14" else f'<numFmt numFmtId="170" formatCode="{escape(format)}"/>'
    number = "14" if format == "14" else "170"
    styles = (
        f'<styleSheet xmlns="{MAIN}"><numFmts>{own}</numFmts><cellXfs><xf numFmtId="3"/>'
        f'<xf numFmtId="{number}"/></cellXfs></styleSheet>'
    )
    file = tmp_path / "t.xlsx"
    for style, refused in (("0", False), ("1", True)):
        out = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(plain)) as before, zipfile.ZipFile(out, "w") as book:
            for name in before.namelist():
                text = before.read(name).decode()
                book.writestr(name, text.replace('r="B2"', f'r="B2" s="{style}"'))
            book.writestr("xl/styles.xml", styles)
        file.write_bytes(out.getvalue())
        if refused:
            with pytest.raises(Refusal, match="cell B2: a date"):
                targets.read(file)
        else:
            assert rows_of(file) == [{"year": 2026, "value": 5}]


@pytest.mark.parametrize("content", [b"PK\x03\x04nothing", b"a,b\n1,2\n", b"\xff\xfe\x00"])
def test_what_is_no_sheet_is_refused_in_one_sentence(tmp_path: Path, content: bytes):
    file = tmp_path / "t"
    file.write_bytes(content)
    with pytest.raises(Refusal):
        targets.read(file)
