"""Who may use the embedded XQueue: salted scrypt hashes, and random session tokens, cheap to check.

Runs in: queue server. A token is stored hashed, too: whoever reads the database cannot use the sessions in
it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from xqueue.service.settings import User

SCRYPT_N: Final = 2**14
SCRYPT_R: Final = 8
SCRYPT_P: Final = 1
"""About 50 ms and 16 MiB a login (RFC 7914's interactive parameters)."""

MAX_PASSWORD_BYTES: Final = 1024
MAX_SESSIONS: Final = 10_000
"""Of all users; the oldest end first. A client that logs in at every poll shall not fill the memory."""


class Sessions(Protocol):
    """What is kept for `Auth` over a restart."""

    def password_hashes(self) -> dict[str, str]: ...
    def replace_users(self, hashes: dict[str, str]) -> None: ...
    def sessions(self) -> dict[str, tuple[str, float]]: ...
    def add_session(self, token_hash: str, user: str, expires_at: float) -> None: ...
    def drop_session(self, token_hash: str) -> None: ...


def hash_password(password: str) -> str:
    """A salted hash, with its parameters: scrypt$n$r$p$salt$hash, both hex."""
    salt = secrets.token_bytes(16)
    return f"scrypt${SCRYPT_N}${SCRYPT_R}${SCRYPT_P}${salt.hex()}${_scrypt(password, salt, SCRYPT_N).hex()}"


def verify_password(password: str, stored: str) -> bool:
    """Whether `password` is the one that `stored` was made of."""
    _, n, _, _, salt, digest = stored.split("$")
    return hmac.compare_digest(_scrypt(password, bytes.fromhex(salt), int(n)).hex(), digest)


def _scrypt(password: str, salt: bytes, n: int) -> bytes:
    secret = password.encode("utf-8", "surrogatepass")[:MAX_PASSWORD_BYTES]
    return hashlib.scrypt(secret, salt=salt, n=n, r=SCRYPT_R, p=SCRYPT_P, maxmem=64 * 1024 * 1024, dklen=32)


class Auth:
    """Logs in and out. `login` and `logout` touch the database; `user_of` is a look into memory."""

    def __init__(
        self, users: Iterable[User], kept: Sessions, *, session_s: float, clock: Callable[[], float]
    ) -> None:
        """`users` are all there are from now on. Sessions of users whose password is unchanged go on."""
        self._kept = kept
        self._session_s = session_s
        self._clock = clock
        # One login at a time: somebody who guesses passwords shall not take all CPUs.
        self._one_login = threading.Lock()
        old = kept.password_hashes()
        self._hashes: dict[str, str] = {}
        for user in users:
            stored = old.get(user.name)
            same = stored is not None and verify_password(user.password, stored)
            self._hashes[user.name] = stored if same and stored is not None else hash_password(user.password)
        kept.replace_users(self._hashes)
        self._sessions = kept.sessions()
        self._nobody = hash_password(secrets.token_hex(16))

    def login(self, name: str, password: str) -> str | None:
        """A new session token, or None if name or password is wrong (both cost the same time)."""
        with self._one_login:
            right = verify_password(password, self._hashes.get(name, self._nobody))
            if not right or name not in self._hashes:
                return None
            token = secrets.token_hex(24)
            expires_at = self._clock() + self._session_s
            self._kept.add_session(_digest(token), name, expires_at)
            self._sessions[_digest(token)] = (name, expires_at)
            while len(self._sessions) > MAX_SESSIONS:
                self._end(next(iter(self._sessions)))
            return token

    def user_of(self, token: str | None) -> str | None:
        """Whose session it is; None if it is nobody's, or over."""
        if not token:
            return None
        name, expires_at = self._sessions.get(_digest(token), ("", 0.0))
        return name if self._clock() < expires_at else None

    def logout(self, token: str | None) -> None:
        """Ends a session, if it is one."""
        if self.user_of(token) is not None and token:
            self._end(_digest(token))

    def _end(self, digest: str) -> None:
        self._kept.drop_session(digest)
        self._sessions.pop(digest, None)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
