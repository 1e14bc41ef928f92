"""Seals addresses and secrets of subscriptions, so that a reader of Kafka's log can't use them.

Sealed are an address (it holds a mail password, a robot's token) and a webhook's secret, with Fernet
(AES-128-CBC and HMAC-SHA-256). What was written before is read as it is, and sealed at the office's next change.
"""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from contracts.alerts.outbox import Subscription
from yumai import private_files

SEALED = "sealed:"
KEY_FILE = "subscriptions.key"
MASK = "***"
_PASSWORD = re.compile(r"(?<=://)([^/?#@]*?):([^/?#]*)(?=@)")
_QUERY = re.compile(r"(?i)([?&](?:pass|password|passwd|token|access_token|key|secret)=)[^&#]*")
_SECRET_LEAST = 6
"""Characters: what is shorter is no secret, and stands in many texts."""


class Sealer:
    """Keys are of the setting, separated by commas; without it of a file that is made once, when it is needed.

    The first key seals, all open: so a key is replaced by putting a new one before it.
    """

    def __init__(self, keys: str, directory: Path) -> None:
        self._keys, self._file = keys, directory / KEY_FILE

    @cached_property
    def _fernet(self) -> MultiFernet:
        """Raises ValueError, OSError."""
        keys = self._keys
        if not keys.strip():
            private_files.make_once(self._file, lambda: Fernet.generate_key().decode())
            keys = self._file.read_text()
        return MultiFernet([Fernet(key) for key in keys_of(keys)])

    def sealed(self, one: Subscription) -> Subscription:
        return msgspec.structs.replace(
            one, address=self._seal(one.address), secret=one.secret and self._seal(one.secret)
        )

    def opened(self, one: Subscription) -> Subscription:
        """Opens address and secret. A value that another key has sealed stays sealed (`is_sealed`)."""
        return msgspec.structs.replace(
            one, address=self._open(one.address), secret=one.secret and self._open(one.secret)
        )

    def _seal(self, text: str) -> str:
        if not text or is_sealed(text):
            return text
        return SEALED + self._fernet.encrypt(text.encode()).decode()

    def _open(self, text: str) -> str:
        if not is_sealed(text):
            return text
        try:
            return self._fernet.decrypt(text.removeprefix(SEALED)).decode()
        except InvalidToken:
            return text


def keys_of(text: str) -> list[str]:
    """Raises ValueError."""
    keys = [key.strip() for key in re.split(r"[,\s]", text) if key.strip()]
    if not keys:
        raise ValueError("no key")
    for key in keys:
        Fernet(key)
    return keys


def is_sealed(text: str) -> bool:
    return text.startswith(SEALED)


def shown(one: Subscription) -> Subscription:
    """A subscription as its office may read it again: without secrets."""
    return msgspec.structs.replace(one, address=_shown(one), secret=None)


def _shown(one: Subscription) -> str:
    if one.channel in ("inbox", "webhook"):
        return MASK if is_sealed(one.address) else one.address
    if one.channel == "email" and not is_sealed(one.address):
        return _QUERY.sub(rf"\g<1>{MASK}", _PASSWORD.sub(rf"\g<1>:{MASK}", one.address))
    scheme, colon, _ = one.address.partition("://")
    return f"{scheme}://{MASK}" if colon else MASK


def without_secrets(text: str, one: Subscription) -> str:
    """A reason of failure as it may be kept and shown."""
    for secret in sorted(_secrets(one), key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text


def _secrets(one: Subscription) -> set[str]:
    found = {one.address, one.secret or ""}
    try:
        parts = urlsplit(one.address)
        found |= {parts.password or "", *(value for _, value in parse_qsl(parts.query))}
        if one.channel != "email":
            found |= {*parts.path.split("/"), parts.username or ""}
        if one.channel not in ("email", "webhook"):
            # A robot's token stands where others have a host.
            found |= {parts.netloc, parts.netloc.rpartition("@")[2]}
    except ValueError:
        pass
    found |= {unquote(text) for text in found}
    return {text for text in found if len(text) >= _SECRET_LEAST}
