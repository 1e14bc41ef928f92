"""Who asks: platform keys and people's tokens become one Principal; default deny.

The embedded set-up keeps its identities in a directory: `signing.key` (HS256) and `keys.json`
(SHA-256 of each platform key). In production the same two files are mounted from a secret.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import jwt

from yumai.districts import districts

Role = Literal["bureau", "district", "platform"]
PLATFORM_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
KEY_PREFIX = "yk_"
TOKEN_DAYS = 90


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
    if role == "district" and re.fullmatch(r"\d{6}", code):
        return "district", code
    if role == "platform" and PLATFORM_ID.fullmatch(code):
        return "platform", code
    raise ValueError(f"role {text!r}: want bureau, district:CODE or platform:ID")


class Identity:
    """Identities of one directory. Reads it again when `keys.json` changes."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._keys_path = directory / "keys.json"
        self._keys: dict[str, str] = {}
        self._keys_stamp: tuple[int, int] | None = None
        self._signing_key: str | None = None

    def _signing(self) -> str:
        if self._signing_key is None:
            path = self._directory / "signing.key"
            if not path.exists():
                self._directory.mkdir(parents=True, exist_ok=True)
                fresh = self._directory / f".signing.{secrets.token_hex(4)}"
                _write_private(fresh, secrets.token_urlsafe(48))
                # The first to link wins, so that two processes at once agree on one key.
                with contextlib.suppress(FileExistsError):
                    os.link(fresh, path)
                fresh.unlink()
            self._signing_key = path.read_text().strip()
        return self._signing_key

    def issue_key(self, platform_id: str) -> str:
        """A new key of a platform; its older keys stay valid. Raises ValueError."""
        if not PLATFORM_ID.fullmatch(platform_id):
            raise ValueError(f"platform id {platform_id!r}: want {PLATFORM_ID.pattern}")
        self._directory.mkdir(parents=True, exist_ok=True)
        key = f"{KEY_PREFIX}{secrets.token_urlsafe(32)}"
        with _locked(self._directory / ".lock"):
            keys = json.loads(self._keys_path.read_text()) if self._keys_path.exists() else {}
            keys[_hash(key)] = platform_id
            fresh = self._directory / f".keys.{secrets.token_hex(4)}"
            _write_private(fresh, json.dumps(keys, indent=1))
            fresh.replace(self._keys_path)
        return key

    def issue_token(self, role: str, name: str | None = None, days: int = TOKEN_DAYS) -> str:
        """A JWT for `bureau`, `district:CODE` or `platform:ID`. Raises ValueError."""
        kind, code = parse_role(role)
        if kind == "district" and code not in districts():
            raise ValueError(f"role {role!r}: no district ever had this code")
        now = int(time.time())
        claims = {"role": role, "sub": name or role, "iat": now, "exp": now + days * 86_400}
        return jwt.encode(claims, self._signing(), algorithm="HS256")

    def authenticate(self, authorization: str | None) -> Principal | None:
        """The principal of an `Authorization` header; None without one or with a forged one."""
        scheme, _, credential = (authorization or "").partition(" ")
        credential = credential.strip()
        if scheme.lower() != "bearer" or not credential:
            return None
        if credential.startswith(KEY_PREFIX):
            platform_id = self._platform_of(credential)
            return Principal("platform", platform_id, platform_id) if platform_id else None
        try:
            claims = jwt.decode(
                credential,
                self._signing(),
                algorithms=["HS256"],
                options={"require": ["exp", "role", "sub"]},
                # iat is not judged: another machine's clock may be a second ahead.
            )
            role, code = parse_role(str(claims["role"]))
        except (jwt.InvalidTokenError, ValueError):
            return None
        return Principal(role, code, str(claims["sub"]))

    def _platform_of(self, key: str) -> str | None:
        hashed = _hash(key)
        try:
            stat = self._keys_path.stat()
        except FileNotFoundError:
            return None
        stamp = (stat.st_mtime_ns, stat.st_ino)
        if stamp != self._keys_stamp:
            self._keys = json.loads(self._keys_path.read_text())
            self._keys_stamp = stamp
        return self._keys.get(hashed)


def _hash(key: str) -> str:
    # Keys are 256 random bits: a plain hash is enough, there is nothing to guess.
    return hashlib.sha256(key.encode()).hexdigest()


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def _locked(path: Path):
    import fcntl

    with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
