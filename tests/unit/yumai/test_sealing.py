"""What of subscriptions lies in the log, and what is shown of it."""

from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from contracts.alerts.outbox import Subscription
from yumai.process.settings import BadSettings, read
from yumai.sealing import Sealer, is_sealed, shown, without_secrets

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MAIL = Subscription(
    "m", "email", "mailtos://li:p%40ssw0rd@mail.example?to=a@b.example&pass=hunter22"
)
HOOK = Subscription("w", "webhook", "https://office.example/hooks/a1b2c3d4", secret=SECRET)
ROBOT = Subscription("d", "dingtalk", "dingtalk://abcdefgh12345678/")
INBOX = Subscription("i", "inbox")
ALL = (MAIL, HOOK, ROBOT, INBOX)


@pytest.mark.parametrize("one", ALL)
def test_what_is_sealed_says_nothing_and_opens_to_what_it_was(
    tmp_path: Path, one: Subscription
) -> None:
    sealed = Sealer("", tmp_path).sealed(one)
    said = repr(sealed)
    for part in ("p%40ssw0rd", "hunter22", "a1b2c3d4", "abcdefgh", SECRET[6:]):
        assert part not in said
    assert Sealer("", tmp_path).opened(sealed) == one
    if one is not INBOX:
        assert (tmp_path / "subscriptions.key").stat().st_mode & 0o077 == 0
    assert Sealer("", tmp_path).sealed(sealed) == sealed


@pytest.mark.parametrize("one", ALL)
def test_what_was_written_before_is_read_as_it_is(tmp_path: Path, one: Subscription) -> None:
    assert Sealer("", tmp_path).opened(one) == one
    assert not (tmp_path / "subscriptions.key").exists()


def test_a_new_key_opens_what_the_old_one_sealed_and_another_key_does_not(tmp_path: Path) -> None:
    old, new, other = (Fernet.generate_key().decode() for _ in range(3))
    sealed = Sealer(old, tmp_path).sealed(HOOK)
    assert Sealer(f"{new}, {old}", tmp_path).opened(sealed) == HOOK
    found = Sealer(other, tmp_path).opened(sealed)
    assert is_sealed(found.address)
    assert found == sealed
    assert shown(found).address == "***"


def test_an_office_reads_no_password_again() -> None:
    assert shown(MAIL).address == "mailtos://li:***@mail.example?to=a@b.example&pass=***"
    assert shown(ROBOT).address == "dingtalk://***"
    assert (shown(HOOK).address, shown(HOOK).secret) == (HOOK.address, None)


def test_a_reason_of_failure_names_no_secret() -> None:
    said = (
        f"login of li with p@ssw0rd at mail.example refused ({MAIL.address}, p%40ssw0rd, hunter22)"
    )
    told = without_secrets(said, MAIL)
    assert told.startswith("login of li with *** at mail.example refused")
    assert not any(part in told for part in ("p@ss", "p%40", "hunter22"))
    assert "abcdefgh" not in without_secrets("https://oapi/x?token=abcdefgh12345678", ROBOT)
    assert SECRET not in without_secrets(f"bad {SECRET}", HOOK)


def test_a_key_that_is_none_ends_the_start_and_is_not_repeated() -> None:
    with pytest.raises(BadSettings) as error:
        read({"YUMAI_SUBSCRIPTIONS_KEY": "hunter2"})
    assert "YUMAI_SUBSCRIPTIONS_KEY" in str(error.value)
    assert "hunter2" not in str(error.value)
    key = Fernet.generate_key().decode()
    settings = read({"YUMAI_SUBSCRIPTIONS_KEY": key})
    assert settings.subscriptions_key == key
    assert key not in str(settings.masked()) + repr(settings)
