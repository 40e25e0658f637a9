"""Keyed fingerprints: what is compared, stored in tags and shown instead of a value."""

import hashlib
import hmac
import json

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


def derived_key(key: Sensitive, purpose: str) -> Sensitive:
    """A key of its own for this purpose, 64 hex digits (HKDF-SHA256, RFC 5869, without a salt, one block).

    What is signed with it can be had from no fingerprint, whatever somebody gets fingerprinted.
    """
    extracted = hmac.digest(bytes(hashlib.sha256().digest_size), key.reveal().encode(), "sha256")
    return Sensitive(hmac.digest(extracted, purpose.encode() + b"\x01", "sha256").hex())


def shown(digest: str) -> str:
    """The part of a fingerprint that people see."""
    return digest[:SHOWN]
