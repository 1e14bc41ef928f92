"""What a district sees of a work item that was not always its own."""

from contracts.work_items.codec import Event
from services.gateway.work_items import own_alert, seen_history
from yumai.access import Principal

BUREAU = Principal("bureau", "", "b")
FIRST, SECOND = (Principal("district", code, "d") for code in ("500101", "500102"))


def event(number: int, kind: str = "changed", **fields: object) -> Event:
    return Event("wi-1", str(number), number, "x", kind, fields)  # type: ignore[arg-type]


LIFE = [
    event(1, "created", title="a", district="500101"),
    event(2, title="of the first"),
    event(3, "escalated", title="of the first", district="500101", missed="2026-01-01"),
    event(4, district="500102"),
    event(5, title="of the second"),
    event(6, "escalated", title="of the second", district="500101", missed="2026-02-01"),
    event(7, district=None),
    event(8, title="of nobody"),
    event(9, district="500101"),
    event(10, status="done"),
]


def test_a_district_sees_what_happened_while_it_was_its_own():
    def seen(principal: Principal) -> list[int]:
        return [e.at for e in seen_history(LIFE, principal)]

    assert seen(BUREAU) == list(range(1, 11))
    assert seen(FIRST) == [1, 2, 3, 9, 10]
    assert seen(SECOND) == [4, 5, 6]


def test_an_item_of_no_district_is_the_bureaus():
    assert seen_history([event(1, "created", title="a")], FIRST) == []


def test_an_alert_of_another_is_not_named():
    assert own_alert("2026-500101", FIRST) == "2026-500101"
    assert own_alert("2026-500101", SECOND) is None
    assert own_alert("2026-500101", BUREAU) == "2026-500101"
    assert own_alert(None, FIRST) is None
