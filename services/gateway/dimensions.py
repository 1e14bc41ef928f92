"""`/v1/districts`, `/v1/sectors`, `/v1/map`: what codes mean and where districts lie."""

from __future__ import annotations

from datetime import UTC, date, datetime
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from services.gateway.parameters import Reader
from yumai.districts import CHANGE_DATE, ENDED, districts, districts_of
from yumai.sectors import sectors
from yumai.store.figures import SERVICE_SECTORS, SHANGHAI

MAP_NOTE = {
    "en": "Approximate boundaries of undocumented origin. A public map in China needs an approved one.",
    "zh": "界线为近似示意,来源未经核定;公开展示须使用经审核的地图(审图号)。",
}


async def list_districts(request: Request) -> Response:
    year = _year(request)
    data = [
        {
            "code": code,
            "zh": d.zh,
            "short_zh": d.short_zh,
            "en": d.en,
            "kind": d.kind,
            "group": d.group,
            "population": d.population,
            "successor": ENDED.get(code),
        }
        for code in districts_of(year)
        if (d := districts()[code])
    ]
    return _json({"meta": {"year": year}, "data": data})


async def list_sectors(request: Request) -> Response:
    _year(request)
    data = [
        {
            "code": s["code"],
            "zh": s["zh"],
            "en": s["en"],
            "kind": s["kind"],
            "is_service": s["code"] in SERVICE_SECTORS,
        }
        for s in sectors()
    ]
    return _json({"meta": {}, "data": data})


async def district_map(request: Request) -> Response:
    """GeoJSON of a year's division; YUMAI_MAP_FILE replaces it for every year."""
    year = _year(request)
    body = _map(request.app.state.settings.map_file, year >= CHANGE_DATE.year)
    return Response(
        body, media_type="application/geo+json", headers={"Cache-Control": "private, max-age=3600"}
    )


@cache
def _map(file: Path | None, after_change: bool) -> bytes:
    name = "chongqing-37-approximate.geojson" if after_change else "chongqing-38.geojson"
    text = file.read_bytes() if file else (files("yumai") / "reference" / name).read_bytes()
    shapes: dict[str, Any] = orjson.loads(text)
    shapes["meta"] = {
        "approximate": file is None and after_change,
        "note": None if file else MAP_NOTE,
    }
    return orjson.dumps(shapes)


def _year(request: Request) -> int:
    reader = Reader(request.query_params, ("year",))
    year = reader.year("year")
    reader.check()
    today: date = datetime.now(UTC).astimezone(SHANGHAI).date()
    return year or today.year


def _json(body: dict[str, Any]) -> Response:
    return Response(orjson.dumps(body), media_type="application/json")
