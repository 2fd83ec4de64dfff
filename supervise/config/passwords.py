"""Passwords as a configuration holds them: made, checked for their form, and compared.

Three forms. The first two are supervisord's; the third is what `supervise passwd` prints:

    secret                            clear text
    {SHA}e5e9fa1ba31ecd1ae84f...      the SHA-1 in hexadecimal, without salt: tried by the billion
    {SCRYPT}16384$8$5$salt$hash       scrypt (RFC 7914): n$r$p, salt and hash in base64; a guess costs 16 MiB, 0.2 s
"""

import base64
import binascii
import hashlib
import hmac
import os
import re
from typing import NamedTuple

SHA, SCRYPT = "{SHA}", "{SCRYPT}"
N, R, P = 16384, 8, 5  # OWASP's cheat sheet on password storage: the row with 16 MiB
SALT, HASH = 16, 32  # bytes
MAX_MEMORY = 128 << 20  # bytes that comparing one password may take
MAX_WORK = 1 << 22  # n * r * p: some 10 times the usual, or about two seconds
_HEX = re.compile(r"[0-9a-fA-F]{40}", re.ASCII)
_FOREIGN = re.compile(r"\{[a-z][\w.-]*\}|\$[a-z0-9][a-z0-9-]*\$", re.ASCII | re.IGNORECASE)  # LDAP's forms, crypt(5)'s


class Scrypt(NamedTuple):
    """A {SCRYPT} line, taken apart."""

    n: int
    r: int
    p: int
    salt: bytes
    hash: bytes

    def of(self, password: bytes) -> bytes:
        """What the hash would be if that were the password. Slow; other threads run meanwhile."""
        return hashlib.scrypt(
            password, salt=self.salt, n=self.n, r=self.r, p=self.p, maxmem=2 * MAX_MEMORY, dklen=len(self.hash)
        )


def checked(stored: str) -> str:
    """`stored`, if it has one of the three forms. Raises ValueError: impossible, or too slow."""
    if stored.startswith(SCRYPT):
        parse(stored)
    return stored


def doubt(stored: str) -> str:
    """Why nobody will log in with it as was meant, or nothing. Never with the line itself."""
    if stored.startswith(SHA) and not _HEX.fullmatch(stored.removeprefix(SHA)):
        return (
            "no password can match this: {SHA} goes before 40 hexadecimal digits; write what `supervise passwd` prints"
        )
    if not stored.startswith((SHA, SCRYPT)) and _FOREIGN.match(stored):
        return (
            "looks like a hash, but of no known form, and is taken as clear text; write what `supervise passwd` prints"
        )
    return ""


def is_empty(stored: str) -> bool:
    """Whether it is the empty password, in a form that is quick to compare."""
    return not is_slow(stored) and matches(stored, b"")


def parse(stored: str) -> Scrypt:
    """Take a {SCRYPT} line apart. Raises ValueError, never with the line itself."""
    fields = stored.removeprefix(SCRYPT).split("$")
    try:
        n, r, p = map(int, fields[:3])
        salt, hashed = (base64.b64decode(field, validate=True) for field in fields[3:])
    except (ValueError, binascii.Error):
        raise ValueError("not a password as `supervise passwd` prints it: {SCRYPT}n$r$p$salt$hash") from None
    if n < 2 or n & (n - 1) or r < 1 or p < 1 or len(hashed) < 16:
        raise ValueError("not a possible {SCRYPT} password: n must be a power of 2, r and p 1 or more")
    if 128 * n * r > MAX_MEMORY or n * r * p > MAX_WORK:
        raise ValueError("this {SCRYPT} password would take too much memory or time to compare")
    return Scrypt(n, r, p, salt, hashed)


def hashed(password: str) -> str:
    """The {SCRYPT} line for a password, with a salt of its own. Slow (0.2 s)."""
    made = Scrypt(N, R, P, os.urandom(SALT), bytes(HASH))
    salt, result = (base64.b64encode(part).decode() for part in (made.salt, made.of(password.encode())))
    return f"{SCRYPT}{N}${R}${P}${salt}${result}"


def is_slow(stored: str) -> bool:
    """Whether `matches` takes long enough to be kept out of an event loop."""
    return stored.startswith(SCRYPT)


def matches(stored: str, password: bytes) -> bool:
    """Whether `password` is the one. Takes the same time wherever they differ, and however long the right one is.

    supervisord: {SHA} and the hexadecimal SHA-1 of the password in any case, or the password itself (http.py).
    """
    if stored.startswith(SCRYPT):
        made = parse(stored)
        return hmac.compare_digest(made.of(password), made.hash)
    if stored.startswith(SHA):
        return same(stored.removeprefix(SHA).lower().encode(), hashlib.sha1(password).hexdigest().encode())
    return same(stored.encode(), password)


def same(one: bytes, other: bytes) -> bool:
    """Equality in constant time; digests have equal lengths, so not even the length can be learnt."""
    return hmac.compare_digest(hashlib.sha256(one).digest(), hashlib.sha256(other).digest())
