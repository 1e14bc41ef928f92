"""`/v1/districts`, `/v1/sectors`, `/v1/map`: what codes mean and where districts lie."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from contracts.days import SHANGHAI
from contracts.http.figures import DistrictMap, Districts, Sectors
from services.gateway.parameters import YearParameters
from yumai.districts import CHANGE_DATE, ENDED, districts, districts_of
from yumai.http.answers import answer
from yumai.http.direct import Direct
from yumai.http.document import errors
from yumai.http.parameters import FROM_QUERY
from yumai.sectors import sectors
from yumai.store.figures import SERVICE_SECTORS

router = APIRouter(route_class=Direct, tags=["dimensions"])
MAP_NOTE = {
    "en": "Approximate boundaries of undocumented origin. A public map in China needs an approved one.",
    "zh": "界线为近似示意,来源未经核定;公开展示须使用经审核的地图(审图号)。",
}


class GeoJson(JSONResponse):
    media_type = "application/geo+json"


@router.get("/v1/districts", response_model=Districts, responses=errors("invalid_parameter"))
async def list_districts(asked: Annotated[YearParameters, FROM_QUERY]) -> Response:
    """The districts of a year's division."""
    year = _year(asked)
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
    return answer({"meta": {"year": year}, "data": data})


@router.get("/v1/sectors", response_model=Sectors, responses=errors("invalid_parameter"))
async def list_sectors(_: Annotated[YearParameters, FROM_QUERY]) -> Response:
    """What sectors there are."""
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
    return answer({"meta": {}, "data": data})


@router.get(
    "/v1/map",
    response_class=GeoJson,
    response_model=DistrictMap,
    responses=errors("invalid_parameter"),
)
async def district_map(request: Request, asked: Annotated[YearParameters, FROM_QUERY]) -> Response:
    """GeoJSON of a year's division; YUMAI_MAP_FILE replaces it for every year."""
    year = _year(asked)
    body = _map(request.app.state.settings.map_file, year >= CHANGE_DATE.year)
    headers = {"Cache-Control": "private, max-age=3600"}
    return Response(body, media_type=GeoJson.media_type, headers=headers)


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


def _year(asked: YearParameters) -> int:
    return asked.year or datetime.now(SHANGHAI).year
