"""Who asks: platform keys and people's tokens become one Principal; default deny.

The embedded set-up keeps its identities in a directory: `signing.key` (HS256), `keys.json` (SHA-256 of
each platform key) and `revoked.json` (tokens taken back). In production the same files are mounted from
a secret. Each is read again when it changes. One that can't be read is most often half written: what it
said before holds for GRACE_SECONDS, then nobody is let in by it; the log says so.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import jwt

from yumai import private_files
from yumai.districts import districts
from yumai.platforms import is_platform_id, too_alike, why_not

log = logging.getLogger("yumai.access")

Role = Literal["bureau", "district", "platform"]
KEY_PREFIX = "yk_"
TOKEN_DAYS = 90
LEEWAY_SECONDS = 60
"""Another machine's clock may be so far ahead."""
GRACE_SECONDS = 10.0
SIGNING_KEY_LEAST = 32
"""Bytes (RFC 7518, 3.2): a shorter key could be guessed, an empty one is everybody's."""


@dataclass(frozen=True)
class Principal:
    """`code`: the district's code or the platform's id; empty for the bureau."""

    role: Role
    code: str
    name: str

    @property
    def is_bureau(self) -> bool:
        return self.role == "bureau"

    def may_see_district(self, code: str) -> bool:
        return self.is_bureau or (self.role == "district" and self.code == code)

    def may_see_platform(self, platform_id: str) -> bool:
        return self.is_bureau or (self.role == "platform" and self.code == platform_id)


def parse_role(text: str) -> tuple[Role, str]:
    """`bureau`, `district:CODE` or `platform:ID`. Raises ValueError."""
    role, _, code = text.partition(":")
    if role == "bureau" and not code:
        return "bureau", ""
    if role == "district" and re.fullmatch(r"\d{6}", code, re.ASCII):
        return "district", code
    if role == "platform" and is_platform_id(code):
        return "platform", code
    raise ValueError(f"role {text!r}: want bureau, district:CODE or platform:ID")


T = TypeVar("T")


class _Kept(Generic[T]):
    """A file as it was last read; `read` raises ValueError for one that says nothing sensible.

    `absent`: what no file says. `denied`: what one that can't be read says when its grace is over.
    """

    def __init__(self, path: Path, read: Callable[[bytes], T], absent: T, denied: T) -> None:
        self._path, self._read, self._absent, self._denied = path, read, absent, denied
        self._value = absent
        self._stamp: tuple[int, ...] | None = None
        self._bad_since: float | None = None

    def now(self) -> T:
        try:
            stat = self._path.stat()
            stamp = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
            if stamp != self._stamp:
                # What is replaced while it is read is read again at the next question.
                self._value, self._stamp = self._read(self._path.read_bytes()), stamp
        except FileNotFoundError:
            self._stamp, self._value = None, self._absent
        except (OSError, ValueError) as error:
            self._doubt(error)
            return self._value
        if self._bad_since is not None:
            self._bad_since = None
            log.warning("%s can be read again", self._path)
        return self._value

    def _doubt(self, error: Exception) -> None:
        now = time.monotonic()
        if self._bad_since is None:
            self._bad_since = now
            why = type(error).__name__
            log.error("%s can't be read (%s): the last one holds for a while", self._path, why)
        if self._stamp is None or now - self._bad_since >= GRACE_SECONDS:
            if self._value != self._denied:
                log.error("%s can't be read: nobody is let in by it", self._path)
            self._value, self._stamp = self._denied, None


class Identity:
    """Identities of one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._keys_path = directory / "keys.json"
        self._revoked_path = directory / "revoked.json"
        self._signing_path = directory / "signing.key"
        self._keys: _Kept[dict[str, str]] = _Kept(self._keys_path, _keys_of, {}, {})
        self._revoked: _Kept[dict[str, int] | None] = _Kept(
            self._revoked_path, _revoked_of, {}, None
        )
        self._signing_key: _Kept[str] = _Kept(self._signing_path, _signing_of, "", "")

    def _signing(self) -> str:
        """Made where there is none. Raises OSError where it can't be, ValueError where it is no key."""
        key = self._signing_key.now()
        if not key and not self._signing_path.exists():
            private_files.make_once(self._signing_path, lambda: secrets.token_urlsafe(48))
            key = self._signing_key.now()
        if not key:
            raise ValueError(f"{self._signing_path}: not {SIGNING_KEY_LEAST} bytes or more of text")
        return key

    def platforms(self) -> dict[str, str]:
        """Short names of all keys that are valid, and whose they are."""
        return {hashed[:KEY_NAME]: platform for hashed, platform in self._keys.now().items()}

    def issue_key(self, platform_id: str) -> str:
        """A new key of a platform; its older keys stay valid. Raises ValueError."""
        if not is_platform_id(platform_id):
            raise ValueError(why_not(platform_id))
        key = f"{KEY_PREFIX}{secrets.token_urlsafe(32)}"
        with self._writing():
            keys = self._stored(self._keys_path, _keys_of)
            alike = too_alike(platform_id, keys.values())
            if alike is not None:
                raise ValueError(f"platform id {platform_id!r}: too like {alike!r}, which has keys")
            keys[_hash(key)] = platform_id
            private_files.replace(self._keys_path, json.dumps(keys, indent=1))
        return key

    def revoke_keys(self, platform_id: str, name: str | None = None) -> int:
        """Takes a platform's keys back, or the one of this (short) name; how many there were."""
        with self._writing():
            keys = self._stored(self._keys_path, _keys_of)
            gone = [
                hashed
                for hashed, platform in keys.items()
                if platform == platform_id and (name is None or hashed.startswith(name))
            ]
            left = {hashed: platform for hashed, platform in keys.items() if hashed not in gone}
            if gone:
                private_files.replace(self._keys_path, json.dumps(left, indent=1))
        return len(gone)

    def revoke_tokens(self, role: str, name: str | None = None) -> None:
        """Tokens of a role issued until now are refused; with `name` those of this person alone.

        Raises ValueError.
        """
        parse_role(role)
        with self._writing():
            revoked = self._stored(self._revoked_path, _revoked_of)
            revoked[_of_token(role, name)] = int(time.time())
            private_files.replace(self._revoked_path, json.dumps(revoked, indent=1))

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        self._directory.mkdir(parents=True, exist_ok=True)
        with _locked(self._directory / ".lock"):
            yield

    @staticmethod
    def _stored(path: Path, read: Callable[[bytes], T]) -> T:
        """Raises ValueError: what can't be read is not written over."""
        try:
            return read(path.read_bytes() if path.exists() else b"{}")
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    def issue_token(self, role: str, name: str | None = None, days: int = TOKEN_DAYS) -> str:
        """A JWT for `bureau`, `district:CODE` or `platform:ID`. Raises ValueError."""
        kind, code = parse_role(role)
        if kind == "district" and code not in districts():
            raise ValueError(f"role {role!r}: no district ever had this code")
        now = int(time.time())
        # One that is issued in the second of a revocation is a new one.
        revoked = self._stored(self._revoked_path, _revoked_of)
        issued = max(now, _until(revoked, role, name or role) + 1)
        claims = {"role": role, "sub": name or role, "iat": issued, "exp": now + days * 86_400}
        return jwt.encode(claims, self._signing(), algorithm="HS256")

    def authenticate(self, authorization: str | None) -> Principal | None:
        """The principal of an `Authorization` header; None without one or with a forged one."""
        scheme, _, credential = (authorization or "").partition(" ")
        credential = credential.strip()
        if scheme.lower() != "bearer" or not credential:
            return None
        if credential.startswith(KEY_PREFIX):
            platform_id = self._keys.now().get(_hash(credential))
            if platform_id is None or not is_platform_id(platform_id):
                return None
            return Principal("platform", platform_id, platform_id)
        try:
            claims = jwt.decode(
                credential,
                self._signing(),
                algorithms=["HS256"],
                # The clock's claims that may be ahead are judged below, with a leeway; exp has none.
                options={
                    "require": ["exp", "role", "sub"],
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
            role, code = parse_role(str(claims["role"]))
            begins = [_instant(claims[name]) for name in ("iat", "nbf") if name in claims]
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError, OSError):
            return None
        if begins and max(begins) > time.time() + LEEWAY_SECONDS:
            return None
        return None if self._is_revoked(claims) else Principal(role, code, str(claims["sub"]))

    def _is_revoked(self, claims: dict[str, Any]) -> bool:
        revoked = self._revoked.now()
        if revoked is None:
            return True
        until = _until(revoked, str(claims["role"]), str(claims["sub"]))
        return bool(claims.get("iat", 0) <= until)


NEVER = -1
KEY_NAME = 12
"""Hex digits of its hash that a key is called by."""


def _keys_of(raw: bytes) -> dict[str, str]:
    decoded = json.loads(raw)
    if not isinstance(decoded, dict) or not all(isinstance(name, str) for name in decoded.values()):
        raise ValueError("want an object of hashes and platform ids")
    return decoded


def _revoked_of(raw: bytes) -> dict[str, int]:
    decoded = json.loads(raw)
    if not isinstance(decoded, dict) or not all(type(until) is int for until in decoded.values()):
        raise ValueError("want an object of roles and epoch seconds")
    return decoded


def _signing_of(raw: bytes) -> str:
    key = raw.decode().strip()
    if len(key.encode()) < SIGNING_KEY_LEAST:
        raise ValueError("too short")
    return key


def _of_token(role: str, name: str | None) -> str:
    return role if name is None else f"{role}\x1f{name}"


def _until(revoked: dict[str, int], role: str, name: str) -> int:
    """Tokens issued until then are taken back."""
    return max(revoked.get(_of_token(role, None), NEVER), revoked.get(_of_token(role, name), NEVER))


def _instant(value: Any) -> float:
    """A NumericDate. Raises ValueError, TypeError."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
        raise ValueError("no NumericDate")
    return float(value)


def _hash(key: str) -> str:
    # Keys are 256 random bits: a plain hash is enough, there is nothing to guess.
    return hashlib.sha256(key.encode()).hexdigest()


@contextlib.contextmanager
def _locked(path: Path):
    import fcntl

    with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
