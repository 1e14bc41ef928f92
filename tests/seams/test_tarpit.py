"""Receivers that hang: they hold up their own address, and no other office, nor the look-up of names."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from contracts.alerts.outbox import Delivery, Subscription
from services.alerts import outbox
from services.alerts.sending import OFFICE_AT_ONCE, Sending
from services.alerts.set_aside import SetAside
from tests.seams.alerts_place import Receiver
from yumai.process.settings import Settings

SECRET = "whsec_" + "a" * 43 + "="


class Tarpit:
    """A mail server that takes connections and says a byte now and then, for ever."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1_000)
        self.port = self._listener.getsockname()[1]
        self.open = 0
        self.ended = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while not self.ended.is_set():
            connection, _ = self._listener.accept()
            threading.Thread(target=self._drip, args=(connection,), daemon=True).start()

    def _drip(self, connection: socket.socket) -> None:
        self.open += 1
        try:
            while not self.ended.wait(0.5):
                connection.sendall(b"2")
        except OSError:
            pass
        finally:
            self.open -= 1
            connection.close()

    def close(self) -> None:
        self.ended.set()
        self._listener.close()


@pytest.fixture
def tarpit() -> Iterator[Tarpit]:
    made = Tarpit()
    yield made
    made.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


class Outbox:
    """What waits, as the log would hold it."""

    def __init__(self, offices: dict[str, list[Subscription]]) -> None:
        self.journal = SimpleNamespace(waiting={}, offices=offices, messages={})
        self.done: dict[str, Delivery] = {}
        settings = Settings(webhook_allow_networks="127.0.0.0/8")
        self.sending = Sending(settings, self.journal, self._write, SetAside())  # type: ignore[arg-type]

    async def _write(self, changed: list[Delivery]) -> None:
        for delivery in changed:
            self.journal.waiting[delivery.id] = delivery
            if delivery.state in ("delivered", "given_up"):
                self.done[delivery.id] = self.journal.waiting.pop(delivery.id)

    def test_message(self, office: str, subscription: str, number: int) -> str:
        now = int(time.time() * 1000)
        made = outbox.made(f"{office}/{subscription}", f"test/{number}", now, now)
        self.journal.waiting[made.id] = made
        return made.id

    async def until(self, ids: list[str], seconds: float) -> float:
        """How long it takes until these are delivered."""
        begun = time.monotonic()
        while not all(id_ in self.done for id_ in ids):
            assert time.monotonic() - begun < seconds, "not delivered in time"
            await self.sending.look()
            await asyncio.sleep(0.05)
        assert all(self.done[id_].state == "delivered" for id_ in ids)
        return time.monotonic() - begun


def mailbox(port: int, more: str = "") -> str:
    return f"mailto://127.0.0.1:{port}?from=a@y.example&to=li@y.example{more}"


def test_a_mail_tarpit_with_300_test_messages_holds_up_no_other_office(tarpit, receiver):
    async def tried():
        box = Outbox(
            {
                "district:500101": [Subscription("mail", "email", mailbox(tarpit.port))],
                "district:500102": [
                    Subscription("hook", "webhook", f"{receiver.url}/b", secret=SECRET)
                ],
            }
        )
        for number in range(300):
            box.test_message("district:500101", "mail", number)
        deadline = time.monotonic() + 30
        while not tarpit.open and time.monotonic() < deadline:
            await box.sending.look()
            await asyncio.sleep(0.05)
        ids = [box.test_message("district:500102", "hook", n) for n in range(3)]
        took = await box.until(ids, 15)
        assert tarpit.open == 1
        await box.sending.close()
        return took

    print(f"delivered in {asyncio.run(tried()):.2f} s")


def test_one_hanging_address_leaves_its_offices_other_addresses_alone(tarpit, receiver):
    async def tried():
        hanging = [
            Subscription(f"m{n}", "email", mailbox(tarpit.port)) for n in range(OFFICE_AT_ONCE - 1)
        ]
        well = Subscription("hook", "webhook", f"{receiver.url}/b", secret=SECRET)
        box = Outbox({"bureau": [*hanging, well]})
        for one in hanging:
            for number in range(20):
                box.test_message("bureau", one.id, number)
        await box.sending.look()
        await asyncio.sleep(0.3)
        await box.until([box.test_message("bureau", "hook", 1)], 15)
        await box.sending.close()

    asyncio.run(tried())


def test_names_that_are_never_found_hold_up_neither_another_office_nor_other_look_ups(
    receiver, monkeypatch
):
    real, released = socket.getaddrinfo, threading.Event()

    def hangs(host, *given, **named):
        if str(host).endswith(".hang.example"):
            released.wait(30)
            raise socket.gaierror("nobody knows")
        return real(host, *given, **named)

    monkeypatch.setattr(socket, "getaddrinfo", hangs)

    async def tried():
        lost = [
            Subscription(f"h{n}", "webhook", f"https://n{n}.hang.example/", secret=SECRET)
            for n in range(100)
        ]
        well = Subscription("hook", "webhook", f"{receiver.url}/b", secret=SECRET)
        box = Outbox({"district:500101": lost, "district:500102": [well]})
        for one in lost:
            for number in range(3):
                box.test_message("district:500101", one.id, number)
        for _ in range(5):
            await box.sending.look()
            await asyncio.sleep(0.05)
        await box.until([box.test_message("district:500102", "hook", 1)], 15)
        async with asyncio.timeout(2):
            await asyncio.get_running_loop().getaddrinfo("localhost", 80)
        await box.sending.close()

    try:
        asyncio.run(tried())
    finally:
        released.set()


def test_an_address_with_a_time_out_of_its_own_is_not_tried(tarpit):
    async def tried():
        address = mailbox(tarpit.port, "&cto=3600&rto=3600")
        box = Outbox({"bureau": [Subscription("mail", "email", address)]})
        id_ = box.test_message("bureau", "mail", 1)
        for _ in range(100):
            await box.sending.look()
            await asyncio.sleep(0.1)
            if box.journal.waiting[id_].last_error:
                break
        assert "'rto'" in box.journal.waiting[id_].last_error or "'cto'" in (
            box.journal.waiting[id_].last_error
        )
        assert tarpit.open == 0
        await box.sending.close()

    asyncio.run(tried())
