"""Where a webhook may point."""

import ipaddress
import socket

import pytest

from yumai import webhooks
from yumai.process.settings import BadSettings, duration, networks, read

PRIVATE = [
    "https://127.0.0.1/x",
    "https://127.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0177.0.0.1/",
    "https://0/",
    "https://localhost/",
    "https://10.1.2.3/",
    "https://172.16.0.1/",
    "https://192.168.1.1/",
    "https://192.168.1.1./",
    "https://localhost./",
    "https://169.254.169.254/latest",
    "https://100.64.0.1/",
    "https://[::1]/",
    "https://[::]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[::127.0.0.1]/",
    "https://[fe80::1]/",
    "https://[fd00::1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[2002:7f00:1::]/",
    "https://[fec0::1]/",
    "https://[feff::1]/",
    "https://[fdff::1]/",
    "https://[fd00:ec2::254]/",
    "https://[ff0e::1]/",
    "https://[100::1]/",
    "https://[::ffff:169.254.169.254]/",
    "https://[::ffff:0:10.0.0.1]/",
    "https://[64:ff9b::a9fe:a9fe]/",
    "https://[64:ff9b:1::7f00:1]/",
    "https://[2002:a9fe:a9fe::1]/",
    "https://[2002:808:808::1]/",
    "https://[2001:0:808:808::1]/",
    "https://[2001:db8::1]/",
    "https://[3fff::1]/",
    "https://[5f00::1]/",
    "https://[4000::1]/",
    "https://0.1.2.3/",
    "https://100.100.100.200/",
    "https://168.63.129.16/",
    "https://192.0.0.192/",
    "https://192.0.2.1/",
    "https://192.88.99.1/",
    "https://198.18.0.1/",
    "https://198.51.100.1/",
    "https://203.0.113.1/",
    "https://239.255.255.250/",
    "https://240.0.0.1/",
    "https://224.0.0.1/",
    "https://255.255.255.255/",
    "http://8.8.8.8/",
    "ftp://8.8.8.8/",
    "https://u:p@8.8.8.8/",
    "https://8.8.8.8\\@127.0.0.1/",
    "https://8.8.8.8:99999/",
    "file:///etc/passwd",
    "https:///x",
]


@pytest.mark.parametrize("url", PRIVATE)
async def test_private_loopback_and_link_local_are_refused_however_spelled(url):
    with pytest.raises(webhooks.Unsafe):
        await webhooks.checked(url, [])


@pytest.mark.parametrize(
    "url",
    [
        "https://8.8.8.8/x",
        "https://[2001:4860:4860::8888]:8443/",
        "https://[64:ff9b::808:808]/",
    ],
)
async def test_public_addresses_pass(url):
    assert len(await webhooks.checked(url, [])) == 1


async def test_an_allowed_network_passes_with_http_too_and_no_other():
    allowed = networks("127.0.0.0/8, fd00::/8")
    assert await webhooks.checked("http://127.0.0.1:9/x", allowed)
    assert await webhooks.checked("http://[fd00::1]:9/x", allowed)
    assert await webhooks.checked("http://[::ffff:127.0.0.1]:9/x", allowed)
    with pytest.raises(webhooks.Unsafe):
        await webhooks.checked("http://10.0.0.1/", allowed)


def test_an_inner_address_is_found():
    assert webhooks.inner(ipaddress.ip_address("::ffff:10.0.0.1")) == ipaddress.ip_address(
        "10.0.0.1"
    )


def test_durations_are_read_and_wrong_ones_named():
    assert [duration(t) for t in ("P7D", "PT5S", "P1DT2H", "PT0.5S", "P2W", "PT1M30S")] == [
        604_800,
        5,
        93_600,
        0.5,
        1_209_600,
        90,
    ]
    for text in ("", "P", "PT", "7D", "P1Y", "P1DT", "5"):
        with pytest.raises(ValueError, match="ISO 8601"):
            duration(text)
    with pytest.raises(BadSettings) as error:
        read({"ALERTS_ESCALATE_AFTER": "soon", "WEBHOOK_ALLOW_NETWORKS": "10.0.0.1/8"})
    assert "ALERTS_ESCALATE_AFTER" in str(error.value)
    assert "WEBHOOK_ALLOW_NETWORKS" in str(error.value)


def test_a_connection_goes_to_the_address_that_was_judged(monkeypatch):
    said = iter(["8.8.8.8", "127.0.0.1"])
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(2, 1, 6, "", (next(said), 9))])
    went: list[tuple[str, int]] = []

    def connect(to, seconds):
        went.append(to)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(ConnectionRefusedError):
        webhooks.connected("turns.example", 9, 1.0, [])
    assert went == [("8.8.8.8", 9)]
    with pytest.raises(webhooks.Unsafe):
        webhooks.connected("turns.example", 9, 1.0, [])
    assert len(went) == 1
