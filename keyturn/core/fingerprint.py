"""Keyed fingerprints: what is compared, stored in tags and shown instead of a value."""

import hashlib
import hmac
import json
from collections.abc import Collection

from keyturn.core.sensitive import SecretFields, Sensitive

SHOWN = 12
"""Hex digits shown to people: 48 bits tell the versions of a secret apart and give nothing away."""


def payload(fields: SecretFields) -> Sensitive:
    """A secret as the stores hold it: one JSON object, keys sorted, UTF-8, no spaces."""
    return Sensitive(json.dumps(fields.reveal(), sort_keys=True, ensure_ascii=False, separators=(",", ":")))


def fingerprint(key: Sensitive, value: Sensitive) -> str:
    """HMAC-SHA256 of ``value`` under ``key``, 64 hex digits (RFC 2104).

    A plain hash of a short secret could be guessed; the key lives in the hub.
    """
    return hmac.new(key.reveal().encode(), value.reveal().encode(), hashlib.sha256).hexdigest()


class Fingerprint(str):
    """The fingerprint of a text, together with what it is under the hub's other keys, older or newer.

    ``accepted`` are those that marks of copies may bear, ``retired`` those that only what was noted long ago does. See
    :class:`keyturn.core.fingerprint_keys.FingerprintKeys`, which makes them. Written down it is the text alone.
    """

    accepted: tuple[str, ...]
    retired: tuple[str, ...]

    def __new__(cls, digest: str, accepted: tuple[str, ...] = (), retired: tuple[str, ...] = ()) -> "Fingerprint":
        """The text ``digest`` with what it is under other keys."""
        made = super().__new__(cls, digest)
        made.accepted, made.retired = accepted, retired
        return made


def vouches(mark: str, made: str) -> bool:
    """Whether a copy's ``mark`` stands for the text that ``made`` is the fingerprint of, by a key that is accepted.

    This is the one place where marks are compared: those of an older key, which copies bear until they are marked anew,
    are as good as those of the newest. A retired key vouches for nothing: whoever has got it could mark a copy.
    """
    return mark == made or (isinstance(made, Fingerprint) and mark in made.accepted)


def under_every_key(made: str) -> frozenset[str]:
    """A fingerprint together with the same text's under every key that the hub has kept."""
    others = (*made.accepted, *made.retired) if isinstance(made, Fingerprint) else ()
    return frozenset((str(made), *others))


def is_noted(notes: Collection[str], made: str) -> bool:
    """Whether one of these ``notes``, from the hub's own state or the ledger, is of the text that ``made`` is of.

    Retired keys count too: what was noted under them is never rewritten.
    """
    return not under_every_key(made).isdisjoint(notes)


def derived_key(key: Sensitive, purpose: str) -> Sensitive:
    """A key of its own for this purpose, 64 hex digits (HKDF-SHA256, RFC 5869, without a salt, one block).

    What is signed with it can be had from no fingerprint, whatever somebody gets fingerprinted.
    """
    extracted = hmac.digest(bytes(hashlib.sha256().digest_size), key.reveal().encode(), "sha256")
    return Sensitive(hmac.digest(extracted, purpose.encode() + b"\x01", "sha256").hex())


def shown(digest: str) -> str:
    """The part of a fingerprint that people see."""
    return digest[:SHOWN]
