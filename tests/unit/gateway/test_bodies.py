"""Bodies of requests, and subscriptions in them."""

from datetime import UTC, datetime

import pytest
from standardwebhooks.webhooks import Webhook

from services.gateway import subscriptions
from services.gateway.bodies import Until, parsed
from services.gateway.bodies import read as read_body
from services.gateway.requests import SubscriptionAsked, TargetAsked, is_secret
from yumai.http.refusals import Refused
from yumai.targets.asked import FIELDS


def read(body: object) -> tuple[object, set[str | None]]:
    try:
        return subscriptions._kept(read_body(SubscriptionAsked, body, 3), {}), set()
    except Refused as refused:
        found = refused.errors
    assert {(e.index, e.code) for e in found} == {(3, "invalid_field")}
    return None, {error.field for error in found}


def test_a_body_that_is_no_json_is_refused_and_an_empty_one_may_be():
    with pytest.raises(Refused) as refused:
        parsed(b"{")
    assert (refused.value.status, refused.value.errors[0].code) == (400, "body_undecodable")
    assert parsed(b" ", {}) == {}


def test_an_end_is_a_day_to_its_end_or_an_instant_with_its_offset():
    def until(text: object) -> tuple[str, datetime]:
        found = Until(text)
        return found.text, found.at

    assert until("2026-07-01") == ("2026-07-01", datetime(2026, 7, 1, 16, tzinfo=UTC))
    instant = until("2026-07-01T12:00:00Z")
    assert instant == ("2026-07-01T12:00:00Z", datetime(2026, 7, 1, 12, tzinfo=UTC))
    for wrong in ("2026-07-01T12:00:00", "2026-02-30", "soon", 5, None, "9999-12-31"):
        with pytest.raises(ValueError, match=r"day|instant|away"):
            until(wrong)


def test_a_webhook_gets_a_secret_that_the_public_library_takes():
    found, wrong = read({"id": "a", "channel": "webhook", "address": "https://x.example/"})
    assert not wrong
    Webhook(found.secret)
    assert found.levels == ["blue", "yellow", "red"]
    assert is_secret(found.secret)
    assert not is_secret("whsec_short")


def test_every_wrong_field_of_a_subscription_is_named():
    _, wrong = read(
        {
            "id": "../x",
            "channel": "fax",
            "levels": ["pink"],
            "sectors": ["G00"],
            "language": "fr",
            "quiet_hours": {"from": "7", "to": "08:00"},
            "color": 1,
        }
    )
    assert wrong == {
        "id",
        "channel",
        "address",
        "levels",
        "sectors",
        "language",
        "quiet_hours.from",
        "color",
    }
    _, wrong = read(
        {"id": "a", "channel": "inbox", "quiet_hours": {"from": "08:00", "to": "08:00"}}
    )
    assert wrong == {"quiet_hours.from"}
    assert read(5)[1] >= {None}


def test_an_inbox_needs_no_address():
    found, wrong = read(
        {"id": "a", "channel": "inbox", "quiet_hours": {"from": "22:00", "to": "24:00"}}
    )
    assert not wrong
    assert found.secret is None


def test_the_document_names_the_fields_of_a_target():
    assert tuple(TargetAsked.model_fields) == FIELDS
