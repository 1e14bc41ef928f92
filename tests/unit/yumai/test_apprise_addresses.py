"""Addresses of mail boxes and chats: what they may say is a closed list."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yumai.apprise_addresses import PARAMETERS, problem

MAIL = "mailto://u:p@mail.example?from=a@y.example&to=b@y.example"
WELL = {
    "email": [
        MAIL,
        f"{MAIL}&cc=c@y.example&smtp=smtp.example&mode=starttls&name=x",
        "mailtos://u:p@y.example",
    ],
    "dingtalk": ["dingtalk://abcdefgh1234/", "dingtalk://secret@abcdefgh1234/13800000000"],
    "wecom": ["wecombot://a1b2c3d4-aaaa-bbbb-cccc-0123456789ab/"],
    "feishu": ["feishu://a1b2c3d4-aaaa-bbbb-cccc-0123456789ab/"],
}
OURS = (
    "rto=9",
    "cto=9",
    "verify=no",
    "retry=5",
    "wait=100",
    "pgp=yes",
    "pgppub=/etc/passwd",
    "overflow=split",
)
OURS += (
    "redirect=yes",
    "optional=yes",
    "%72to=9",
    "RTO=9",
    "+x-header=1",
    "-a=1",
    ":b=1",
    "store=no",
    "tz=x",
)
OURS += ("inline=yes", "unheard=of")


@pytest.mark.parametrize(("channel", "address"), [(c, a) for c in WELL for a in WELL[c]])
def test_what_an_address_needs_is_taken(channel, address):
    assert problem(channel, address) is None


@pytest.mark.parametrize("more", OURS)
@pytest.mark.parametrize("joint", ["&", ";"])
def test_time_outs_files_and_trust_are_not_an_addresss_to_say(more, joint):
    assert "is not taken" in (problem("email", f"{MAIL}{joint}{more}") or "")


@pytest.mark.parametrize("channel", ["dingtalk", "wecom", "feishu"])
@pytest.mark.parametrize("more", OURS)
def test_nor_of_a_robots(channel, more):
    assert "is not taken" in (problem(channel, f"{WELL[channel][0]}?{more}") or "")


@pytest.mark.parametrize(
    "address", ["json://x.example/", "file:///etc/passwd", "", "mailto", "dbus://", "https://x"]
)
def test_another_kind_of_address_is_refused(address):
    assert problem("email", address)


@given(st.text(min_size=1, max_size=12))
def test_only_listed_names_pass(name):
    from urllib.parse import quote

    found = problem("email", f"{MAIL}&{quote(name)}=1")
    assert found is None or "is not taken" in found or "can't read" in found
    if found is None:
        assert name.lower().strip() in (*PARAMETERS["email"], "") or not name.strip("&;= \t\r\n?")
