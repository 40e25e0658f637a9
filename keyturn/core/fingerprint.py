"""Keyed fingerprints: compared, stored in tags and shown instead of a value."""

import hashlib
import hmac
import json
from collections.abc import Collection

from keyturn.core.sensitive import SecretFields, Sensitive

SHOWN = 12
"""Hex digits shown to people: 48 bits distinguish versions and reveal nothing."""


def payload(fields: SecretFields) -> Sensitive:
    """A secret in stored form: one JSON object, keys sorted, UTF-8, no spaces."""
    return Sensitive(json.dumps(fields.reveal(), sort_keys=True, ensure_ascii=False, separators=(",", ":")))


def fingerprint(key: Sensitive, value: Sensitive) -> str:
    """HMAC-SHA256 of ``value`` under ``key``, 64 hex digits (RFC 2104).

    A plain hash of a short secret could be guessed; the key is stored in the hub.
    """
    return hmac.new(key.reveal().encode(), value.reveal().encode(), hashlib.sha256).hexdigest()


class Fingerprint(str):
    """A text's fingerprint, with those under the hub's other keys.

    ``accepted`` are allowed in copies' marks; ``retired`` appear only in old records. Created by
    :class:`keyturn.core.fingerprint_keys.FingerprintKeys`. Stored as the text alone.
    """

    accepted: tuple[str, ...]
    retired: tuple[str, ...]

    def __new__(cls, digest: str, accepted: tuple[str, ...] = (), retired: tuple[str, ...] = ()) -> "Fingerprint":
        """The fingerprint ``digest`` with those under other keys."""
        made = super().__new__(cls, digest)
        made.accepted, made.retired = accepted, retired
        return made


def vouches(mark: str, made: str) -> bool:
    """Whether a copy's ``mark`` matches ``made`` under an accepted key.

    All mark comparisons use this. An older accepted key is as good as the newest. A retired key proves nothing, since a
    person with it could mark a copy.
    """
    return mark == made or (isinstance(made, Fingerprint) and mark in made.accepted)


def under_every_key(made: str) -> frozenset[str]:
    """A fingerprint with the same text's under every key of the hub."""
    others = (*made.accepted, *made.retired) if isinstance(made, Fingerprint) else ()
    return frozenset((str(made), *others))


def is_noted(notes: Collection[str], made: str) -> bool:
    """Whether one of ``notes``, from state or ledger, matches the text of ``made``.

    Retired keys count, since such records are never rewritten.
    """
    return not under_every_key(made).isdisjoint(notes)


def derived_key(key: Sensitive, purpose: str) -> Sensitive:
    """A separate key for this purpose, 64 hex digits (HKDF-SHA256, RFC 5869, without a salt, one block).

    No fingerprint equals a signature with it.
    """
    extracted = hmac.digest(bytes(hashlib.sha256().digest_size), key.reveal().encode(), "sha256")
    return Sensitive(hmac.digest(extracted, purpose.encode() + b"\x01", "sha256").hex())


def shown(digest: str) -> str:
    """The part of a fingerprint that people see."""
    return digest[:SHOWN]
