"""Sheets of targets, as spreadsheets write them, become rows of the API."""

import io
import json
import zipfile
from pathlib import Path

import pytest

from console import targets
from console.commands import Refusal

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


@pytest.mark.parametrize("content", [b"PK\x03\x04nothing", b"a,b\n1,2\n", b"\xff\xfe\x00"])
def test_what_is_no_sheet_is_refused_in_one_sentence(tmp_path: Path, content: bytes):
    file = tmp_path / "t"
    file.write_bytes(content)
    with pytest.raises(Refusal):
        targets.read(file)
