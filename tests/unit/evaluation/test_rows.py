"""A progress row as JSON: the keys of `/v1/progress`, in their order, for the gateway, alerts and the console."""

from datetime import date

import msgspec
import orjson

from console.commands.progress import _cells
from tests.unit.evaluation.test_judge import YEAR, city
from yumai.evaluation import judge
from yumai.evaluation.judge import Moment
from yumai.evaluation.rows import ProgressRow, progress_rows

KEYS = [
    *("district", "sector", "year", "at", "target_fen", "attained_fen", "comparable_fen"),
    *("expected_fen", "pace", "nowcast_fen", "nowcast_low_fen", "nowcast_high_fen", "p_meet"),
    *("required_growth", "raw_level", "level", "guards", "approximate"),
]
OF_CITY = ["share", "share_path", "share_gap"]


def test_rows_say_what_the_answer_promises_and_the_city_its_share():
    years = {2025: city(2025), YEAR: city(YEAR, until=date(YEAR, 3, 31))}
    targets = {("500101", None): 10**9}
    judged = judge.judge(years, YEAR, targets, Moment(date(YEAR, 3, 31)), share_path=0.4)
    rows = progress_rows(judged, ["500101", "city"], None, at="now")
    found = orjson.loads(orjson.dumps(rows))
    assert len(found) == 2 * 14
    for one in found:
        is_city = one["district"] == "city" and one["sector"] is None
        assert list(one) == KEYS + (OF_CITY if is_city else [])
    whole = next(one for one in found if one["district"] == "city" and one["sector"] is None)
    assert whole["share_gap"] == whole["share"] - 0.4
    assert orjson.loads(msgspec.json.encode(rows)) == found
    again = msgspec.convert(found, list[ProgressRow])
    assert again[0] == rows[0]
    assert _cells(again[0])[0] == "500101"
